"""Leases: what is due for an adapter becomes one worker's for a while; who must answer it has got it with that."""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, text

from app.audit.record import Actor
from app.crypto.refusal import Unopenable
from app.crypto.vault import Opener
from app.db import Connection
from app.referrals.codes import PriorityRank
from app.referrals.views import for_agency

LEASE_SECONDS = 45
"""Longer than the longest call (30 s) and recording it take, so that no worker is overtaken while it still works."""

RETRY_UNOPENABLE_SECONDS = 30.0
"""When a dispatch whose content cannot be opened is looked at again."""

# Every agency with something due gets an equal share, and little more is locked than is taken. So the oldest of all go
# together: mostly those of a few referrals, and recording the answers moves each of these once, not twenty times.
_DUE = text("""
    WITH slot AS MATERIALIZED (
        SELECT given.*
          FROM unnest(CAST(:agencies AS text[]), CAST(:firsts AS smallint[]), CAST(:lasts AS smallint[]),
                      CAST(:most AS integer[])) AS given (agency, first, last, most)
         WHERE EXISTS (SELECT FROM dispatch
                        WHERE dispatch.agency = given.agency AND dispatch.due_delivery_at <= now()
                          AND dispatch.priority BETWEEN given.first AND given.last)
    )
    SELECT due.id, due.referral_id
      FROM slot
     CROSS JOIN LATERAL (
           SELECT id, referral_id, priority, due_delivery_at FROM dispatch
            WHERE dispatch.agency = slot.agency AND dispatch.due_delivery_at <= now()
              AND dispatch.priority BETWEEN slot.first AND slot.last
            ORDER BY priority, due_delivery_at
            LIMIT least(slot.most, 1 + CAST(:limit AS integer) / (SELECT count(*) FROM slot))
              FOR NO KEY UPDATE SKIP LOCKED) AS due
     ORDER BY due.priority, due.due_delivery_at
     LIMIT CAST(:limit AS integer)
""")

_LEASED = """
    UPDATE dispatch
       SET attempt = dispatch.attempt + 1, failures = dispatch.failures + 1, {moved}
           due_delivery_at = clock_timestamp() + make_interval(secs => CAST(:lease AS double precision))
      FROM referral
     WHERE referral.id = dispatch.referral_id AND dispatch.id = ANY(CAST(:ids AS uuid[]))
    RETURNING dispatch.id, dispatch.agency, dispatch.round, dispatch.priority, dispatch.attempt, dispatch.failures,
              coalesce(dispatch.delivered_at, now()) AS delivered_at, dispatch.due_at, referral.id AS referral_id,
              referral.reference, referral.originator,
              CASE WHEN dispatch.chased_at > dispatch.queued_at THEN dispatch.chases ELSE 0 END AS chases,
              dispatch.state <> 'queued' AS seen,
              CASE WHEN dispatch.replied_at > coalesce(dispatch.chased_at, '-infinity') THEN dispatch.replies
                   ELSE 0 END AS replied, dispatch.holds
"""

_LEASE = text(_LEASED.format(moved=""))

_MOVED = """delivered_at = coalesce(dispatch.delivered_at, now()),
           state = CASE WHEN dispatch.state = 'queued' THEN 'delivered' ELSE dispatch.state END,
"""

# One statement moves and leases: a second one would write every dispatch and its index entries once more.
_HAND_OVER = text(f"""
    WITH leased AS (
        {_LEASED.format(moved=_MOVED)}, old.delivered_at IS NULL AS is_first
    ), logged AS (
        INSERT INTO audit_event (operation, action, party, actor, request_id, referral_id, dispatch_id, recipients)
        SELECT 'disclosure', 'dispatch.delivered', :actor_party, :actor_name, :request_id, referral_id, id,
               ARRAY[agency]
          FROM leased WHERE is_first ORDER BY referral_id, id
    )
    SELECT id, agency, round, priority, attempt, failures, delivered_at, due_at, referral_id, reference, originator,
           chases, seen, replied, holds
      FROM leased
""")  # noqa: S608  constants of this file

