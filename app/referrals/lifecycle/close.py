"""Closing a dispatch without an answer: undeliverable, expired, or cancelled by a co-ordinator."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from app.audit.record import Actor
from app.db import Connection
from app.referrals.alerts import raise_alerts, settle_alerts
from app.referrals.lifecycle.notify import inboxes_changed
from app.referrals.reasons import reason_of, seal_reason
from app.referrals.states import AlertKind, DispatchState, dispatch_may_come_from

_LOCK = text("""
    SELECT dispatch.id, dispatch.attempt, dispatch.agency
      FROM dispatch JOIN referral ON referral.id = dispatch.referral_id
     WHERE dispatch.id = ANY(CAST(:ids AS uuid[])) AND dispatch.state = ANY(CAST(:from_states AS text[]))
     ORDER BY referral.id, dispatch.id
       FOR NO KEY UPDATE OF referral, dispatch
""")

_REFERRAL = text("SELECT referral_id FROM dispatch WHERE id = :id")

_CLOSE = text("""
    WITH given AS (
        SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:reasons AS text[]), CAST(:sealed AS bytea[]))
                   AS given (id, reason, sealed)
    ), moved AS (
        UPDATE dispatch
           SET state = :state, closed_at = now(), due_delivery_at = NULL, next_check_at = NULL,
               ended_because = given.reason, sealed_reason = given.sealed
          FROM given WHERE dispatch.id = given.id
        RETURNING dispatch.id, dispatch.referral_id, dispatch.agency
    ), counted AS (
        UPDATE referral
           SET updated_at = now(),
               open_dispatches = open_dispatches - closed.number,
               state = CASE WHEN open_dispatches = closed.number THEN 'completed' ELSE state END
          FROM (SELECT referral_id, count(*) AS number FROM moved GROUP BY referral_id) AS closed
         WHERE referral.id = closed.referral_id
        RETURNING id, state
    ), logged AS (
        INSERT INTO audit_event (operation, action, party, actor, request_id, referral_id, dispatch_id)
        SELECT 'alteration', 'dispatch.' || :state, :actor_party, :actor_name, :request_id, referral_id, id
          FROM moved
    )
    INSERT INTO audit_event (operation, action, party, actor, referral_id)
    SELECT 'alteration', 'referral.completed', 'GAIN', 'lifecycle', id FROM counted WHERE state = 'completed'
""")


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A dispatch that cannot be handed over; `attempt` is the hand-over that said so, `reason` has no personal data."""

    id: UUID
    attempt: int
    reason: str


async def give_up(connection: Connection, actor: Actor, items: Sequence[GivenUp]) -> None:
    """Mark dispatches undeliverable where they are still open and nobody has claimed them since."""
    closed = await _close(
        connection,
        actor,
        {item.id: item.reason for item in items},
        DispatchState.UNDELIVERABLE,
        {item.id: item.attempt for item in items},
    )
    await raise_alerts(connection, AlertKind.UNDELIVERABLE, closed)


async def expire(connection: Connection, actor: Actor, dispatch_ids: Collection[UUID]) -> None:
    """End dispatches that nobody answered in time, where they are still open."""
    closed = await _close(connection, actor, dict.fromkeys(dispatch_ids), DispatchState.EXPIRED)
    await raise_alerts(connection, AlertKind.EXPIRED, closed)


async def cancel_dispatch(connection: Connection, actor: Actor, dispatch_id: UUID, reason: str) -> bool:
    """Take one dispatch back; False where it is not open any more. Its item shows as cancelled until that is seen."""
    referral_id = await connection.scalar(_REFERRAL, {"id": dispatch_id})
    if referral_id is None:
        return False
    sealed = await seal_reason(connection, referral_id, reason_of("dispatch", dispatch_id), reason)
    return bool(await _close(connection, actor, {dispatch_id: sealed}, DispatchState.CANCELLED))


async def _close(
    connection: Connection,
    actor: Actor,
    reasons: Mapping[UUID, str | bytes | None],
    state: DispatchState,
    attempts: Mapping[UUID, int] | None = None,
) -> list[UUID]:
    """Close those that may still be closed; with `attempts`, those whose current hand-over is the one named.

    A reason of ours is text, a person's is sealed.
    """
    if not reasons:
        return []
    parameters = {"ids": list(reasons), "from_states": dispatch_may_come_from(state)}
    rows = await connection.execute(_LOCK, parameters)
    agencies = {row.id: row.agency for row in rows if attempts is None or attempts[row.id] == row.attempt}
    locked = list(agencies)
    if not locked:
        return []
    await settle_alerts(connection, locked)
    given = [reasons[key] for key in locked]
    parameters = {
        "ids": locked,
        "reasons": [reason if isinstance(reason, str) else None for reason in given],
        "sealed": [reason if isinstance(reason, bytes) else None for reason in given],
        "state": state.value,
        **actor.parameters(),
    }
    await connection.execute(_CLOSE, parameters)
    await inboxes_changed(connection, agencies.values())
    return locked
