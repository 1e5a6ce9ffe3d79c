"""How often a key and a party may ask: decided in this process's memory, by the strategy of the library `limits`.

A sliding window of two counters: the requests of this window, and those of the last one by the share of it that still
counts. To what this process has counted it adds what the others told of (`Tally`); without word of them it limits by
its own counts alone. Nothing here waits for anything.
"""

import math
import time

from limits import RateLimitItemPerSecond, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from app.access.keys import Credential
from app.errors import TOO_MANY_REQUESTS, Problem
from app.settings import SettingsError

_KEY, _PARTY = "key", "party"


class Window:
    """The counts of one limit of one key or party: of the window `number`, and of the one before it.

    `own` was counted here, `told` of it was told to the others, `others` is what they told.
    """

    __slots__ = ("last", "number", "others", "own", "seconds", "told")

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.number = 0
        self.last = self.own = self.told = self.others = 0

    def turn(self, number: int) -> None:
        """Go on to this window."""
        self.last = self.own + self.others if number == self.number + 1 else 0
        self.number = number
        self.own = self.told = self.others = 0


class Counts(MemoryStorage):
    """The counters of this process, as `limits` asks for them; its own storage costs 30 µs a request, and a thread."""

    def __init__(self) -> None:
        super().__init__()
        self.windows: dict[str, Window] = {}

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count a request, unless it would be one too many."""
        now = time.time()
        window = self._window(key, expiry, now)
        if window.last * (1 - now % expiry / expiry) + window.own + window.others + amount > limit:
            return False
        window.own += amount
        return True

    def take_back(self, key: str) -> None:
        """Count a request just counted for nothing."""
        self.windows[key].own -= 1

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """The counts of the last window and of this one, and how many seconds each still matters."""
        now = time.time()
        window = self._window(key, expiry, now)
        left = expiry - now % expiry
        return window.last, left, window.own + window.others, left + expiry

    def wait(self, key: str, limit: int, expiry: int) -> float:
        """Seconds until another request is let in, if none comes before."""
        last, left, count, _ = self.get_sliding_window(key, expiry)
        free = limit - 1 - count
        if free >= 0 and last:
            return left - free / last * expiry
        # Not in this window: in the next one, as soon as the share of this one that counts leaves room.
        return left + expiry * (1 - (limit - 1) / max(count, 1))

    def forget(self) -> None:
        """Drop the counters that count for nothing any more."""
        now = time.time()
        self.windows = {key: kept for key, kept in self.windows.items() if now // kept.seconds <= kept.number + 1}

    def _window(self, key: str, expiry: int, now: float) -> Window:
        window = self.windows.get(key)
        if window is None:
            window = self.windows[key] = Window(expiry)
        number = int(now // expiry)
        if window.number != number:
            window.turn(number)
        return window


class _Limit(RateLimitItemPerSecond):
    """A limit whose counters have short names: making the library's costs more than all else of a request's count."""

    def key_for(self, *identifiers: bytes | str | int | float) -> str:
        return f"{identifiers[0]!s}/{identifiers[1]!s}"


class Rates:
    """The limits of this process. Raises `SettingsError` for one that cannot be read."""

    def __init__(self, per_key: str, per_party: str) -> None:
        self.counts = Counts()
        self._strategy = SlidingWindowCounterRateLimiter(self.counts)
        self._per_key = _item("GAIN_RATE_PER_KEY", per_key)
        self._per_party = _item("GAIN_RATE_PER_PARTY", per_party)

    def charge(self, credential: Credential) -> None:
        """Count a request of this credential. Raises `Problem` (429) where it is one too many, and counts nothing."""
        self._hit(self._per_key, _KEY, credential.id)
        try:
            self._hit(self._per_party, _PARTY, credential.party)
        except Problem:
            if self._per_key is not None:
                self.counts.take_back(self._per_key.key_for(_KEY, credential.id))
            raise

    def _hit(self, item: _Limit | None, whose: str, name: str) -> None:
        if item is None or self._strategy.hit(item, whose, name):
            return
        window = item.get_expiry()
        left = max(1, math.ceil(self.counts.wait(item.key_for(whose, name), item.amount, window)))
        raise Problem(
            TOO_MANY_REQUESTS,
            f"More than {item.amount} requests in {window} seconds with {_WHOSE[whose]}.",
            retry_after=left,
            # draft-ietf-httpapi-ratelimit-headers
            headers={
                "RateLimit-Policy": f'"{whose}";q={item.amount};w={window}',
                "RateLimit": f'"{whose}";r=0;t={left}',
            },
        )


_WHOSE = {_KEY: "this key", _PARTY: "the keys of this party"}


def _item(name: str, text: str) -> _Limit | None:
    if not text.strip():
        return None
    try:
        found = parse(text)
    except ValueError:
        raise SettingsError(f"{name} is written like 600/minute or 20/second; empty means no limit.") from None
    return _Limit(found.amount, found.get_expiry())
