"""The sealer: gives committed events their place in the tree. Alone (an advisory lock), a batch at a time.

Which events are not sealed yet is found without looking at the log again. Ids are given out in order and commit in any,
so beside the last id looked at, the head keeps the ids before it that were not there: they are looked up one by one
until they appear, or until nobody can commit them any more. Whoever inserts holds a lock on the table from before it
is given an id until after its commit is visible; those who held one after an id was given out, and hold none now, have
committed or never will.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, TextClause, text

from app.audit import gaps
from app.audit.entry import COLUMNS, hashed
from app.audit.tree import Frontier
from app.db import AS_WORKER, Connection, Database

BATCH = 5_000
"""Entries a transaction seals: a fifth of a second's work at most, so that the lock is soon free."""

_Row = Row[tuple[Any, ...]]

LOCK = 0x4741494E_0006
"""Advisory lock of whoever seals; the number only has to be nobody else's."""

_LOCK = text("SELECT pg_try_advisory_xact_lock(:key)")
_GIVEN_OUT = text("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM audit_event_id_seq")
_HEAD = text("""
    SELECT size, frontier, sealed_to, CAST(holes AS text) AS holes, closing, lockers,
           ARRAY(SELECT DISTINCT virtualtransaction FROM pg_locks
                  WHERE relation = CAST('audit_event' AS regclass) AND locktype = 'relation'
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                    AND mode = 'RowExclusiveLock' AND pid IS DISTINCT FROM pg_backend_pid()) AS holding
      FROM audit_head
""")
_NEW = text(f"""
    SELECT {COLUMNS} FROM audit_event
     WHERE id > :sealed_to AND id <= :given_out ORDER BY id LIMIT CAST(:limit AS integer)
""")  # noqa: S608
_LATE = text(f"""
    SELECT {COLUMNS} FROM unnest(CAST(CAST(:holes AS text) AS int8multirange)) AS hole
      JOIN audit_event ON audit_event.id >= lower(hole) AND audit_event.id < upper(hole)
     ORDER BY audit_event.id LIMIT CAST(:limit AS integer)
""")  # noqa: S608
_ENTRIES = text("""
    INSERT INTO audit_entry (sequence, event_id, leaf)
    SELECT CAST(:size AS bigint) + number - 1, event_id, leaf
      FROM unnest(CAST(:events AS bigint[]), CAST(:leaves AS bytea[]))
           WITH ORDINALITY AS sealed (event_id, leaf, number)
""")
_NODES = text("""
    INSERT INTO audit_node (level, place, hash)
    SELECT * FROM unnest(CAST(:levels AS smallint[]), CAST(:places AS bigint[]), CAST(:hashes AS bytea[]))
""")
_MOVE = text("""
    UPDATE audit_head
       SET size = :size, frontier = :frontier, sealed_to = :sealed_to,
           holes = CAST(CAST(:holes AS text) AS int8multirange), closing = :closing, lockers = CAST(:lockers AS text[])
""")


class NoHead(RuntimeError):
    """The row that says how far the log is sealed is gone: somebody has tampered with it. Nothing is sealed."""


@dataclass(frozen=True, slots=True)
class _Head:
    """How far the log is sealed; `holding` are the transactions that can commit an event at this moment."""

    size: int
    frontier: bytes
    sealed_to: int
    holes: list[tuple[int, int]]
    closing: int
    lockers: Sequence[str]
    holding: Sequence[str]


async def seal(connection: Connection, batch: int = BATCH) -> int | None:
    """Seal up to `batch` events in the caller's transaction; returns how many, or None while somebody else seals.

    Needs READ COMMITTED: each statement sees what is committed before it begins. Raises `NoHead`.
    """
    if not await connection.scalar(_LOCK, {"key": LOCK}):
        return None
    # In this order: whoever was given an id up to `given_out` is among `holding`, or its commit is visible after that.
    given_out = await connection.scalar(_GIVEN_OUT) or 0
    head = await _head(connection)
    late: Sequence[_Row] = []
    if head.holes:
        late = await _rows(connection, _LATE, {"holes": gaps.written(head.holes), "limit": batch})
    new = await _rows(
        connection, _NEW, {"sealed_to": head.sealed_to, "given_out": given_out, "limit": batch - len(late)}
    )
    full = len(late) + len(new) == batch
    sealed_to = (new[-1].id if new else head.sealed_to) if full else max(given_out, head.sealed_to)
    moved = _moved(head, sealed_to, [row.id for row in late], [row.id for row in new], all_seen=not full)
    frontier = Frontier.unpack(head.size, head.frontier)
    await _store(connection, head.size, frontier, [*late, *new])
    if late or new or moved != _state(head):
        await connection.execute(_MOVE, {"size": frontier.size, "frontier": frontier.pack(), **moved})
    return len(late) + len(new)


async def seal_all(database: Database) -> bool:
    """Seal all there is, a transaction a batch; False where somebody else is sealing. Raises `NoHead`."""
    while True:
        async with database.transaction(AS_WORKER) as connection:
            sealed = await seal(connection)
        if sealed != BATCH:
            return sealed is not None


def _state(head: _Head) -> dict[str, Any]:
    return {
        "sealed_to": head.sealed_to,
        "holes": gaps.written(head.holes),
        "closing": head.closing,
        "lockers": list(head.lockers),
    }


def _moved(head: _Head, sealed_to: int, late: list[int], new: list[int], *, all_seen: bool) -> dict[str, Any]:
    """Where the search stands afterwards. `late` and `new` are the ids found in the holes and beyond them."""
    holes = gaps.without(head.holes, late) + gaps.without([(head.sealed_to + 1, sealed_to + 1)], new)
    closing, lockers = head.closing, list(head.lockers)
    if all_seen and not set(lockers) & set(head.holding):
        holes = gaps.after(holes, closing)
        closing, lockers = (sealed_to, sorted(head.holding)) if holes else (sealed_to, [])
    return {"sealed_to": sealed_to, "holes": gaps.written(holes), "closing": closing, "lockers": lockers}


async def _head(connection: Connection) -> _Head:
    row = (await connection.execute(_HEAD)).one_or_none()
    if row is None:
        raise NoHead("audit_head has no row")
    return _Head(
        row.size, row.frontier, row.sealed_to, gaps.read(row.holes), row.closing, row.lockers, sorted(row.holding)
    )


async def _rows(connection: Connection, statement: TextClause, parameters: Mapping[str, Any]) -> Sequence[_Row]:
    return (await connection.execute(statement, parameters)).all()


async def _store(connection: Connection, size: int, frontier: Frontier, rows: Sequence[_Row]) -> None:
    """Append the rows to the tree and write their entries, and the nodes they complete."""
    if not rows:
        return
    leaves = [hashed(row, sequence) for sequence, row in enumerate(rows, size)]
    tiles = frontier.extend(leaves)
    await connection.execute(_ENTRIES, {"size": size, "events": [row.id for row in rows], "leaves": leaves})
    if tiles:
        await connection.execute(
            _NODES,
            {
                "levels": [node.level for node, _ in tiles],
                "places": [node.place for node, _ in tiles],
                "hashes": [known for _, known in tiles],
            },
        )
