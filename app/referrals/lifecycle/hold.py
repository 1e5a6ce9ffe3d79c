"""Holding: a co-ordinator keeps what nobody has seen yet out of the inboxes, and later lets it go on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from app.audit.record import Actor, Event, Operation, record
from app.db import Connection
from app.referrals import fan_out_tries
from app.referrals.lifecycle.notify import inboxes_changed, referral_changed
from app.referrals.reasons import reason_of, seal_reason
from app.referrals.states import ReferralState, referral_may_come_from

_HOLD = text("""
    UPDATE referral SET state = 'held', reason = NULL, sealed_reason = :reason, held_because = NULL, updated_at = now()
     WHERE id = :id AND state = ANY(CAST(:from_states AS text[]))
    RETURNING id
""")

_HOLD_DISPATCHES = text("""
    UPDATE dispatch
       SET state = 'held', queued_at = NULL, due_delivery_at = NULL, next_check_at = NULL, holds = holds + 1,
           -- Of its release the agency is told anew, with all its tries; what comes of a notice still under way must
           -- neither settle that one nor put it off.
           failures = 0, attempt = attempt + CASE WHEN attempt > 0 THEN 1 ELSE 0 END
     WHERE id = ANY(ARRAY(SELECT id FROM dispatch WHERE referral_id = :id AND state = 'queued'
                           ORDER BY id FOR NO KEY UPDATE))
    RETURNING id, agency
""")

_RELEASE = text("""
    UPDATE referral
       SET state = CASE WHEN open_dispatches > 0 THEN 'in_progress' ELSE 'accepted' END, reason = NULL,
           sealed_reason = NULL, held_because = NULL, updated_at = now()
     WHERE id = :id AND state = 'held'
    RETURNING id
""")

_HELD = text("""
    SELECT id, agency FROM dispatch
     WHERE referral_id = :id AND state = 'held' AND NOT needs_release ORDER BY id FOR NO KEY UPDATE
""")

_LOCK_HELD = text("""
    SELECT dispatch.id, dispatch.agency, referral.state AS referral_state
      FROM dispatch JOIN referral ON referral.id = dispatch.referral_id
     WHERE dispatch.id = :id AND dispatch.state = 'held'
       FOR NO KEY UPDATE OF referral, dispatch
""")

_QUEUE = text("""
    UPDATE dispatch
       SET state = 'queued', needs_release = false, queued_at = now(), clock_from = now(), due_at = given.due_at,
           expires_at = given.expires_at, next_check_at = given.next_check_at, overdue_at = NULL,
           due_delivery_at = CASE WHEN given.adapter THEN now() END
      FROM unnest(CAST(:ids AS uuid[]), CAST(:dues AS timestamptz[]), CAST(:expiries AS timestamptz[]),
                  CAST(:checks AS timestamptz[]), CAST(:adapters AS boolean[]))
           AS given (id, due_at, expires_at, next_check_at, adapter)
     WHERE dispatch.id = given.id
""")


@dataclass(frozen=True, slots=True)
class Restart:
    """The time an agency gets for a dispatch that enters its inbox now, and whether an adapter reaches it."""

    due_at: datetime
    expires_at: datetime
    next_check_at: datetime | None
    adapter: bool


async def hold(connection: Connection, actor: Actor, referral_id: UUID, reason: str) -> bool:
    """Hold a referral: dispatches nobody has seen leave the inboxes. False where its state does not allow it."""
    sealed = await seal_reason(connection, referral_id, reason_of("referral", referral_id), reason)
    parameters = {"id": referral_id, "reason": sealed, "from_states": referral_may_come_from(ReferralState.HELD)}
    if await connection.scalar(_HOLD, parameters) is None:
        return False
    rows = (await connection.execute(_HOLD_DISPATCHES, {"id": referral_id})).all()
    await inboxes_changed(connection, [row.agency for row in rows])
    await record(
        connection,
        actor,
        [Event(Operation.ALTERATION, "referral.held", referral_id)]
        + [Event(Operation.ALTERATION, "dispatch.held", referral_id, row.id) for row in rows],
    )
    return True


async def release(
    connection: Connection, actor: Actor, referral_id: UUID, restart_of: Callable[[str], Restart]
) -> bool:
    """Let a held referral go on; `restart_of` an agency is the time it gets from now. False where it is not held.

    Dispatches that wait for a release of their own, by their agency's policy, stay held. One that was held because it
    could not be sent out has all its tries again.
    """
    if await connection.scalar(_RELEASE, {"id": referral_id}) is None:
        return False
    await fan_out_tries.forget(connection, [referral_id])
    rows = (await connection.execute(_HELD, {"id": referral_id})).all()
    await _queue(connection, {row.id: restart_of(row.agency) for row in rows})
    await inboxes_changed(connection, [row.agency for row in rows])
    await record(
        connection,
        actor,
        [Event(Operation.ALTERATION, "referral.released", referral_id)]
        + [Event(Operation.ALTERATION, "dispatch.released", referral_id, row.id) for row in rows],
    )
    return True


async def release_dispatch(
    connection: Connection, actor: Actor, referral_id: UUID, dispatch_id: UUID, restart: Restart
) -> bool:
    """Let one held dispatch into its agency's inbox; False where it is not held, or its whole referral is."""
    row = (await connection.execute(_LOCK_HELD, {"id": dispatch_id})).one_or_none()
    if row is None or row.referral_state == ReferralState.HELD:
        return False
    await _queue(connection, {dispatch_id: restart})
    await referral_changed(connection, referral_id)
    await inboxes_changed(connection, [row.agency])
    await record(connection, actor, [Event(Operation.ALTERATION, "dispatch.released", referral_id, dispatch_id)])
    return True


async def _queue(connection: Connection, restarts: Mapping[UUID, Restart]) -> None:
    if not restarts:
        return
    await connection.execute(
        _QUEUE,
        {
            "ids": list(restarts),
            "dues": [restart.due_at for restart in restarts.values()],
            "expiries": [restart.expires_at for restart in restarts.values()],
            "checks": [restart.next_check_at for restart in restarts.values()],
            "adapters": [restart.adapter for restart in restarts.values()],
        },
    )
