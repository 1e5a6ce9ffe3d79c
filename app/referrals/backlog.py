"""The backlog: accepted referrals that wait for their dispatches, and what it allows. Pure rules.

What was accepted is durable, so a backlog loses nothing. It is bounded because beyond it the workers get no share of
the machine, and because nobody should be told "accepted" of what will lie for hours (docs/decisions/0011).
"""

import math
from dataclasses import dataclass
from enum import Enum

from app.referrals.codes import PriorityRank
from app.referrals.heartbeat import HEALTHY_SECONDS

FACTORS = {PriorityRank.ROUTINE: 1.0, PriorityRank.PRIORITY: 1.5, PriorityRank.URGENT: 2.0}
"""How many times the bounds each priority has: what is urgent is refused last."""

FRESH_SECONDS = 0.5
"""While the oldest waits no longer than this, ingest runs free."""

REST_PER_SECOND, LONGEST_REST_SECONDS = 0.15, 0.75
"""How much longer ingest rests for each further second that the oldest waits, and how long at most."""

LINE = 128
"""Routine submissions that may stand in line in one process while it rests: as many as its two lanes take at once.
Twice as many, at the longest rest, are still stored before a request gives up."""

BATCH_SHARE, BATCH_SHARE_OF_SECONDS = 0.05, 1 / 60
"""The part of the bound that rows of batches may fill, and of its seconds that the oldest may wait before batches rest:
a thousand, and two seconds, by the usual bounds."""

SHORTEST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1, 60
_JITTER = 0.25  # of a `Retry-After`, so that those refused together do not come back together


class Cause(Enum):
    """Why a submission is refused."""

    LINE = "line"
    REFERRALS = "referrals"
    SECONDS = "seconds"


@dataclass(frozen=True, slots=True)
class Backlog:
    """`referrals` wait, the oldest for so many `seconds`; the workers last finished work `workers_silent` seconds ago.

    `workers_silent` is None where they never did.
    """

    referrals: int = 0
    seconds: float = 0.0
    workers_silent: float | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What routine referrals are refused at: so many waiting, or the oldest of them for so many seconds."""

    referrals: int
    seconds: float

    def limit(self, priority: PriorityRank) -> int:
        """The number of waiting referrals at which this priority is refused."""
        return math.ceil(self.referrals * FACTORS[priority])

    @property
    def most(self) -> int:
        """The number at which everything is refused; how many more there are makes no difference."""
        return self.limit(PriorityRank.URGENT)


def refuses(backlog: Backlog, bounds: Bounds, priority: PriorityRank) -> Cause | None:
    """Why a submission of this priority is refused, None where it is taken.

    Age never refuses what is urgent: stored, it is safe, and a refusal helps nobody who is in danger.
    """
    if backlog.referrals >= bounds.limit(priority):
        return Cause.REFERRALS
    if priority is not PriorityRank.URGENT and backlog.seconds >= bounds.seconds * FACTORS[priority]:
        return Cause.SECONDS
    return None


def room(backlog: Backlog, bounds: Bounds, priority: PriorityRank) -> int:
    """How many more of this priority are taken before it is refused; 0: none."""
    return 0 if refuses(backlog, bounds, priority) else bounds.limit(priority) - backlog.referrals


def batch_room(backlog: Backlog, bounds: Bounds) -> int:
    """How many rows of batches may be accepted now; 0: batches rest.

    Batches fill a small part of the bound and leave the rest to single referrals, so that those are not refused because
    of a batch, and wait behind few of its rows. Nor do batches add to what fan-out is late with.
    """
    if backlog.seconds >= bounds.seconds * BATCH_SHARE_OF_SECONDS:
        return 0
    return max(0, math.ceil(bounds.referrals * BATCH_SHARE) - backlog.referrals)


def rest(backlog: Backlog) -> float:
    """Seconds that ingest rests after each transaction, so that fan-out keeps its share of the machine.

    Where no worker works a rest would only make clients wait.
    """
    if backlog.workers_silent is None or backlog.workers_silent > HEALTHY_SECONDS:
        return 0.0
    return min(max(backlog.seconds - FRESH_SECONDS, 0.0) * REST_PER_SECOND, LONGEST_REST_SECONDS)


def retry_after(excess: int, drained_per_second: float, chance: float) -> int:
    """Whole seconds for `Retry-After`: until so many referrals are fanned out at this rate, within 1 to 60.

    `chance`, from 0 to 1, spreads those who were refused together.
    """
    longest = LONGEST_RETRY_SECONDS / (1 + _JITTER)
    wait = excess / drained_per_second if drained_per_second > 0 else longest
    return max(SHORTEST_RETRY_SECONDS, math.ceil(min(wait, longest) * (1 + _JITTER * chance)))