# Once for each referral, not for each of its twenty dispatches.
_CONTENTS = text("""
    SELECT id, originator, content, sealed, ring_key, wrapped
      FROM referral LEFT JOIN data_key ON data_key.referral_id = referral.id
     WHERE id = ANY(CAST(:ids AS uuid[]))
""")

# Its agency is not to blame: it counts as no failure, or a key that is missing for a day would end the dispatch.
_SET_ASIDE = text("""
    UPDATE dispatch
       SET due_delivery_at = now() + make_interval(secs => CAST(:seconds AS double precision)),
           last_failure = 'its content cannot be opened'
     WHERE id = ANY(CAST(:ids AS uuid[]))
""")

_Due = Row[tuple[UUID, UUID]]


class HandOver(NamedTuple):  # after `referral`, the fields are in the order of what a lease returns
    """One leased dispatch, with what its agency may see of its referral. `priority` is the queue order; times are UTC.

    `failures` counts this hand-over already. For a notice `referral` is empty, and nothing is opened. `chases` counts
    the reminders so far, 0 where there is none since it was released; `seen` says that its agency has seen it;
    `replied` is the number of the originator's reply that its agency is told of, 0 where there is none since the last
    reminder; `holds` counts how often it was taken out of the inbox before. Those of one referral share what is seen of
    it.
    """

    referral: Mapping[str, Any]
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
    replied: int = 0
    holds: int = 0


@dataclass(frozen=True, slots=True)
class Slot:
    """Up to `most` dispatches to an agency may be leased now, of the priorities from `first` to `last`."""

    agency: str
    most: int
    first: int = min(PriorityRank)
    last: int = max(PriorityRank)


async def hand_over(connection: Connection, actor: Actor, slots: Sequence[Slot], limit: int) -> list[HandOver]:
    """Lease up to `limit` due dispatches within these slots to adapters that answer, urgent ones first.

    They are delivered with that, and the disclosure is logged: commit before anything leaves. What cannot be opened is
    put off, and not disclosed.
    """
    due = await _due(connection, slots, limit)
    if not due:
        return []
    referrals = await seen_by_agencies(connection, {row.referral_id for row in due})
    if aside := [row.id for row in due if row.referral_id not in referrals]:
        await connection.execute(_SET_ASIDE, {"ids": aside, "seconds": RETRY_UNOPENABLE_SECONDS})
    ids = [row.id for row in due if row.referral_id in referrals]
    rows = await connection.execute(_HAND_OVER, {"ids": ids, "lease": LEASE_SECONDS, **actor.parameters()})
    return [HandOver(referrals[row.referral_id], *row) for row in rows]


async def lease(connection: Connection, slots: Sequence[Slot], limit: int) -> list[HandOver]:
    """The same for notices, which disclose nothing: without content, and nothing is delivered."""
    due = await _due(connection, slots, limit)
    if not due:
        return []
    rows = await connection.execute(_LEASE, {"ids": [row.id for row in due], "lease": LEASE_SECONDS})
    return [HandOver({}, *row) for row in rows]


async def _due(connection: Connection, slots: Sequence[Slot], limit: int) -> Sequence[_Due]:
    """What is due within these slots, locked."""
    slots = [slot for slot in slots if slot.most > 0]
    if not slots or limit <= 0:
        return []
    parameters = {
        "agencies": [slot.agency for slot in slots],
        "firsts": [slot.first for slot in slots],
        "lasts": [slot.last for slot in slots],
        "most": [min(slot.most, limit) for slot in slots],
        "limit": limit,
    }
    return (await connection.execute(_DUE, parameters)).all()


async def seen_by_agencies(connection: Connection, referral_ids: Collection[UUID]) -> dict[UUID, Mapping[str, Any]]:
    """What agencies may see of those of these referrals that open; the others are told of in the log."""
    opener = Opener(connection)
    opened: dict[UUID, Mapping[str, Any]] = {}
    for row in await connection.execute(_CONTENTS, {"ids": list(referral_ids)}):
        with contextlib.suppress(Unopenable):
            opened[row.id] = for_agency(row.id, row.originator, opener.referral(row.id, row))
    return opened
