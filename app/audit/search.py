"""Searching the log: by person or credential, party, referral and time, the newest first, a bounded look at a time.

However long the log, a search looks at `LOOK` events and says how far it got; whoever wants goes on from there. Times
find their events by the checkpoints, of which there is one a minute.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from app.db import Connection

LOOK = 50_000
"""Events that one search looks at: some tens of milliseconds."""

_SLACK = 10_000
"""Ids are given out in order and commit in any: how far an event may stand from where its time says."""

_BOUNDS = text("""
    SELECT coalesce((SELECT event_id - CAST(:slack AS bigint) FROM audit_entry WHERE sequence = (
                         SELECT size - 1 FROM audit_checkpoint
                          WHERE at < CAST(:since AS timestamptz) AND size > 0 ORDER BY at DESC LIMIT 1)), 1) AS first,
           coalesce((SELECT event_id + CAST(:slack AS bigint) FROM audit_entry WHERE sequence = (
                         SELECT size - 1 FROM audit_checkpoint
                          WHERE at >= CAST(:until AS timestamptz) AND size > 0 ORDER BY at LIMIT 1)),
                    (SELECT max(id) FROM audit_event), 0) AS last
""")

_FOUND = text("""
    SELECT event.id, event.at, event.operation, event.action, event.party, event.actor, event.request_id,
           event.referral_id, event.dispatch_id, event.recipients, audit_entry.sequence
      FROM audit_event AS event LEFT JOIN audit_entry ON audit_entry.event_id = event.id
     WHERE event.id < :before AND event.id >= :floor
       AND (CAST(:actors AS text[]) IS NULL OR event.actor = ANY(CAST(:actors AS text[])))
       AND (CAST(:party AS text) IS NULL OR event.party = :party OR :party = ANY(event.recipients))
       AND (CAST(:referral_id AS uuid) IS NULL OR event.referral_id = CAST(:referral_id AS uuid))
       AND (CAST(:since AS timestamptz) IS NULL OR event.at >= CAST(:since AS timestamptz))
       AND (CAST(:until AS timestamptz) IS NULL OR event.at < CAST(:until AS timestamptz))
     ORDER BY event.id DESC LIMIT CAST(:limit AS integer)
""")


@dataclass(frozen=True, slots=True)
class Sought:
    """What is looked for; what is None does not matter. `actors` are names as the log has them, times UTC.

    A party's events are those it did and the disclosures to it.
    """

    actors: tuple[str, ...] | None = None
    party: str | None = None
    referral_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None

    def detail(self) -> dict[str, Any]:
        """The search as the log tells of it."""
        told = {"party": self.party, "actors": None if self.actors is None else list(self.actors)}
        times = {"since": self.since and self.since.isoformat(), "until": self.until and self.until.isoformat()}
        return {name: value for name, value in (told | times).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Found:
    """A page of events. `before` goes on with the search, None at its end; `whole` says that the page is full."""

    events: Sequence[Row[Any]]
    before: int | None
    whole: bool


async def search(connection: Connection, sought: Sought, before: int | None, limit: int) -> Found:
    """Up to `limit` events with an id below `before` (None: from the newest on), the newest first."""
    times = {"since": sought.since, "until": sought.until}
    bounds = (await connection.execute(_BOUNDS, {**times, "slack": _SLACK})).one()
    start = bounds.last + 1 if before is None else min(before, bounds.last + 1)
    # A referral's events have an index: all of them are looked at.
    floor = bounds.first if sought.referral_id else max(bounds.first, start - LOOK)
    wanted = {**asdict(sought), "actors": None if sought.actors is None else list(sought.actors)}
    rows = (await connection.execute(_FOUND, {**wanted, "before": start, "floor": floor, "limit": limit + 1})).all()
    if len(rows) > limit:
        return Found(rows[:limit], rows[limit - 1].id, whole=True)
    return Found(rows, floor if floor > bounds.first else None, whole=False)
