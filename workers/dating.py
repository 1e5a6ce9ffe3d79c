"""Review dates: every hour the leading scheduler gives each referral that has ended its group and its review date."""

import asyncio
import time

from app.db import Database, is_away
from app.logs import logger
from app.retention.reference import rules
from app.retention.schedule import date_all

log = logger()

EVERY_SECONDS = 3600.0
"""A date is some years away: what looks at every referral that has ended may take its time."""


class Dating:
    """Dates the referrals of one database. `gain retention due` does the same at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dated_at: float | None = None
        self._dating: asyncio.Task[None] | None = None

    def tick(self) -> None:
        """Begin where it is time, beside the ticks. What fails is logged and tried an hour later."""
        if self._dating is not None and not self._dating.done():
            return
        now = time.monotonic()
        if self._dated_at is None or now - self._dated_at >= EVERY_SECONDS:
            self._dated_at = now
            self._dating = asyncio.create_task(self._date())

    async def _date(self) -> None:
        try:
            done = await date_all(self._database, rules())
        except Exception as error:
            if not is_away(error):
                log.error("review dates are not given", exc_info=error)
            return
        if done.dated or done.unopenable:
            log.info("review dates were given", referrals=done.dated, unopenable=done.unopenable)

    async def close(self) -> None:
        """End what still runs."""
        if self._dating is not None:
            self._dating.cancel()
            await asyncio.wait([self._dating])
