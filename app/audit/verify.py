"""Verification: the whole log recomputed from its events, in one pass, in constant memory, beside a running system.

Compared are each event with its leaf, the leaves with the stored nodes and the head, the tree with every checkpoint
found, and the events with the entries, so that nothing stands in the log that was not sealed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from sqlalchemy import Row, text

from app.audit import prove
from app.audit.entry import COLUMNS, hashed
from app.audit.note import NotSigned, VerifierKey
from app.audit.promises import Aside, Promise, PromiseBroken, Source, in_file, stored
from app.audit.pruned import PRUNED, declared
from app.audit.tree import Frontier, Node
from app.db import Connection

_CHUNK = 5_000
_OWN_COLUMNS = 3  # of an entry, before those of its event

# OFFSET 0 keeps the order of the walk: entry by entry, each event by its id. Any other plan sorts the log.
_ENTRIES = text(f"""
    SELECT audit_entry.sequence, audit_entry.event_id, audit_entry.leaf, {COLUMNS}
      FROM audit_entry LEFT JOIN LATERAL (
           SELECT * FROM audit_event AS event WHERE event.id = audit_entry.event_id OFFSET 0) AS audit_event ON true
     ORDER BY audit_entry.sequence
""")  # noqa: S608
_HEAD = text("SELECT size, frontier, sealed_to, pruned FROM audit_head")
_NODES = text("""
    SELECT level, place, hash FROM unnest(CAST(:levels AS smallint[]), CAST(:places AS bigint[])) AS wanted (l, p)
      JOIN audit_node ON level = l AND place = p
""")
_NODE_COUNT = text("SELECT count(*) FROM audit_node")
_NEVER_SEALED = text("""
    SELECT audit_event.id FROM audit_event
     WHERE (id <= (SELECT sealed_to FROM audit_head) AND NOT id <@ (SELECT holes FROM audit_head)
            OR id > (SELECT last_value FROM audit_event_id_seq))
       AND NOT EXISTS (SELECT FROM audit_entry WHERE audit_entry.event_id = audit_event.id)
     ORDER BY id LIMIT 1
""")
_FIRST_MISSING = text("""
    SELECT sequence FROM audit_entry
     WHERE sequence >= :start AND NOT EXISTS (SELECT FROM audit_event WHERE audit_event.id = audit_entry.event_id)
     ORDER BY sequence LIMIT 1
""")
_WAITING = text("""
    SELECT (SELECT count(*) FROM audit_event WHERE id > sealed_to) AS number FROM audit_head
