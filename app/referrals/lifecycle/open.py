"""Opening: a referral gets dispatches, the first round or a further one, or is held where nobody is to be asked."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, text

from app.audit.record import Actor, Event, Operation, record
from app.db import Connection
from app.referrals.lifecycle import leases
from app.referrals.lifecycle.notify import inboxes_changed
from app.referrals.states import HeldBecause


class NewDispatch(NamedTuple):
    """A dispatch to make: of which referral, to which agency, and what else there is to say of it.

    `taken`: whoever makes it hands it over at once, unless the agency has others due, which go first.
    """

    referral_id: UUID
    agency: str
    terms: "Terms"
    taken: bool = False


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


# Terms that many dispatches share go over the wire once. What is taken at once is made as the lease would leave
# it: to write it twice, with all its index entries, is a fifth of what a dispatch costs.
_OPEN = text("""
    WITH terms AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:rules AS text[]), CAST(:releases AS integer[]), CAST(:reasons AS text[]), CAST(:gateways AS text[]),
            CAST(:dues AS timestamptz[]), CAST(:expiries AS timestamptz[]), CAST(:checks AS timestamptz[]),
            CAST(:helds AS boolean[]), CAST(:releases_needed AS boolean[]), CAST(:adapters AS boolean[]))
            WITH ORDINALITY
        AS terms (rule, release, reason, gateway, due_at, expires_at, next_check_at, held, needs_release, adapter,
                  number)
    ), wanted AS MATERIALIZED (
        SELECT * FROM unnest(CAST(:referrals AS uuid[]), string_to_array(:agencies, ','),
                             CAST(string_to_array(:numbers, ',') AS integer[]),
                             CAST(string_to_array(:takings, ',') AS boolean[]))
                   AS wanted (referral_id, agency, number, taken)
    ), at_once AS MATERIALIZED (
        SELECT agency FROM (SELECT DISTINCT agency FROM wanted WHERE taken) AS taker
         WHERE NOT EXISTS (SELECT FROM dispatch
                            WHERE dispatch.agency = taker.agency AND dispatch.due_delivery_at <= now())
    ), given AS MATERIALIZED (
        SELECT wanted.referral_id, wanted.agency, referral.priority, referral.region, terms.*,
               wanted.taken AND NOT terms.held AND wanted.agency = ANY(ARRAY(SELECT agency FROM at_once)) AS taken
          FROM wanted
          JOIN terms USING (number)
          JOIN referral ON referral.id = wanted.referral_id
    ), opened AS (
        INSERT INTO dispatch (id, referral_id, agency, round, state, priority, region, rule, release, reason, gateway,
                              due_at, expires_at, next_check_at, needs_release, queued_at, delivered_at, attempt,
                              failures, due_delivery_at)
        SELECT uuidv7(), given.referral_id, given.agency,
               1 + coalesce((SELECT max(earlier.round) FROM dispatch AS earlier
                              WHERE earlier.referral_id = given.referral_id AND earlier.agency = given.agency), 0),
               CASE WHEN given.held THEN 'held' WHEN given.taken THEN 'delivered' ELSE 'queued' END,
               given.priority, given.region, given.rule, given.release, given.reason, given.gateway,
               given.due_at, given.expires_at, CASE WHEN NOT given.held THEN given.next_check_at END,
               given.needs_release, CASE WHEN NOT given.held THEN now() END, CASE WHEN given.taken THEN now() END,
               CAST(given.taken AS integer), CAST(given.taken AS integer),
               CASE WHEN given.taken THEN clock_timestamp() + make_interval(secs => CAST(:lease AS double precision))
                    WHEN given.adapter AND NOT given.held THEN now() END
          FROM given
         ORDER BY given.priority, given.referral_id, given.agency
        RETURNING id, agency, round, priority, attempt, failures, delivered_at, due_at, referral_id
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
    ), logged AS (
        INSERT INTO audit_event (operation, action, party, actor, request_id, referral_id, dispatch_id, recipients,
                                 detail)
        SELECT operation, action, :actor_party, :actor_name, :request_id, referral_id, dispatch_id, recipients, detail
          FROM (SELECT 'alteration' AS operation, CAST(:action AS text) AS action, referral_id,
                       CAST(NULL AS uuid) AS dispatch_id, CAST(NULL AS text[]) AS recipients,
                       jsonb_build_object('agencies', agencies) AS detail
                  FROM counted
                UNION ALL
                SELECT 'disclosure', 'dispatch.delivered', referral_id, id, ARRAY[agency], NULL
                  FROM opened WHERE delivered_at IS NOT NULL) AS entry
         ORDER BY operation, referral_id, dispatch_id
    )
    SELECT opened.*, referral.reference, referral.originator
      FROM opened JOIN referral ON referral.id = opened.referral_id
     WHERE opened.delivered_at IS NOT NULL
     ORDER BY opened.priority, opened.id
""")

Taken = Row[Any]
"""One that was taken as it was made, in the order of a `HandOver`'s fields."""

_HOLD = text("""
    UPDATE referral SET state = 'held', held_because = :because, updated_at = now() WHERE id = ANY(CAST(:ids AS uuid[]))
""")


async def open_dispatches(
    connection: Connection, actor: Actor, dispatches: Sequence[NewDispatch], action: str = "referral.dispatched"
) -> Sequence[Taken]:
    """Insert dispatches, each in its agency's next round, of referrals that the caller has locked; they go in progress.

    No agency may have an open dispatch of the same referral. `action` is the log's name for what is done. Returns those
    that the caller has taken: delivered, disclosed and leased as `leases.hand_over` has it, so commit before anything
    leaves.
    """
    if not dispatches:
        return []
    parameters = {**_columns(dispatches), "action": action, "lease": leases.LEASE_SECONDS, **actor.parameters()}
    taken = (await connection.execute(_OPEN, parameters)).all()
    await inboxes_changed(connection, {item.agency for item in dispatches if not item.terms.held})
    return taken


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
        "takings": ",".join(["1" if item.taken else "0" for item in items]),
        **dict(zip((*names, "helds", "releases_needed", "adapters"), map(list, columns), strict=True)),
    }
