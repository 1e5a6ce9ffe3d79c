"""Opening: a referral gets dispatches, the first round or a further one, or is held where nobody is to be asked."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from app.audit.record import Actor, Event, Operation, record
from app.db import Connection
from app.referrals.lifecycle.notify import inboxes_changed
from app.referrals.states import HeldBecause


class NewDispatch(NamedTuple):
    """A dispatch to make: of which referral, to which agency, and what else there is to say of it."""

    referral_id: UUID
    agency: str
    terms: "Terms"


class Terms(NamedTuple):
    """What chose an agency, when a dispatch is due and expires, and when its clock first asks; many have the same.

    `held`: it stays out of the inbox; `needs_release`: because its agency's policy wants a co-ordinator's release.
    `adapter` says that the agency is reached by an adapter now, rather than by its own polling.
    """

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


# Terms that many dispatches have in common go over the wire once.
_OPEN = text("""
    WITH terms AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:rules AS text[]), CAST(:releases AS integer[]), CAST(:reasons AS text[]), CAST(:gateways AS text[]),
            CAST(:dues AS timestamptz[]), CAST(:expiries AS timestamptz[]), CAST(:checks AS timestamptz[]),
            CAST(:helds AS boolean[]), CAST(:releases_needed AS boolean[]), CAST(:adapters AS boolean[]))
            WITH ORDINALITY
        AS terms (rule, release, reason, gateway, due_at, expires_at, next_check_at, held, needs_release, adapter,
                  number)
    ), given AS MATERIALIZED (
        SELECT opened.referral_id, opened.agency, referral.priority, referral.region, terms.*
          FROM unnest(CAST(:referrals AS uuid[]), string_to_array(:agencies, ','),
                      CAST(string_to_array(:numbers, ',') AS integer[])) AS opened (referral_id, agency, number)
          JOIN terms USING (number)
          JOIN referral ON referral.id = opened.referral_id
    ), opened AS (
        INSERT INTO dispatch (id, referral_id, agency, round, state, priority, region, rule, release, reason, gateway,
                              due_at, expires_at, next_check_at, needs_release, queued_at, due_delivery_at)
        SELECT uuidv7(), given.referral_id, given.agency,
               1 + coalesce((SELECT max(earlier.round) FROM dispatch AS earlier
                              WHERE earlier.referral_id = given.referral_id AND earlier.agency = given.agency), 0),
               CASE WHEN given.held THEN 'held' ELSE 'queued' END,
               given.priority, given.region, given.rule, given.release, given.reason, given.gateway,
               given.due_at, given.expires_at, CASE WHEN NOT given.held THEN given.next_check_at END,
               given.needs_release, CASE WHEN NOT given.held THEN now() END,
               CASE WHEN given.adapter AND NOT given.held THEN now() END
          FROM given
         ORDER BY given.priority, given.referral_id, given.agency
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
    await inboxes_changed(connection, {item.agency for item in dispatches if not item.terms.held})


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


def _columns(items: Sequence[NewDispatch]) -> dict[str, Any]:
    numbers: dict[Terms, int] = {}
    given = [str(numbers.setdefault(item.terms, len(numbers) + 1)) for item in items]
    names = ("rules", "releases", "reasons", "gateways", "dues", "expiries", "checks")
    columns = zip(*numbers, strict=True)
    return {
        "referrals": [item.referral_id for item in items],
        "agencies": ",".join([item.agency for item in items]),
        "numbers": ",".join(given),
        **dict(zip((*names, "helds", "releases_needed", "adapters"), map(list, columns), strict=True)),
    }
