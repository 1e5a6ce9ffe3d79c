"""Pruning: the oldest entries lose their content, the tree keeps their hashes, and the log tells of it."""

from datetime import datetime

from sqlalchemy import text

from app.audit.entry import commit
from app.audit.record import Actor, Event, Operation, record
from app.audit.verify import PRUNED
from app.db import Connection

BATCH = 10_000

# The first entry that is too young to go: those after it stay, whatever their time, so that what goes is a beginning.
_BOUNDARY = text("""
    SELECT coalesce(
        (SELECT sequence FROM audit_entry JOIN audit_event ON audit_event.id = event_id
          WHERE audit_event.at >= :before ORDER BY sequence LIMIT 1),
        (SELECT size FROM audit_head))
""")
_DECLARE = text("UPDATE audit_head SET pruned = :to WHERE pruned < :to RETURNING pruned")
_SEALED = text("""
    SELECT EXISTS (SELECT FROM audit_entry JOIN audit_event ON audit_event.id = event_id
                    WHERE action = :action AND CAST(detail -> 'to' AS bigint) = (SELECT pruned FROM audit_head))
""")
_ALLOW = text("SELECT set_config('gain.pruning', 'on', true)")
_DELETE = text("""
    DELETE FROM audit_event WHERE id = ANY(ARRAY(
        SELECT audit_event.id FROM audit_entry JOIN audit_event ON audit_event.id = event_id
         WHERE sequence >= :start AND sequence < least(:start + :batch, (SELECT pruned FROM audit_head))))
""")
_PRUNED = text("SELECT pruned FROM audit_head")


async def boundary(connection: Connection, before: datetime) -> int:
    """The first entry of `before` (with a zone) or later: the content of all before it may go."""
    return int(await connection.scalar(_BOUNDARY, {"before": before}) or 0)


async def declare(connection: Connection, actor: Actor, to: int, before: datetime, reason: str) -> bool:
    """Log that the content of the entries before `to` goes, and let it; False where it was gone before.

    The reason, a person's words, enters the log as a commitment only. Nothing is deleted until that event is sealed.
    """
    if await connection.scalar(_DECLARE, {"to": to}) is None:
        return False
    private = commit({"reason": reason}) if reason else None
    detail = {"to": to, "before": before.isoformat()}
    await record(connection, actor, [Event(Operation.ERASURE, PRUNED, detail=detail, private=private)])
    return True


async def is_sealed(connection: Connection) -> bool:
    """Whether the log's entries tell of all the pruning that the head allows; so it is where it allows none."""
    if not await connection.scalar(_PRUNED):
        return True
    return bool(await connection.scalar(_SEALED, {"action": PRUNED}))


async def delete(connection: Connection, start: int) -> tuple[int, int | None]:
    """Delete the content of one batch of entries from `start` on: how many, and where the next batch begins, if any."""
    await connection.execute(_ALLOW)
    done = await connection.execute(_DELETE, {"start": start, "batch": BATCH})
    end = int(await connection.scalar(_PRUNED) or 0)
    return done.rowcount, start + BATCH if start + BATCH < end else None
