"""Which body is stuck, why and since when, told from the figures of its queue. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from app.reporting.queues import Health
from app.reporting.trouble import Trouble


class Why(StrEnum):
    """Why nothing moves at a body, the worst first; or only slowly."""

    ADDRESS = "address"  # its own system has refused its address for good
    PAUSED = "paused"  # calls to it are paused, because they failed
    SILENT = "silent"  # it does not look into its inbox
    FAILING = "failing"  # hand-overs to it fail again and again
    LATE = "late"  # answers are overdue


@dataclass(frozen=True, slots=True)
class Stuck:
    """Why a body is stuck and since when; `next_at` is when it is called again, where calls are paused."""

    why: Why
    since: datetime
    next_at: datetime | None = None

    @property
    def stands_still(self) -> bool:
        """Whether nothing moves, rather than slowly."""
        return self.why is not Why.LATE


def stuck(queue: Mapping[str, Any], trouble: Trouble, now: datetime) -> Stuck | None:
    """What is worst at one body (a row of `reporting.queues.observed`); None where all is well.

    A body whose address has ended, and which has nothing open, is not stuck: nothing waits there.
    """
    agency, waits = queue["agency"], queue["oldest"] is not None
    if (one := _of(trouble.ended, agency)) is not None and waits:
        return Stuck(Why.ADDRESS, one["at"])
    if (one := _of(trouble.paused, agency)) is not None:
        return Stuck(Why.PAUSED, one["since"], one["next_at"])
    if queue["health"] is Health.SILENT:
        return Stuck(Why.SILENT, now - timedelta(seconds=queue["unseen_seconds"]))
    if queue["failing"]:
        return Stuck(Why.FAILING, queue["oldest"] or now)
    if queue["overdue"]:
        return Stuck(Why.LATE, queue["oldest_due"])
    return None


def _of(rows: Sequence[Mapping[str, Any]], agency: str) -> Mapping[str, Any] | None:
    return next((row for row in rows if row["agency"] == agency), None)


def order(found: Stuck | None, agency: str) -> tuple[int, datetime | None, str]:
    """Where a body stands in the list: what stands still first, the longest first; then what is late; then the rest."""
    if found is None:
        return 2, None, agency
    return (0 if found.stands_still else 1), found.since, agency
