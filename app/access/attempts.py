"""Attempts to sign in, counted by address in this process's memory, so that keys cannot be tried out at speed."""

import time
from collections import deque
from collections.abc import Callable

from app.access.networks import counted

_ADDRESSES = 10_000


class Attempts:
    """At most `limit` attempts an address (of IPv6: a /64) in any `seconds`. Each gateway process counts for itself."""

    def __init__(self, limit: int = 10, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._made: dict[str, deque[float]] = {}

    def wait(self, address: str) -> float:
        """Count an attempt and return 0; or, over the limit, count nothing and return the seconds to wait."""
        now = self._clock()
        self._forget(now)
        made = self._made.setdefault(counted(address), deque())
        while made and made[0] <= now - self._seconds:
            made.popleft()
        if len(made) >= self._limit:
            return made[0] + self._seconds - now
        made.append(now)
        return 0.0

    def left(self, address: str) -> float:
        """Count nothing, and return the seconds to wait; 0 where an attempt would be let in."""
        now = self._clock()
        made = [at for at in self._made.get(counted(address), ()) if at > now - self._seconds]
        return made[0] + self._seconds - now if len(made) >= self._limit else 0.0

    def _forget(self, now: float) -> None:
        """Keep memory bounded: drop the addresses that have no attempt left to count, or else all of them."""
        if len(self._made) < _ADDRESSES:
            return
        recent = {address: made for address, made in self._made.items() if made[-1] > now - self._seconds}
        self._made = recent if len(recent) < _ADDRESSES else {}
