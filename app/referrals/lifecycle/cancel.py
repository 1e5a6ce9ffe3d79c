"""Ending a referral before it is completed: the originator takes it back, or a co-ordinator rejects it."""

from uuid import UUID

from sqlalchemy import text

from app.audit.record import Actor, Event, Operation, record
from app.db import Connection
from app.referrals.alerts import settle_alerts
from app.referrals.lifecycle.notify import inboxes_changed
from app.referrals.reasons import reason_of, seal_reason
from app.referrals.states import OPEN, ReferralState, referral_may_come_from

_END = text("""
    UPDATE referral
       SET state = :state, reason = NULL, sealed_reason = :reason, held_because = NULL, open_dispatches = 0,
           updated_at = now()
     WHERE id = :id AND state = ANY(CAST(:from_states AS text[]))
    RETURNING id
""")

_LOCK_OPEN = text("""
    SELECT id, state, agency FROM dispatch
     WHERE referral_id = :id AND state = ANY(CAST(:open_states AS text[])) ORDER BY id FOR NO KEY UPDATE
""")

_CANCEL_DISPATCHES = text("""
    UPDATE dispatch
       SET state = 'cancelled', closed_at = now(), due_delivery_at = NULL, next_check_at = NULL
     WHERE id = ANY(CAST(:ids AS uuid[]))
""")


async def cancel(connection: Connection, actor: Actor, referral_id: UUID, reason: str) -> bool:
    """Cancel a referral and its open dispatches; False where its state does not allow it (or did not any more)."""
    return await _end(connection, actor, referral_id, reason, ReferralState.CANCELLED)


async def reject(connection: Connection, actor: Actor, referral_id: UUID, reason: str) -> bool:
    """Reject a referral and cancel its open dispatches; False where its state does not allow it."""
    return await _end(connection, actor, referral_id, reason, ReferralState.REJECTED)


async def _end(connection: Connection, actor: Actor, referral_id: UUID, reason: str, state: ReferralState) -> bool:
    parameters = {
        "id": referral_id,
        "state": state.value,
        "reason": await seal_reason(connection, referral_id, reason_of("referral", referral_id), reason),
        "from_states": referral_may_come_from(state),
    }
    if await connection.scalar(_END, parameters) is None:
        return False
    rows = (await connection.execute(_LOCK_OPEN, {"id": referral_id, "open_states": sorted(OPEN)})).all()
    await connection.execute(_CANCEL_DISPATCHES, {"ids": [row.id for row in rows]})
    await settle_alerts(connection, [row.id for row in rows])
    await inboxes_changed(connection, [row.agency for row in rows])
    await record(
        connection,
        actor,
        [Event(Operation.ALTERATION, f"referral.{state.value}", referral_id)]
        + [
            Event(Operation.ALTERATION, "dispatch.cancelled", referral_id, row.id, detail={"was": row.state})
            for row in rows
        ],
    )
    return True
