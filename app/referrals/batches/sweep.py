"""Clearing away: uploads that were cut off, and the records of batches that are long done."""

from sqlalchemy import text

from app.audit.record import Actor, Event, Operation, record
from app.db import Connection
from app.referrals.batches.store import SILENT_SECONDS

KEPT_DAYS = 90
"""How long the record of a batch is kept: its counts and what was wrong with its rows, none of which names anybody. As
long its `Idempotency-Key` stands for it; its rows are known again for as long as their referrals are kept."""

_CUT_OFF = text("""
    SELECT id, total FROM batch
     WHERE (state = 'receiving' AND touched_at < now() - make_interval(secs => CAST(:silent AS double precision))
            OR state = 'incomplete') AND completed_at IS NULL
     ORDER BY touched_at LIMIT 10 FOR NO KEY UPDATE SKIP LOCKED
""")

_ROWS = text("DELETE FROM batch_row WHERE batch_id = ANY(CAST(:ids AS uuid[]))")
_ERRORS = text("DELETE FROM batch_error WHERE batch_id = ANY(CAST(:ids AS uuid[]))")
_KEYS = text("DELETE FROM data_key WHERE referral_id = ANY(CAST(:ids AS uuid[]))")
_SETTLE = text("""
    UPDATE batch SET state = 'incomplete', key = NULL, completed_at = now() WHERE id = ANY(CAST(:ids AS uuid[]))
""")

_OLD = text("""
    DELETE FROM batch WHERE id = ANY(ARRAY(
        SELECT id FROM batch WHERE completed_at < now() - make_interval(days => CAST(:days AS integer))
         ORDER BY id LIMIT 10 FOR UPDATE SKIP LOCKED))
    RETURNING id, total
""")


async def clear_cut_off(connection: Connection, actor: Actor) -> int:
    """Of uploads that were cut off nothing stays but that they were; returns how many there were."""
    found = (await connection.execute(_CUT_OFF, {"silent": SILENT_SECONDS})).all()
    if not found:
        return 0
    ids = {"ids": [row.id for row in found]}
    for statement in (_ROWS, _ERRORS, _KEYS, _SETTLE):
        await connection.execute(statement, ids)
    events = [
        Event(Operation.ERASURE, "batch.incomplete", detail={"batch": str(row.id), "rows": row.total}) for row in found
    ]
    await record(connection, actor, events)
    return len(found)


async def forget_old(connection: Connection, actor: Actor) -> int:
    """Delete records whose time is over, a few at a time; returns how many."""
    found = (await connection.execute(_OLD, {"days": KEPT_DAYS})).all()
    events = [
        Event(Operation.ERASURE, "batch.forgotten", detail={"batch": str(row.id), "rows": row.total}) for row in found
    ]
    await record(connection, actor, events)
    return len(found)