""")


class Tampered(Exception):
    """The log is not what was sealed. `entry` is the first bad entry, None where it is not an entry that is bad."""

    def __init__(self, entry: int | None, why: str) -> None:
        super().__init__(why if entry is None else f"entry {entry}: {why}")
        self.entry = entry


@dataclass(slots=True)
class Verified:
    """What a whole log comes to: its tree; how many entries no checkpoint covers yet, and whose content is pruned.

    `unfinished` are the lines of the file of checkpoints whose writing was cut off.
    """

    size: int
    root: bytes
    unsigned: int
    pruned: int
    waiting: int
    unfinished: tuple[int, ...] = ()


@dataclass(slots=True)
class _Pass:
    """One pass over the log."""

    connection: Connection
    keys: Sequence[VerifierKey]
    sources: Sequence[Source]
    frontier: Frontier = field(default_factory=Frontier)
    nodes: int = 0
    sound: int = 0
    """The size up to which a promise was kept: what a broken one accuses lies after it."""
    missing: int = -1
    """The last entry without an event."""
    gone: int = 0
    pruned_to: int = 0


async def verify(
    connection: Connection,
    keys: Sequence[VerifierKey],
    file: Path | None,
    progress: Callable[[int], None] = lambda _size: None,
) -> Verified:
    """Verify the log in the caller's transaction, which must be REPEATABLE READ. Raises `Tampered`.

    `keys` are those that may have signed checkpoints and prunings, `file` one of checkpoints that is there; `progress`
    is told the size so far.
    """
    head = (await connection.execute(_HEAD)).one_or_none()
    if head is None:
        raise Tampered(None, "the row that says how far the log is sealed is gone (audit_head)")
    aside = Aside()
    sources = [Source(stored(connection, keys))]
    if file is not None:
        sources.append(Source(in_file(file, keys, aside)))
    walk = _Pass(connection, keys, sources)
    try:
        for source in sources:
            await source.advance()
        await _walk(walk, head.pruned, progress)
        await _compare_with_rest(walk, head, aside.unordered)
    except PromiseBroken as broken:
        raise Tampered(None, str(broken)) from None
    waiting = await connection.scalar(_WAITING) or 0
    size = walk.frontier.size
    return Verified(size, walk.frontier.root(), size - walk.sound, walk.gone, waiting, tuple(aside.unfinished))


async def _walk(walk: _Pass, pruned: int, progress: Callable[[int], None]) -> None:
    await _keep_promises(walk)
    result = await walk.connection.stream(_ENTRIES, execution_options={"yield_per": _CHUNK})
    async for rows in result.partitions(_CHUNK):
        leaves: list[bytes] = []
        bad = None
        for row in rows:
            bad = _fault(walk, row, walk.frontier.size + len(leaves), pruned)
            if bad is not None:
                break
            leaves.append(row.leaf)
        # Before what is wrong with a row comes what is wrong with those before it.
        await _extend(walk, leaves)
        if bad is not None:
            raise bad
        progress(walk.frontier.size)


def _fault(walk: _Pass, row: Row[tuple[object, ...]], expected: int, pruned: int) -> Tampered | None:
    if row.sequence != expected:
        return Tampered(expected, "it is missing")
    if row.id is None:
        if row.sequence >= pruned:
            return Tampered(expected, f"its event (id {row.event_id}) is missing")
        walk.missing = expected
        walk.gone += 1
        return None
    if hashed(row[_OWN_COLUMNS:], expected) != row.leaf:
        return Tampered(expected, f"its event (id {row.event_id}) is not the one that was sealed here")
    if row.action == PRUNED:
        try:
            walk.pruned_to = max(walk.pruned_to, declared(orjson.loads(row.detail or "{}"), walk.keys))
        except NotSigned as refusal:
            return Tampered(expected, f"its event (id {row.event_id}) declares a pruning, and {refusal}")
    return None


async def _extend(walk: _Pass, leaves: Sequence[bytes]) -> None:
    """Append leaves, compare the nodes they complete with the stored ones, and the roots with what was promised."""
    start = walk.frontier.size
    tiles: list[tuple[Node, bytes]] = []
    done = 0
    while done < len(leaves):
        sizes = [source.next.size for source in walk.sources if source.next is not None]
        stop = min([*(size - start for size in sizes if size - start > done), len(leaves)])
        tiles += walk.frontier.extend(leaves[done:stop])
        done = stop
        await _keep_promises(walk)
    await _compare_nodes(walk, tiles)


async def _keep_promises(walk: _Pass) -> None:
    for source in walk.sources:
        while source.next is not None and source.next.size == walk.frontier.size:
            _keep(walk, source.next, walk.frontier.root())
            await source.advance()


def _keep(walk: _Pass, promise: Promise, root: bytes) -> None:
    if promise.root != root:
        last = promise.size - 1
        where = f"entries {walk.sound} to {last}" if last > walk.sound else f"entry {walk.sound}"
        raise Tampered(walk.sound, f"{where} are not what {promise.where} promises")
    walk.sound = max(walk.sound, promise.size)


async def _compare_nodes(walk: _Pass, tiles: Sequence[tuple[Node, bytes]]) -> None:
    if not tiles:
        return
    parameters = {"levels": [node.level for node, _ in tiles], "places": [node.place for node, _ in tiles]}
    found = {Node(row.level, row.place): row.hash for row in await walk.connection.execute(_NODES, parameters)}
    for node, known in tiles:
        if found.get(node) != known:
            first = node.place << node.level
            last = ((node.place + 1) << node.level) - 1
            raise Tampered(first, f"the stored hash over entries {first} to {last} is not theirs")
    walk.nodes += len(tiles)


async def _compare_with_rest(walk: _Pass, head: Row[tuple[object, ...]], unordered: Sequence[Promise]) -> None:
    """What only the whole can be compared with."""
    size = walk.frontier.size
    left = [source.next for source in walk.sources if source.next is not None]
    left += [promise for promise in unordered if promise.size > size]
    if left:
        raise Tampered(size, f"it is missing, and all after it: {min(left).where} promises {min(left).size} entries")
    if head.size != size:
        raise Tampered(min(size, head.size), f"{head.size} entries were sealed and {size} are there")
    if head.frontier != walk.frontier.pack():
        raise Tampered(None, "the head's hashes are not those of the log (audit_head)")
    if await walk.connection.scalar(_NODE_COUNT) != walk.nodes:
        raise Tampered(None, "there are stored hashes of no entries (audit_node)")
    for promise in unordered:
        _keep(walk, promise, await prove.root(walk.connection, promise.size))
    if walk.pruned_to <= walk.missing:
        # Only now is it known which of the missing a pruning excuses.
        first = await walk.connection.scalar(_FIRST_MISSING, {"start": walk.pruned_to})
        raise Tampered(first, "its event is missing, and the log tells of no pruning that took it")
    stray = await walk.connection.scalar(_NEVER_SEALED)
    if stray is not None:
        raise Tampered(None, f"event {stray} stands in the log and was never sealed")
