"""The tree of RFC 9162: the published vectors, and that proofs prove what they say and nothing else."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.audit.tree import (
    EMPTY_ROOT,
    TILE_LEVELS,
    Frontier,
    Node,
    complete,
    consistency_spans,
    inclusion_spans,
    leaf_hash,
    needed,
    node_hash,
    root_of,
    span_roots,
    subtree,
    verify_consistency,
    verify_inclusion,
)

# The eight leaves, their roots and proofs of the Certificate Transparency reference implementation, which the
# implementations of RFC 6962 and RFC 9162 share.
INPUTS = [
    bytes.fromhex(line)
    for line in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {  # leaf (from 0), size: path
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
LEAVES = [leaf_hash(entry) for entry in INPUTS]

sizes = st.integers(1, 1_100)


def numbered(size: int) -> list[bytes]:
    """The leaf hashes of a tree of this size."""
    return [leaf_hash(str(number).encode()) for number in range(size)]


def by_definition(leaves: list[bytes]) -> bytes:
    """MTH as section 2.1.1 words it."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = max(2**power for power in range(12) if 2**power < len(leaves))
    return node_hash(by_definition(leaves[:split]), by_definition(leaves[split:]))


def stored(leaves: list[bytes]) -> dict[Node, bytes]:
    """What is kept of a tree: its leaves, and the nodes at every eighth level."""
    kept = {Node(0, index): leaf for index, leaf in enumerate(leaves)}
    return kept | dict(Frontier().extend(leaves))


def test_an_empty_log_has_the_published_root() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert Frontier().root() == EMPTY_ROOT == root_of([])


@pytest.mark.parametrize("size", range(1, 9))
def test_the_published_roots_come_out(size: int) -> None:
    assert root_of(LEAVES[:size]).hex() == ROOTS[size - 1]


@pytest.mark.parametrize("case", INCLUSION, ids=str)
def test_the_published_inclusion_proofs_come_out_and_prove(case: tuple[int, int]) -> None:
    index, size = case
    path = span_roots(inclusion_spans(index, size), stored(LEAVES[:size]))
    assert [step.hex() for step in path] == INCLUSION[case]
    assert verify_inclusion(LEAVES[index], index, size, path, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize("case", CONSISTENCY, ids=str)
def test_the_published_consistency_proofs_come_out_and_prove(case: tuple[int, int]) -> None:
    first, second = case
    path = span_roots(consistency_spans(first, second), stored(LEAVES[:second]))
    assert [step.hex() for step in path] == CONSISTENCY[case]
    before, after = (bytes.fromhex(ROOTS[size - 1]) for size in case)
    assert verify_consistency(first, second, before, after, path)


@given(sizes)
def test_appending_gives_the_root_that_the_definition_gives(size: int) -> None:
    assert root_of(numbered(size)) == by_definition(numbered(size))


@given(sizes, st.data())
def test_a_log_sealed_in_any_batches_is_the_same_log(size: int, data: st.DataObject) -> None:
    leaves = numbered(size)
    cut = data.draw(st.integers(0, size))
    first = Frontier()
    tiles = first.extend(leaves[:cut])
    second = Frontier.unpack(first.size, first.pack())
    tiles += second.extend(leaves[cut:])
    assert second.root() == by_definition(leaves)
    assert tiles == [
        (Node(TILE_LEVELS, index), by_definition(leaves[index * 256 : index * 256 + 256]))
        for index in range(size // 256)
    ]


@given(sizes, st.data())
def test_every_entry_can_be_proved_and_no_other_in_its_place(size: int, data: st.DataObject) -> None:
    leaves, index = numbered(size), data.draw(st.integers(0, size - 1))
    root = by_definition(leaves)
    path = span_roots(inclusion_spans(index, size), stored(leaves))
    assert verify_inclusion(leaves[index], index, size, path, root)
    other = data.draw(st.integers(0, size - 1).filter(lambda number: number != index or size == 1))
    if other != index:
        assert not verify_inclusion(leaves[other], index, size, path, root)
        assert not verify_inclusion(leaves[index], other, size, path, root)
    assert not verify_inclusion(leaf_hash(b"forged"), index, size, path, root)
    assert not verify_inclusion(leaves[index], index, size, [*path, EMPTY_ROOT], root)
    if path:
        assert not verify_inclusion(leaves[index], index, size, path[:-1], root)
        bent = [*path]
        at = data.draw(st.integers(0, len(path) - 1))
        bent[at] = sha256(bent[at]).digest()
        assert not verify_inclusion(leaves[index], index, size, bent, root)


@given(sizes, st.data())
def test_a_grown_log_is_consistent_and_a_rewritten_one_is_not(size: int, data: st.DataObject) -> None:
    leaves, first = numbered(size), data.draw(st.integers(1, size))
    before, after = by_definition(leaves[:first]), by_definition(leaves)
    path = span_roots(consistency_spans(first, size), stored(leaves))
    assert verify_consistency(first, size, before, after, path)
    changed = [*leaves]
    changed[data.draw(st.integers(0, first - 1))] = leaf_hash(b"forged")
    rewritten = by_definition(changed)
    assert not verify_consistency(first, size, before, rewritten, path)
    forged = span_roots(consistency_spans(first, size), stored(changed))
    assert not verify_consistency(first, size, before, rewritten, forged)
    assert not verify_consistency(first, size, before, after, [*path, EMPTY_ROOT])


def test_any_log_is_consistent_with_the_empty_one() -> None:
    assert consistency_spans(0, 7) == []
    assert verify_consistency(0, 7, EMPTY_ROOT, root_of(LEAVES[:7]), [])
    assert not verify_consistency(0, 7, root_of(LEAVES[:1]), root_of(LEAVES[:7]), [])
    assert not verify_consistency(8, 7, root_of(LEAVES), root_of(LEAVES[:7]), [])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 4), (9, 8)])
def test_there_is_no_proof_of_an_entry_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no such leaf"):
        inclusion_spans(index, size)
    assert not verify_inclusion(EMPTY_ROOT, index, size, [], EMPTY_ROOT)


def test_a_proof_in_ten_million_entries_reads_a_few_rows() -> None:
    size = 10_000_000
    for index in (0, 1, 4_999_999, size - 1):
        rows = sum(end - start for _, (start, end) in needed(inclusion_spans(index, size)))
        assert rows < 1_000
    assert sum(end - start for _, (start, end) in needed(consistency_spans(6_543_210, size))) < 1_500


@given(st.integers(0, 40), st.integers(0, 12))
def test_a_complete_subtree_is_one_node(index: int, level: int) -> None:
    assert complete((index << level, (index + 1) << level)) == [Node(level, index)]
    leaves = numbered(1 << min(level, 5))
    assert subtree(leaves) == by_definition(leaves)


def test_a_frontier_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="one hash for each"):
        Frontier(3, [EMPTY_ROOT])
    with pytest.raises(ValueError, match="whole hashes"):
        Frontier.unpack(1, b"short")
