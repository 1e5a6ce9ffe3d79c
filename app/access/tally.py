"""The gateway processes tell one another, over the message broker, what each has counted. No request waits for it.

Every second each adds what it has counted since to sums kept in the broker, and reads these in the same round trip:
what is in a sum and not its own, the others have counted. The broker holds codes of parties and ids of keys, for two
windows. Without it every process limits by its own counts.
"""

import asyncio
import time

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.access.rates import Counts, Window
from app.logs import logger

SECONDS = 1.0
_PREFIX = "gain:rate"

log = logger()


class Tally:
    """Keeps the counts of one process in step with the others'."""

    def __init__(self, counts: Counts, broker: Redis) -> None:
        self._counts = counts
        self._broker = broker
        self._away = False

    async def run(self) -> None:
        """Exchange every second until cancelled."""
        while True:
            await asyncio.sleep(SECONDS)
            self._counts.forget()
            try:
                await self.exchange()
            except (RedisError, OSError, TimeoutError) as error:
                if not self._away:
                    log.warning("requests are limited by this process's own counts: the broker is away", exc_info=error)
                self._away = True
                continue
            self._away = False

    async def exchange(self) -> None:
        """Tell what was counted here, and hear what the others counted. Raises what the broker's client does."""
        now = time.time()
        windows = self._counts.windows.items()
        current = [(key, window) for key, window in windows if now // window.seconds == window.number]
        if not current:
            return
        news = [window.own - window.told for _, window in current]
        pipeline = self._broker.pipeline(transaction=False)
        for (key, window), new in zip(current, news, strict=True):
            pipeline.hincrby(_sums(window), key, new)
        for window in {_sums(window): window for _, window in current}.values():
            pipeline.expire(_sums(window), 2 * window.seconds)
        numbers = [window.number for _, window in current]
        answers = await pipeline.execute()
        for (_, window), new, number, total in zip(current, news, numbers, answers, strict=False):
            if window.number == number:  # else it has gone on to the next window meanwhile
                window.told += new
                # Less than nothing where the broker has forgotten: it starts anew with the next window.
                window.others = max(0, total - window.told)


def _sums(window: Window) -> str:
    return f"{_PREFIX}:{window.seconds}:{window.number}"
