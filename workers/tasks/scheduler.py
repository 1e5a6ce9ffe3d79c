"""The scheduler: keeps the time, and every second wakes the workers for what is due. Any number may run; one leads.

Where the broker does not answer, or no worker hears the wake-ups, it does the work itself: a dead broker slows the
system, it never stops it.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app import logs
from app.audit.record import Actor
from app.crypto.keys import Keys
from app.db import AS_WORKER, Connection, Database, is_away
from app.logs import logger
from app.referrals import delivery, drafts, fan_out
from app.referrals.batches import accept as batches
from app.referrals.batches import sweep
from app.referrals.heartbeat import Beating, beat, silent_seconds
from app.referrals.timekeeper import Timekeeper, look_again
from app.settings import Settings
from workers.channels import Channels, Reached
from workers.counting import Counting
from workers.dating import Dating
from workers.process import PUMP_SECONDS
from workers.pump import Pump
from workers.reporting import Reporting
from workers.tasks.seal import Sealing
from workers.wake import wake_of

log = logger()

TICK_SECONDS = 1.0
_HEARTBEAT_TICKS = 5
_DRAFT_TICKS = 60
_LOST_TICKS = 3_600
_SILENT_SECONDS = 15.0  # three wake-ups that came through to no worker
_SWEEP_TICKS = 10
_ADOPT_TICKS = 15  # longer than a worker's knowledge of the channels is old
LEADER = 0x4741494E_0002
"""Advisory lock of the leading scheduler; the number only has to be nobody else's."""

SCHEDULER = Actor("GAIN", "scheduler")


