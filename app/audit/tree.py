"""The Merkle tree of RFC 9162, section 2.1: hashes, proofs and their verification. Pure; every hash is 32 bytes.

A leaf's place is its `index`, from 0. A complete subtree is a `Node`: `level` 0 is a leaf, and at each level node `i`
covers the leaves from `i << level` up to, not including, `(i + 1) << level`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

HASH_BYTES = 32

TILE_LEVELS = 8
"""Of the complete subtrees, only the roots at every eighth level are stored: a proof then reads at most a few rows of
255 siblings, and the log grows by one row in 256."""

EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without leaves."""

Span = tuple[int, int]
"""The leaves from the first number up to, not including, the second."""


class Node(NamedTuple):
    """A complete subtree's place."""

    level: int
    place: int


def leaf_hash(entry: bytes) -> bytes:
    """The hash of an entry."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees side by side."""
    return sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over complete subtrees of falling size, as `complete` lists them."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def complete(span: Span) -> list[Node]:
    """The complete subtrees, left to right, that make up a span which a proof names."""
    start, end = span
    found = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append(Node(level, start >> level))
        start += 1 << level
    return found


def subtree(leaves: Sequence[bytes]) -> bytes:
    """The root over the hashes of a complete subtree's children at some level; their number is a power of two."""
    hashes = list(leaves)
    while len(hashes) > 1:
        hashes = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0]


class Frontier:
    """The right edge of a growing tree: all that is needed to append to it and to tell its root."""

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        if len(hashes) != size.bit_count():
            raise ValueError("a frontier has one hash for each complete subtree")
        self.size = size
        self.hashes = list(hashes)

    @classmethod
    def unpack(cls, size: int, packed: bytes) -> "Frontier":
        """The frontier that `pack` wrote down. Raises `ValueError` where it is none of a tree of `size` leaves."""
        if len(packed) % HASH_BYTES:
            raise ValueError("a frontier is whole hashes")
        return cls(size, [packed[at : at + HASH_BYTES] for at in range(0, len(packed), HASH_BYTES)])

    def pack(self) -> bytes:
        """Its hashes, one after another."""
        return b"".join(self.hashes)

    def root(self) -> bytes:
        """The root of the tree as it is."""
        return fold(self.hashes)

    def extend(self, leaves: Sequence[bytes]) -> list[tuple[Node, bytes]]:
        """Append leaf hashes; returns the nodes at every eighth level that became complete."""
        tiles = []
        for leaf in leaves:
            level, index, known = 0, self.size, leaf
            while index & 1:
                known = node_hash(self.hashes.pop(), known)
                level, index = level + 1, index >> 1
                if level % TILE_LEVELS == 0:
                    tiles.append((Node(level, index), known))
            self.hashes.append(known)
            self.size += 1
        return tiles


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root of the tree of these leaf hashes."""
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier.root()


def _split(size: int) -> int:
    """The largest power of two smaller than `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_spans(index: int, size: int) -> list[Span]:
    """The spans whose roots prove that leaf `index` is in the tree of `size` leaves (section 2.1.3.1), leaf first."""
    if not 0 <= index < size:
        raise ValueError("the tree has no such leaf")
    start, end = 0, size
    path: list[Span] = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def consistency_spans(first: int, second: int) -> list[Span]:
    """The spans whose roots prove that the tree of `first` leaves grew into that of `second` (section 2.1.4.1)."""
    if not 0 <= first <= second:
        raise ValueError("a tree only grows")
    if first in (0, second):
        return []
    start, end = 0, second
    path: list[Span] = []
    while end != first:
        middle = start + _split(end - start)
        if first <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    # The verifier knows the first tree's root: it is told again only where that is not the subtree reached.
    return ([] if start == 0 else [(start, end)]) + path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether the path proves that `leaf` (its hash) stands at `index` of the tree with this root (2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, known = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            known = node_hash(sibling, known)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            known = node_hash(known, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and known == root


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether the path proves that the tree with `first_root` is a beginning of that with `second_root` (2.1.4.2)."""
    if not 0 <= first <= second:
        return False
    if first == second:
        return not path and first_root == second_root
    if first == 0:
        return not path and first_root == EMPTY_ROOT
    told = list(path)
    if first.bit_count() == 1:
        told.insert(0, first_root)
    if not told:
        return False
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    older = newer = told[0]
    for sibling in told[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            newer = node_hash(newer, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and older == first_root and newer == second_root


def stored_below(node: Node) -> tuple[int, Span]:
    """The stored level from which a node's hash is made, and its children's places there (one: itself)."""
    height = node.level % TILE_LEVELS
    return node.level - height, (node.place << height, (node.place + 1) << height)


def span_roots(spans: Sequence[Span], stored: Mapping[Node, bytes]) -> list[bytes]:
    """The roots of spans, made from stored hashes. Raises `KeyError` where one is missing."""
    return [fold([_hash_of(node, stored.__getitem__) for node in complete(span)]) for span in spans]


def needed(spans: Sequence[Span]) -> Iterator[tuple[int, Span]]:
    """What `span_roots` reads of the stored levels: level and places."""
    for span in spans:
        for node in complete(span):
            yield stored_below(node)


def _hash_of(node: Node, stored: Callable[[Node], bytes]) -> bytes:
    level, (start, end) = stored_below(node)
    return subtree([stored(Node(level, index)) for index in range(start, end)])
