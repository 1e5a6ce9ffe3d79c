"""Hand-over to adapters: claim what is due under a lease, record what became of it. The clock is the database's.

`due_delivery_at` is both due time and lease: a claim moves it to the lease's end, so that what a dead worker held falls
due again by itself. `attempt` fences: nothing is recorded for a hand-over that someone else has claimed since. A claim
counts as a failure until its result is recorded, so a dispatch that kills every worker is given up too.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from app.db import Connection
from app.referrals.lifecycle import LEASE_SECONDS, HandOver

RETRY_SECONDS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Waits after the first, second, … failed hand-over (Standard Webhooks, "Retry schedule")."""

MOST_TRIES = len(RETRY_SECONDS) + 1
"""Hand-overs that may fail before a dispatch is given up: one more than there are waits."""

# Rows are locked in the order of the lifecycle: an agency may be acknowledging the same ones over HTTP.
_POSTPONE = text("""
    WITH locked AS MATERIALIZED (
        SELECT id FROM dispatch WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY referral_id, id FOR NO KEY UPDATE
    )
    UPDATE dispatch
       SET due_delivery_at = now() + make_interval(secs => given.seconds),
           failures = greatest(0, dispatch.failures - CASE WHEN given.failure IS NULL THEN 1 ELSE 0 END),
           last_failure = coalesce(given.failure, dispatch.last_failure)
      FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS integer[]), CAST(:seconds AS double precision[]),
                  CAST(:failures AS text[]))
           AS given (id, attempt, seconds, failure)
     WHERE dispatch.id = given.id AND dispatch.attempt = given.attempt AND dispatch.due_delivery_at IS NOT NULL
       AND dispatch.id = ANY(ARRAY(SELECT id FROM locked))
""")

_SETTLE = text("""
    WITH locked AS MATERIALIZED (
        SELECT id FROM dispatch WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY referral_id, id FOR NO KEY UPDATE
    )
    UPDATE dispatch SET due_delivery_at = NULL, failures = 0
      FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS integer[])) AS given (id, attempt)
     WHERE dispatch.id = given.id AND dispatch.attempt = given.attempt
       AND dispatch.id = ANY(ARRAY(SELECT id FROM locked))
""")

_DUE = text("""
    SELECT EXISTS (SELECT FROM dispatch WHERE due_delivery_at <= now() AND agency = ANY(CAST(:agencies AS text[])))
""")

# What came of these hand-overs could not be written down: nothing but what a claim wrote too is touched.
_PARK = text("""
    WITH locked AS MATERIALIZED (
        SELECT id FROM dispatch WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY referral_id, id FOR NO KEY UPDATE
    )
    UPDATE dispatch SET due_delivery_at = NULL
      FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS integer[])) AS given (id, attempt)
     WHERE dispatch.id = given.id AND dispatch.attempt = given.attempt AND dispatch.due_delivery_at IS NOT NULL
       AND dispatch.id = ANY(ARRAY(SELECT id FROM locked))
    RETURNING dispatch.id
""")

# Who is only told was told of what has been attempted, and needs no telling of what it has seen. What has used up its
# tries and could not be given up (see `park`) stays where it is.
_ADOPT = text(f"""
    UPDATE dispatch SET due_delivery_at = now()
     WHERE due_delivery_at IS NULL AND failures <= {MOST_TRIES}
       AND (agency = ANY(CAST(:answering AS text[])) AND state IN ('queued', 'delivered', 'acknowledged')
            OR agency = ANY(CAST(:told AS text[])) AND state = 'queued' AND attempt = 0)
""")  # noqa: S608  a constant of this file

_FOLLOW = text("""
    UPDATE party SET channel_followed_at = channel_set_at
     WHERE code = ANY(CAST(:agencies AS text[])) AND channel_set_at < now() - make_interval(secs => :seconds)
       AND channel_followed_at IS DISTINCT FROM channel_set_at
    RETURNING code
""")

