"""Leasing: what is due for an adapter becomes one worker's for a while; who must answer it has thereby got it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text

from app.audit.record import Actor
from app.db import Connection
from app.referrals.codes import PriorityRank

LEASE_SECONDS = 45
"""Longer than the longest call (30 s) and recording it take, so that no worker is overtaken while it still works."""

# Every agency with something due gets an equal share, and little more is locked than is taken. So the oldest of all go
# together: mostly those of a few referrals, and recording the answers moves each of these once, not twenty times.
_DUE = """
    slot AS MATERIALIZED (
        SELECT given.*
          FROM unnest(CAST(:agencies AS text[]), CAST(:firsts AS smallint[]), CAST(:lasts AS smallint[]),
                      CAST(:most AS integer[])) AS given (agency, first, last, most)
         WHERE EXISTS (SELECT FROM dispatch
                        WHERE dispatch.agency = given.agency AND dispatch.due_delivery_at <= now()
                          AND dispatch.priority BETWEEN given.first AND given.last)
    ), leased AS (
        UPDATE dispatch
           SET attempt = dispatch.attempt + 1, failures = dispatch.failures + 1, {moved}
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
                  referral.reference, referral.originator, {content} AS content, dispatch.chases,
                  dispatch.state <> 'queued' AS seen, old.delivered_at IS NULL AS is_first
    )
"""

_FIELDS = (
    "id, agency, round, priority, attempt, failures, delivered_at, due_at, referral_id, reference, originator, content,"
    " chases, seen"
)

_DELIVERED = """delivered_at = coalesce(dispatch.delivered_at, now()),
               state = CASE WHEN dispatch.state = 'queued' THEN 'delivered' ELSE dispatch.state END,
"""

# One statement: a second one would write every dispatch and its index entries once more.
_HAND_OVER = text(f"""
    WITH {_DUE.format(moved=_DELIVERED, content="referral.content")}, logged AS (
        INSERT INTO audit_event (operation, action, party, actor, request_id, referral_id, dispatch_id, recipients)
        SELECT 'disclosure', 'dispatch.delivered', :actor_party, :actor_name, :request_id, referral_id, id,
               ARRAY[agency]
          FROM leased WHERE is_first ORDER BY referral_id, id
    )
    SELECT {_FIELDS} FROM leased
""")  # noqa: S608  constants of this file

_LEASE = text(f"""
    WITH {_DUE.format(moved="", content="CAST('' AS bytea)")} SELECT {_FIELDS} FROM leased
""")  # noqa: S608  constants of this file


@dataclass(frozen=True, slots=True)
class HandOver:  # the fields are in the order of what a claim returns
    """One claimed dispatch, with its referral's content. `priority` is the queue order; times are UTC.

    `failures` counts this hand-over already. For a notice `content` is empty. `chases` counts the reminders so far;
    `seen` says that its agency has seen it.
    """

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
    content: bytes
    chases: int = 0
    seen: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """Up to `most` dispatches to an agency may be claimed now, of the priorities from `first` to `last`."""

    agency: str
    most: int
    first: int = min(PriorityRank)
    last: int = max(PriorityRank)


async def hand_over(connection: Connection, actor: Actor, slots: Sequence[Slot], limit: int) -> list[HandOver]:
    """Lease up to `limit` due dispatches within these slots to adapters that answer, urgent ones first.

    They are delivered with that, and the disclosure is logged: commit before anything leaves.
    """
    return await _taken(connection, _HAND_OVER, slots, limit, actor.parameters())


async def lease(connection: Connection, slots: Sequence[Slot], limit: int) -> list[HandOver]:
    """The same for notices, which disclose nothing: without content, and nothing is delivered."""
    return await _taken(connection, _LEASE, slots, limit, {})


async def _taken(
    connection: Connection, statement: TextClause, slots: Sequence[Slot], limit: int, further: dict[str, Any]
) -> list[HandOver]:
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
        **further,
    }
    return [HandOver(*row) for row in await connection.execute(statement, parameters)]
