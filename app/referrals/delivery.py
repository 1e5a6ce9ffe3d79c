"""Hand-over to adapters: claim what is due under a lease, record what became of it. The clock is the database's.

`due_delivery_at` is both due time and lease: a claim moves it to the lease's end, so that what a dead worker held falls
due again by itself. `attempt` fences: nothing is recorded for a hand-over that someone else has claimed since. A claim
counts as a failure until its result is recorded, so a dispatch that kills every worker is given up too.
"""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.audit.record import Actor
from app.crypto.refusal import Unopenable
from app.crypto.vault import Opener
from app.db import Connection
from app.referrals import lifecycle
from app.referrals.codes import PriorityRank

LEASE_SECONDS = 45
"""Longer than the longest call (30 s) and recording it take, so that no worker is overtaken while it still works."""

RETRY_SECONDS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Waits after the first, second, … failed hand-over (Standard Webhooks, "Retry schedule")."""

MOST_TRIES = len(RETRY_SECONDS) + 1
"""Hand-overs that may fail before a dispatch is given up: one more than there are waits."""

RETRY_UNOPENABLE_SECONDS = 30.0
"""When a dispatch whose content cannot be opened is looked at again."""

# Every agency with something due gets an equal share, and little more is locked than is taken. So the oldest of all go
# together: mostly those of a few referrals, and recording the answers moves each of these once, not twenty times.
_CLAIM = text("""
    WITH slot AS MATERIALIZED (
        SELECT given.*
          FROM unnest(CAST(:agencies AS text[]), CAST(:firsts AS smallint[]), CAST(:lasts AS smallint[]),
                      CAST(:most AS integer[])) AS given (agency, first, last, most)
         WHERE EXISTS (SELECT FROM dispatch
                        WHERE dispatch.agency = given.agency AND dispatch.due_delivery_at <= now()
                          AND dispatch.priority BETWEEN given.first AND given.last)
    )
    UPDATE dispatch
       SET attempt = dispatch.attempt + 1, failures = dispatch.failures + 1,
           due_delivery_at = clock_timestamp() + make_interval(secs => CAST(:lease AS double precision))
      FROM referral
     WHERE referral.id = dispatch.referral_id
       AND dispatch.id = ANY(ARRAY(
           SELECT due.id
             FROM slot
            CROSS JOIN LATERAL (
                  SELECT id, priority, due_delivery_at FROM dispatch
                   WHERE dispatch.agency = slot.agency AND dispatch.due_delivery_at <= now()
                     AND dispatch.priority BETWEEN slot.first AND slot.last
                   ORDER BY priority, due_delivery_at
                   LIMIT least(slot.most, 1 + CAST(:limit AS integer) / (SELECT count(*) FROM slot))
                     FOR NO KEY UPDATE SKIP LOCKED) AS due
            ORDER BY due.priority, due.due_delivery_at
            LIMIT CAST(:limit AS integer)))
    RETURNING dispatch.id, dispatch.agency, dispatch.round, dispatch.priority, dispatch.attempt, dispatch.failures,
              coalesce(dispatch.delivered_at, now()) AS delivered_at, dispatch.due_at, referral.id AS referral_id,
              referral.reference, referral.originator, dispatch.chases, dispatch.state <> 'queued' AS seen
""")

# Once for each referral, not for each of its twenty dispatches.
_CONTENTS = text("""
    SELECT id, content, sealed, ring_key, wrapped
      FROM referral LEFT JOIN data_key ON data_key.referral_id = referral.id
     WHERE id = ANY(CAST(:ids AS uuid[]))
""")

# Its agency is not to blame: it counts as no failure, or a key that is missing for a day would end the dispatch.
_SET_ASIDE = text("""
    UPDATE dispatch
       SET due_delivery_at = now() + make_interval(secs => CAST(:seconds AS double precision)),
           failures = greatest(0, failures - 1), last_failure = :reason
     WHERE id = ANY(CAST(:ids AS uuid[]))
