"""Pruning: the oldest entries lose their content, the tree keeps their hashes, and the log tells of it, signed."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import orjson
from sqlalchemy import text

from app.audit.entry import commit
from app.audit.note import NotSigned, Signer, VerifierKey
from app.audit.pruned import OF_PRUNINGS, PRUNED, Declaration, declared
from app.audit.record import Actor, Event, Operation, record
from app.audit.verify import verify
from app.db import Connection

BATCH = 10_000

# The first entry that is too young to go: those after it stay, whatever their time, so that what goes is a beginning.
_BOUNDARY = text("""
    SELECT coalesce(
        (SELECT sequence FROM audit_entry JOIN audit_event ON audit_event.id = event_id
          WHERE audit_event.at >= :before ORDER BY sequence LIMIT 1),
        (SELECT size FROM audit_head))
""")
_RAISE = text("UPDATE audit_head SET pruned = greatest(pruned, :to)")
_DECLARED = text(f"SELECT detail::text AS detail FROM audit_event WHERE {OF_PRUNINGS} ORDER BY id")  # noqa: S608
# OFFSET 0 asks for each by its id: any other plan may read every entry.
_UNSEALED = text(f"""
    SELECT EXISTS (
        SELECT FROM audit_event WHERE {OF_PRUNINGS}
           AND NOT EXISTS (SELECT FROM audit_entry WHERE event_id = audit_event.id OFFSET 0))
""")  # noqa: S608
_ALLOW = text("SELECT set_config('gain.pruning', 'on', true)")
_DELETE = text("""
    DELETE FROM audit_event WHERE id = ANY(ARRAY(
        SELECT audit_event.id FROM audit_entry JOIN audit_event ON audit_event.id = event_id
         WHERE sequence >= :start AND sequence < least(:start + :batch, :to)))
""")


async def boundary(
    connection: Connection,
    before: datetime,
    keys: Sequence[VerifierKey],
    file: Path | None = None,
    progress: Callable[[int], None] = lambda _size: None,
) -> int:
    """The first entry of `before` (with a zone) or later: the content of all before it may go.

    Of a log that verifies alone: what its owner deleted or dated back would otherwise be signed away as pruned. So in
    the caller's transaction, which must be REPEATABLE READ; the rest is as `verify` takes it. Raises `Tampered`.
    """
    await verify(connection, keys, file, progress)
    return int(await connection.scalar(_BOUNDARY, {"before": before}) or 0)


async def declare(connection: Connection, actor: Actor, signer: Signer, to: int, before: datetime, reason: str) -> bool:
    """Log, signed, that the content of the entries before `to` goes; False where the log tells of that already.

    The reason, a person's words, enters the log as a commitment only. Nothing is deleted until that event is sealed.
    """
    await connection.execute(_RAISE, {"to": to})  # also a lock: two who prune declare one after the other
    if to <= await allowed(connection, [signer.key]):
        return False
    private = commit({"reason": reason}) if reason else None
    detail = Declaration.of(signer, to, before).detail()
    await record(connection, actor, [Event(Operation.ERASURE, PRUNED, detail=detail, private=private)])
    return True


async def allowed(connection: Connection, keys: Sequence[VerifierKey]) -> int:
    """The first entry whose content must stay, by the log's declarations that one of the keys has signed.

    The head's own mark is not asked: the database's owner can set that.
    """
    furthest = 0
    for row in await connection.execute(_DECLARED):
        with suppress(NotSigned):
            furthest = max(furthest, declared(orjson.loads(row.detail or "{}"), keys))
    return furthest


async def is_sealed(connection: Connection) -> bool:
    """Whether every declaration is an entry."""
    return not await connection.scalar(_UNSEALED)


async def delete(connection: Connection, start: int, to: int) -> tuple[int, int | None]:
    """Delete the content of one batch of the entries from `start` on and before `to`, which is `allowed`.

    Returns how many went, and where the next batch begins, if any.
    """
    await connection.execute(_ALLOW)
    done = await connection.execute(_DELETE, {"start": start, "batch": BATCH, "to": to})
    return done.rowcount, start + BATCH if start + BATCH < to else None
