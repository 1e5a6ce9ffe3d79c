"""The counters of the queues: the leading scheduler adds them up at every tick, and compares them with the rows."""

import asyncio
import time

from app.db import AS_WORKER, Database
from app.logs import logger
from app.reporting import counters

log = logger()

RECONCILE_SECONDS = 600.0
"""It reads every open dispatch: often enough to mend what nothing should break."""


class Counting:
    """Keeps the counters of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reconciled_at: float | None = None
        self._reconciling: asyncio.Task[None] | None = None

    async def tick(self) -> None:
        """Add up; start to compare where it is time. Raises what the last comparison raised."""
        await counters.fold(self._database)
        if self._reconciling is not None:
            if not self._reconciling.done():
                return
            ended, self._reconciling = self._reconciling, None
            ended.result()
        now = time.monotonic()
        if self._reconciled_at is None or now - self._reconciled_at >= RECONCILE_SECONDS:
            self._reconciled_at = now
            self._reconciling = asyncio.create_task(self._reconcile())

    async def _reconcile(self) -> None:
        async with self._database.transaction(AS_WORKER) as connection:
            mended = await counters.reconcile(connection)
        for one in mended:
            log.warning("a counter differed from the rows", agency=one.agency, region=one.region, by=one.by)

    async def close(self) -> None:
        """End a comparison that still runs."""
        if self._reconciling is not None:
            self._reconciling.cancel()
            await asyncio.wait([self._reconciling])
