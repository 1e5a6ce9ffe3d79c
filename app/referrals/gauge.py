"""The gauge: what one gateway process knows of the backlog, looked up beside the requests, never in their path."""

import random
import time

from prometheus_client import Counter, Gauge
from sqlalchemy import text

from app.db import Connection
from app.referrals.backlog import Backlog, Bounds, Cause, refuses, rest, retry_after, room
from app.referrals.codes import PriorityRank, priority_of

SAMPLE_SECONDS = 1.0
"""How often a process looks. Between looks it counts its own; the others' overshoot the bound by a second's ingest."""

_MARGIN = 0.05  # of the bound: room for those who come back, or the first of them would fill it again
_SMOOTHING = 0.5

# Bounded, however many wait. The age is from `updated_at`: what a co-ordinator releases waits from then on. What cannot
# be fanned out waits by itself, and long: that says nothing of the others. A function, for the gateway itself reads no
# referral; it tells no more than these numbers.
_SAMPLE = text("SELECT * FROM backlog(CAST(:most AS integer))")

_WAITING = Gauge(
    "gain_backlog_referrals",
    "Accepted referrals that wait for their dispatches, up to the number at which all are refused.",
    multiprocess_mode="mostrecent",
)
_OLDEST = Gauge(
    "gain_backlog_oldest_seconds", "How long the oldest of them has been waiting.", multiprocess_mode="mostrecent"
)
_REFUSED = Counter("gain_referrals_refused_total", "Submissions refused because of the backlog.", ["priority"])


class BacklogGauge:
    """Tells in constant time whether a submission is taken. One for each gateway process."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._sampled_at: float | None = None
        self._drained = 0.0
        self._accepted = 0
        self._note(Backlog())

    async def sample(self, connection: Connection) -> None:
        """Look how large the backlog is."""
        seen = self._accepted  # what is committed while we look may not be among what is found
        row = (await connection.execute(_SAMPLE, {"most": self._bounds.most})).one()
        found = Backlog(row[0], max(row[1] or 0.0, 0.0), row[2])
        self._note_drained(found, seen)
        self._note(found)
        self._accepted -= seen
        _WAITING.set(found.referrals)
        _OLDEST.set(found.seconds)

    def accepted(self, number: int) -> None:
        """This process has stored so many since the last look."""
        self._accepted += number

    def takes(self, priority: int) -> bool:
        """Whether a submission of this priority is taken now."""
        return self._accepted < self._rooms[priority]

    def cause(self, priority: int) -> Cause:
        """Why one is not; `LINE` where only this process's own line is full."""
        rank = PriorityRank(priority)
        found = refuses(self.backlog, self._bounds, rank)
        if found is None:
            return Cause.LINE if self.takes(priority) else Cause.REFERRALS
        return found

    def refused(self, priority: int) -> int:
        """Count a refusal; returns what its `Retry-After` says."""
        _REFUSED.labels(priority_of(priority)).inc()
        rank = PriorityRank(priority)
        if self.cause(priority) is Cause.LINE:
            return retry_after(0, 1.0, random.random())  # noqa: S311  it spreads load, it is no secret
        excess = self.backlog.referrals + self._accepted - self._bounds.limit(rank)
        margin = int(self._bounds.referrals * _MARGIN) + 1
        return retry_after(max(excess, 0) + margin, self._drained, random.random())  # noqa: S311

    def refused_priorities(self) -> list[str]:
        """The words of the priorities that are refused just now, the least pressing first."""
        return [priority_of(rank) for rank in sorted(PriorityRank, reverse=True) if not self.takes(rank)]

    def _note(self, backlog: Backlog) -> None:
        self.backlog = backlog
        self.rest: float = rest(backlog)
        """Seconds for which each lane of ingest rests after a transaction."""
        self._rooms: list[int] = [room(backlog, self._bounds, rank) for rank in sorted(PriorityRank)]

    def _note_drained(self, found: Backlog, accepted: int) -> None:
        """Fanned out since the last look: no less than this process's own accepts and what the backlog lost."""
        now = time.monotonic()
        if self._sampled_at is not None:
            moved = max(0, self.backlog.referrals + accepted - found.referrals)
            rate = moved / max(now - self._sampled_at, 0.001)
            self._drained += _SMOOTHING * (rate - self._drained)
        self._sampled_at = now