""")

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

_RELEASE = text("""
    UPDATE dispatch SET due_delivery_at = NULL
     WHERE due_delivery_at IS NOT NULL AND NOT agency = ANY(CAST(:agencies AS text[]))
""")


@dataclass(frozen=True, slots=True)
class HandOver:  # after `content`, the fields are in the order of what a claim returns
    """One claimed dispatch, with its referral's content, opened. `priority` is the queue order; times are UTC.

    `failures` counts this hand-over already. For a notice `content` is empty, and nothing is opened. `chases` counts
    the reminders so far; `seen` says that its agency has seen it.
    """

    content: bytes
    id: UUID
    agency: str
    round: int
    priority: int
    attempt: int
    failures: int
    delivered_at: datetime
    due_at: datetime
    referral_id: UUID
    reference: str
    originator: str
    chases: int = 0
    seen: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """Up to `most` dispatches to an agency may be claimed now, of the priorities from `first` to `last`."""

    agency: str
    most: int
    first: int = min(PriorityRank)
    last: int = max(PriorityRank)


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


async def claim(connection: Connection, actor: Actor, free: Mapping[str, int], limit: int) -> list[HandOver]:
    """Claim up to `limit` due dispatches, at most `free` of each agency, to adapters that answer.

    Logs their disclosure. Commit before handing over. What cannot be opened is put off, and not disclosed.
    """
    rows = await _lease(connection, [Slot(agency, most) for agency, most in free.items()], limit)
    if not rows:
        return []
    contents = await _contents(connection, {row.referral_id for row in rows})
    claimed = [HandOver(contents[row.referral_id], *row) for row in rows if row.referral_id in contents]
    if len(claimed) < len(rows):
        aside = [row.id for row in rows if row.referral_id not in contents]
        parameters = {"ids": aside, "seconds": RETRY_UNOPENABLE_SECONDS, "reason": "its content cannot be opened"}
        await connection.execute(_SET_ASIDE, parameters)
    await lifecycle.deliver(connection, actor, [item.id for item in claimed])
    return claimed


async def _contents(connection: Connection, referral_ids: Collection[UUID]) -> dict[UUID, bytes]:
    """The contents of those of these referrals that open; the others are told of in the log."""
    opener, opened = Opener(connection), {}
    for row in await connection.execute(_CONTENTS, {"ids": list(referral_ids)}):
        with contextlib.suppress(Unopenable):
            opened[row.id] = opener.referral(row.id, row)
    return opened


async def take(connection: Connection, slots: Sequence[Slot], limit: int) -> list[HandOver]:
    """Lease up to `limit` due dispatches, urgent ones first, within these slots. What is taken is not disclosed."""
    return [HandOver(b"", *row) for row in await _lease(connection, slots, limit)]


async def _lease(connection: Connection, slots: Sequence[Slot], limit: int) -> Sequence[Any]:
    slots = [slot for slot in slots if slot.most > 0]
    if not slots or limit <= 0:
        return []
    parameters = {
        "lease": LEASE_SECONDS,
        "agencies": [slot.agency for slot in slots],
        "firsts": [slot.first for slot in slots],
        "lasts": [slot.last for slot in slots],
        "most": [min(slot.most, limit) for slot in slots],
        "limit": limit,
    }
    return (await connection.execute(_CLAIM, parameters)).all()


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


async def release(connection: Connection, agencies: Collection[str]) -> None:
    """Leave dispatches to all but these agencies to their inboxes: no adapter reaches them any more."""
    await connection.execute(_RELEASE, {"agencies": sorted(agencies)})


def retry_in(failures: int) -> int | None:
    """Seconds until the next try after this many failed hand-overs (from 1); None: no further try."""
    return RETRY_SECONDS[failures - 1] if failures <= len(RETRY_SECONDS) else None
