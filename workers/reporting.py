"""What the reports count: the leading scheduler adds it up at every tick, and once a day compares it with the rows."""

import asyncio
import time

from app.db import AS_WORKER, Database, is_away
from app.logs import logger
from app.reporting import aggregates

log = logger()

RECONCILE_SECONDS = 86_400.0
"""It reads every referral and dispatch. The first, when a scheduler begins to lead, counts what was never counted."""


class Reporting:
    """Keeps the aggregates of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reconciled_at: float | None = None
        self._reconciling: asyncio.Task[None] | None = None

    async def tick(self) -> None:
        """Add up; begin to compare where it is time, beside the ticks."""
        await aggregates.fold(self._database)
        if self._reconciling is not None and not self._reconciling.done():
            return
        now = time.monotonic()
        if self._reconciled_at is None or now - self._reconciled_at >= RECONCILE_SECONDS:
            self._reconciled_at = now
            self._reconciling = asyncio.create_task(self._reconcile())

    async def _reconcile(self) -> None:
        try:
            async with self._database.transaction(AS_WORKER) as connection:
                mended = await aggregates.reconcile(connection)
        except Exception as error:
            # What fails is tried again at the next tick while the database is away, else a day later.
            if is_away(error):
                self._reconciled_at = None
            else:
                log.error("the reports are not compared with the rows", exc_info=error)
            return
        for one in mended:
            log.warning(
                "figures of a report differed from the rows",
                report=one.report,
                figures=one.figures,
                since=one.since.isoformat(),
                number=one.number,
            )

    async def close(self) -> None:
        """End a comparison that still runs."""
        if self._reconciling is not None:
            self._reconciling.cancel()
            await asyncio.wait([self._reconciling])
