"""Opening: a referral gets dispatches, the first round or a further one, or is held where nobody is to be asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.audit.record import Actor, Event, Operation, record
from app.db import Connection
from app.referrals.lifecycle.notify import inboxes_changed
from app.referrals.states import HeldBecause


@dataclass(frozen=True, slots=True)
class NewDispatch:
    """A dispatch to make, with what chose its agency, when it is due and expires, and when its clock first asks.

    `held`: it stays out of the inbox; `needs_release`: because its agency's policy wants a co-ordinator's release.
    `adapter` says that the agency is reached by an adapter now, rather than by its own polling.
    """

    id: UUID
    referral_id: UUID
    agency: str
    rule: str
    release: int
    reason: str
    gateway: str | None
    due_at: datetime
    expires_at: datetime
    next_check_at: datetime | None
    held: bool
    needs_release: bool
    adapter: bool


_OPEN = text("""
    WITH given AS (
        SELECT * FROM unnest(
            CAST(:ids AS uuid[]), CAST(:referrals AS uuid[]), CAST(:agencies AS text[]), CAST(:rules AS text[]),
            CAST(:releases AS integer[]), CAST(:reasons AS text[]), CAST(:gateways AS text[]),
            CAST(:dues AS timestamptz[]), CAST(:expiries AS timestamptz[]), CAST(:checks AS timestamptz[]),
            CAST(:helds AS boolean[]), CAST(:releases_needed AS boolean[]), CAST(:adapters AS boolean[]))
        AS given (id, referral_id, agency, rule, release, reason, gateway, due_at, expires_at, next_check_at, held,
                  needs_release, adapter)
    ), opened AS (
        INSERT INTO dispatch (id, referral_id, agency, round, state, priority, region, rule, release, reason, gateway,
                              due_at, expires_at, next_check_at, needs_release, queued_at, due_delivery_at)
        SELECT given.id, given.referral_id, given.agency,
               1 + coalesce((SELECT max(earlier.round) FROM dispatch AS earlier
                              WHERE earlier.referral_id = given.referral_id AND earlier.agency = given.agency), 0),
               CASE WHEN given.held THEN 'held' ELSE 'queued' END,
               referral.priority, referral.region, given.rule, given.release, given.reason, given.gateway,
               given.due_at, given.expires_at, CASE WHEN NOT given.held THEN given.next_check_at END,
               given.needs_release, CASE WHEN NOT given.held THEN now() END,
               CASE WHEN given.adapter AND NOT given.held THEN now() END
          FROM given JOIN referral ON referral.id = given.referral_id
         ORDER BY referral.priority, given.referral_id, given.agency
        RETURNING referral_id, agency
    ), counted AS (
        SELECT referral_id, count(*) AS number, array_agg(agency ORDER BY agency) AS agencies
          FROM opened GROUP BY referral_id
    ), moved AS (
        UPDATE referral
           SET open_dispatches = open_dispatches + counted.number, updated_at = now(),
               -- Held with dispatches, it stays held until it is released; held for want of any, it goes on now.
               state = CASE WHEN state = 'held' AND open_dispatches > 0 THEN 'held' ELSE 'in_progress' END,
               reason = CASE WHEN state = 'held' AND open_dispatches > 0 THEN reason END,
               sealed_reason = CASE WHEN state = 'held' AND open_dispatches > 0 THEN sealed_reason END,
               held_because = CASE WHEN state = 'held' AND open_dispatches > 0 THEN held_because END
          FROM counted WHERE referral.id = counted.referral_id
    )
    INSERT INTO audit_event (operation, action, party, actor, request_id, referral_id, detail)
    SELECT 'alteration', :action, :actor_party, :actor_name, :request_id, referral_id,
           jsonb_build_object('agencies', agencies)
      FROM counted
""")

_HOLD = text("""
    UPDATE referral SET state = 'held', held_because = :because, updated_at = now() WHERE id = ANY(CAST(:ids AS uuid[]))
""")


async def open_dispatches(
    connection: Connection, actor: Actor, dispatches: Sequence[NewDispatch], action: str = "referral.dispatched"
) -> None:
    """Insert dispatches, each in its agency's next round, of referrals that the caller has locked; they go in progress.

    No agency may have an open dispatch of the same referral. `action` is the log's name for what is done.
    """
    if not dispatches:
        return
    await connection.execute(_OPEN, {**_columns(dispatches), "action": action, **actor.parameters()})
    await inboxes_changed(connection, [item.agency for item in dispatches if not item.held])


async def hold_without_addressee(connection: Connection, actor: Actor, referral_ids: Sequence[UUID]) -> None:
    """Hold accepted referrals (locked by the caller) for which nobody is to be asked: a co-ordinator must decide."""
    await _hold(connection, actor, referral_ids, HeldBecause.NO_ADDRESSEE)


async def hold_unsent(connection: Connection, actor: Actor, referral_ids: Sequence[UUID]) -> None:
    """Hold accepted referrals (locked by the caller) whose fan-out fails again and again."""
    await _hold(connection, actor, referral_ids, HeldBecause.NOT_SENT_OUT)


async def _hold(connection: Connection, actor: Actor, referral_ids: Sequence[UUID], because: HeldBecause) -> None:
    """Our own reason is a code: fan-out opens and seals nothing."""
    if not referral_ids:
        return
    await connection.execute(_HOLD, {"ids": list(referral_ids), "because": because.value})
    await record(
        connection,
        actor,
        [Event(Operation.ALTERATION, "referral.held", key, detail={"because": because}) for key in referral_ids],
    )


def _columns(items: Sequence[NewDispatch]) -> dict[str, list[Any]]:
    return {
        "ids": [item.id for item in items],
        "referrals": [item.referral_id for item in items],
        "agencies": [item.agency for item in items],
        "rules": [item.rule for item in items],
        "releases": [item.release for item in items],
        "reasons": [item.reason for item in items],
        "gateways": [item.gateway for item in items],
        "dues": [item.due_at for item in items],
        "expiries": [item.expires_at for item in items],
        "checks": [item.next_check_at for item in items],
        "releases_needed": [item.needs_release for item in items],
        "helds": [item.held for item in items],
        "adapters": [item.adapter for item in items],
    }