# What is due later than a lease that is taken this moment is under no lease: it was put off.
_BRING_FORWARD = text("""
    WITH locked AS MATERIALIZED (
        SELECT id FROM dispatch
         WHERE agency = ANY(CAST(:agencies AS text[]))
           AND due_delivery_at > clock_timestamp() + make_interval(secs => :lease)
         ORDER BY referral_id, id FOR NO KEY UPDATE
    )
    UPDATE dispatch SET due_delivery_at = now() WHERE id = ANY(ARRAY(SELECT id FROM locked))
""")

_RELEASE = text("""
    UPDATE dispatch SET due_delivery_at = NULL
     WHERE due_delivery_at IS NOT NULL AND NOT agency = ANY(CAST(:agencies AS text[]))
""")


@dataclass(frozen=True, slots=True)
class Postponed:
    """A hand-over to repeat in `seconds`; `failure` says what went wrong (no personal data), None where nothing did."""

    id: UUID
    attempt: int
    seconds: float
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """A hand-over that is done: the agency was told, and will answer from its inbox."""

    id: UUID
    attempt: int


async def postpone(connection: Connection, items: Sequence[Postponed]) -> None:
    """Put hand-overs off; one that was claimed again since, or is settled, is left as it is."""
    if not items:
        return
    await connection.execute(
        _POSTPONE,
        {
            "ids": [item.id for item in items],
            "attempts": [item.attempt for item in items],
            "seconds": [item.seconds for item in items],
            "failures": [item.failure for item in items],
        },
    )


async def settle(connection: Connection, items: Sequence[Settled]) -> None:
    """Nothing more to hand over for these, unless they were claimed again since."""
    if items:
        parameters = {"ids": [item.id for item in items], "attempts": [item.attempt for item in items]}
        await connection.execute(_SETTLE, parameters)


async def park(connection: Connection, items: Sequence[HandOver]) -> list[UUID]:
    """Leave these to their agencies' inboxes, with the failures they have; returns those that nobody has claimed since.

    For a hand-over of which nothing else can be recorded. One with tries left is taken up again by `adopt`.
    """
    parameters = {"ids": [item.id for item in items], "attempts": [item.attempt for item in items]}
    return [row.id for row in await connection.execute(_PARK, parameters)]


async def is_due(connection: Connection, agencies: Collection[str]) -> bool:
    """Whether any dispatch to these agencies waits for a hand-over now."""
    return bool(await connection.scalar(_DUE, {"agencies": sorted(agencies)}))


async def adopt(connection: Connection, answering: Collection[str], told: Collection[str]) -> None:
    """Make open dispatches due that no adapter looked after before, because their agency's channel changed.

    `answering` are the agencies whose adapters answer, `told` those that get notices.
    """
    await connection.execute(_ADOPT, {"answering": sorted(answering), "told": sorted(told)})


async def bring_forward(connection: Connection, agencies: Collection[str], seconds: float) -> None:
    """Make due what was put off for those of these agencies whose channel was set anew, at least so many seconds ago.

    The wait is for nothing: they are told elsewhere now, or who set the same address again says that it works. Once for
    each setting. What falls due within the length of a lease may be under way, and is left to do so.
    """
    anew = [row.code for row in await connection.execute(_FOLLOW, {"agencies": sorted(agencies), "seconds": seconds})]
    if anew:
        await connection.execute(_BRING_FORWARD, {"agencies": sorted(anew), "lease": LEASE_SECONDS})


async def release(connection: Connection, agencies: Collection[str]) -> None:
    """Leave dispatches to all but these agencies to their inboxes: no adapter reaches them any more."""
    await connection.execute(_RELEASE, {"agencies": sorted(agencies)})


def retry_in(failures: int) -> int | None:
    """Seconds until the next try after this many failed hand-overs (from 1); None: no further try."""
    return RETRY_SECONDS[failures - 1] if failures <= len(RETRY_SECONDS) else None