class Scheduler:
    """One scheduler process."""

    def __init__(self, configuration: Settings) -> None:
        self._configuration = configuration
        self._database = Database(configuration)
        self._wake = wake_of(configuration)
        self._channels = Channels(configuration)
        self._reached: Reached | None = None
        self._changed_at = 0
        self._pump: Pump | None = None
        self._working: asyncio.Task[None] | None = None
        self._alone = False
        self._ticks = 0
        self._timekeeper = Timekeeper()
        self._counting = Counting(self._database)
        self._reporting = Reporting(self._database)
        self._dating = Dating(self._database)
        self._sealing = Sealing(configuration, self._database)

    async def run(self) -> None:
        """Lead when nobody else does, and tick, until cancelled; beside that, seal the log."""
        sealing = asyncio.create_task(self._sealing.run())
        try:
            await self._lead()
        finally:
            sealing.cancel()
            await asyncio.wait([sealing])

    async def _lead(self) -> None:
        """Tick while nobody else leads. A database that is away is waited for."""
        while True:
            try:
                async with self._leading() as lock:
                    while lock is not None:
                        await _still_leads(lock)
                        await self._tick()
                        await asyncio.sleep(TICK_SECONDS)
            except Exception as error:
                if not is_away(error):
                    raise
                log.warning("the database is away", error=type(error).__name__)
            await asyncio.sleep(TICK_SECONDS)

    @contextlib.asynccontextmanager
    async def _leading(self) -> AsyncIterator[Connection | None]:
        """The leader's lock, on a connection of its own so that it ends with the leader; None where another leads."""
        async with self._database.engine.connect() as connection:
            leads = bool(await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LEADER}))
            await connection.commit()
            if leads:
                log.info("leading")
                self._reached = None
            try:
                yield connection if leads else None
            finally:
                await _unlock(connection)

    async def _adopt(self, reached: Reached) -> None:
        """What was dispatched before an agency's channel changed is looked after too.

        Once more when every worker knows of the change. Who answers by an adapter may be asked again at any time.
        """
        if reached != self._reached:
            self._reached = reached
            self._changed_at = self._ticks
            async with self._database.transaction(AS_WORKER) as connection:
                await delivery.release(connection, reached.all)
        since = self._ticks - self._changed_at
        told = reached.told if since in (0, _ADOPT_TICKS) else frozenset[str]()
        if told or (reached.answering and since % _ADOPT_TICKS == 0):
            async with self._database.transaction(AS_WORKER) as connection:
                await delivery.adopt(connection, reached.answering, told)
        if able := reached.told - reached.ended:
            # Not before every worker knows: one would use up a try, perhaps the last, where nobody listens any more.
            async with self._database.transaction(AS_WORKER) as connection:
                await delivery.bring_forward(connection, able, _ADOPT_TICKS * TICK_SECONDS)

    async def _keep_time(self) -> None:
        """Chase, alert, mark overdue, expire. Done here, not by a worker: one statement finds that nothing is due.

        First of all when it begins to lead, and now and then, it looks for clocks that a program before has lost.
        """
        if (self._ticks - 1) % _LOST_TICKS == 0:
            async with self._database.transaction(AS_WORKER) as connection:
                await look_again(connection)
        while await self._timekeeper.run(self._database, SCHEDULER):
            pass

    async def _sweep_batches(self) -> None:
        """Clear away uploads that were cut off, and records whose time is over."""
        if self._ticks % _SWEEP_TICKS:
            return
        async with self._database.transaction(AS_WORKER) as connection:
            await sweep.clear_cut_off(connection, SCHEDULER)
            await sweep.forget_old(connection, SCHEDULER)

    async def _tick(self) -> None:
        self._ticks += 1
        await self._keep_time()
        await self._counting.tick()
        await self._reporting.tick()
        await self._sweep_batches()
        self._dating.tick()
        async with self._database.transaction(AS_WORKER) as connection:
            await beat(connection, Beating.SCHEDULER)
            silent = (await silent_seconds(connection))[Beating.WORKER]
            reached = await self._channels.reached(connection)
            accepted = await fan_out.is_waiting(connection) or await batches.is_waiting(connection)
            due = bool(reached.all) and await delivery.is_due(connection, reached.all)
        await self._adopt(reached)
        if accepted or due or self._heartbeat_is_due():
            self._wake.work()
        await self._expire_drafts()
        self._alone = self._wake.broker_away or silent is None or silent > _SILENT_SECONDS
        if (accepted or due) and self._alone:
            self._work_oneself()

    async def _expire_drafts(self) -> None:
        """Delete the drafts of referrals that nobody went on with, first of all when it begins to lead."""
        if (self._ticks - 1) % _DRAFT_TICKS:
            return
        async with self._database.transaction(AS_WORKER) as connection:
            await drafts.expire(connection, SCHEDULER)

    def _heartbeat_is_due(self) -> bool:
        """Every few seconds a wake-up goes through the queue even if nothing is due: its coming through is health."""
        return self._ticks % _HEARTBEAT_TICKS == 0

    def _work_oneself(self) -> None:
        """Beside the ticks, which no slow agency may hold up. Raises what the last such work raised."""
        if self._working is not None and not self._working.done():
            return
        working, self._working = self._working, None
        if working is not None:
            working.result()
        self._working = asyncio.create_task(self._own_pump().run(PUMP_SECONDS, lambda: not self._alone))

    def _own_pump(self) -> Pump:
        # Made when first needed: the registers of simulated bodies take memory that a scheduler seldom needs.
        if self._pump is None:
            keys = Keys(self._configuration.master_secret())
            self._pump = Pump(self._database, keys, self._channels)
        return self._pump

    async def close(self) -> None:
        """Stop one's own work and close the connections."""
        if self._working is not None:
            self._working.cancel()
            await asyncio.wait([self._working])
        await self._counting.close()
        await self._reporting.close()
        await self._dating.close()
        await self._sealing.finish()
        await self._channels.close()
        await self._database.close()


async def _still_leads(lock: Connection) -> None:
    """Raise where the lock's connection is gone, and the lock with it: somebody else leads by now."""
    await lock.execute(text("SELECT 1"))
    await lock.commit()


async def _unlock(connection: Connection) -> None:
    with contextlib.suppress(SQLAlchemyError, OSError):  # the lock ends with the connection in any case
        await connection.execute(text("SELECT pg_advisory_unlock_all()"))


async def _run(configuration: Settings) -> None:
    scheduler = Scheduler(configuration)
    running = asyncio.ensure_future(scheduler.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await scheduler.close()


def run(configuration: Settings) -> None:
    """Run a scheduler until SIGTERM or Ctrl-C."""
    logs.configure("scheduler", configuration.log_level)
    asyncio.run(_run(configuration))
