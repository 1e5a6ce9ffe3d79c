"""Acknowledgement: an agency says that it has a dispatch, or has seen that one is cancelled."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from uuid import UUID

from sqlalchemy import text

from app.audit.record import Actor, Event, Operation, record
from app.db import Connection
from app.referrals.alerts import settle_alerts
from app.referrals.lifecycle.claim import claim_holds
from app.referrals.lifecycle.notify import inboxes_changed
from app.referrals.states import AlertKind, DispatchState


class Acknowledgement(StrEnum):
    """What an acknowledgement came to."""

    ACKNOWLEDGED = "acknowledged"  # now or before: repeating gives the same answer
    NO_LONGER_OPEN = "no_longer_open"  # expired or undeliverable
    HELD_BY_ANOTHER = "held_by_another"  # another consumer of the agency holds it, or the claim named has ended
    NOT_FOUND = "not_found"  # unknown, not this agency's, or not yet released to it


_LOCK = text("""
    SELECT id, referral_id, state, cancellation_seen_at, claim_id, claim_expires_at > now() AS claim_lives
      FROM dispatch
     WHERE id = ANY(CAST(:ids AS uuid[])) AND agency = :agency AND queued_at IS NOT NULL
     ORDER BY referral_id, id FOR NO KEY UPDATE
""")

_ACKNOWLEDGE = text("""
    UPDATE dispatch
       SET state = 'acknowledged', acknowledged_at = now()
     WHERE id = ANY(CAST(:ids AS uuid[]))
""")

_CANCELLATION_SEEN = text("UPDATE dispatch SET cancellation_seen_at = now() WHERE id = ANY(CAST(:ids AS uuid[]))")

_GONE = (DispatchState.EXPIRED, DispatchState.UNDELIVERABLE)
_UNACKNOWLEDGED = (DispatchState.QUEUED, DispatchState.DELIVERED)


async def acknowledge(
    connection: Connection, actor: Actor, dispatch_ids: Sequence[UUID], claim_id: UUID | None = None
) -> Mapping[UUID, Acknowledgement]:
    """Acknowledge for the actor's party, under a claim where one is named; the answer names every id given."""
    rows = (await connection.execute(_LOCK, {"ids": list(dispatch_ids), "agency": actor.party})).all()
    waiting = [row for row in rows if row.state in _UNACKNOWLEDGED]
    fresh = [row for row in waiting if claim_holds(claim_id, row.claim_id, lives=bool(row.claim_lives))]
    seen = [row for row in rows if row.state == DispatchState.CANCELLED and row.cancellation_seen_at is None]
    if fresh:
        await connection.execute(_ACKNOWLEDGE, {"ids": [row.id for row in fresh]})
    if seen:
        await connection.execute(_CANCELLATION_SEEN, {"ids": [row.id for row in seen]})
    if fresh or seen:
        await inboxes_changed(connection, [actor.party])
    await settle_alerts(
        connection,
        [row.id for row in fresh],
        [AlertKind.URGENT_UNACKNOWLEDGED, AlertKind.NOTICE_FAILED],
    )
    await record(
        connection,
        actor,
        [Event(Operation.ALTERATION, "dispatch.acknowledged", row.referral_id, row.id) for row in fresh]
        + [Event(Operation.ALTERATION, "dispatch.cancellation_seen", row.referral_id, row.id) for row in seen],
    )
    results = dict.fromkeys(dispatch_ids, Acknowledgement.NOT_FOUND)
    results |= {
        row.id: Acknowledgement.NO_LONGER_OPEN if row.state in _GONE else Acknowledgement.ACKNOWLEDGED for row in rows
    }
    held = {row.id for row in waiting} - {row.id for row in fresh}
    return results | dict.fromkeys(held, Acknowledgement.HELD_BY_ANOTHER)
