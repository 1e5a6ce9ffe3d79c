"""What a worker process keeps for its life: one event loop, one engine, one pump.

A Celery process runs its loop in a thread: a task asks the pump to look and ends when all that is due has begun, and
the calls go on after it. So a process that waits for a slow agency hears the next wake-up like any other.
"""

import asyncio
import contextlib
import gc
import math
import mmap
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import uvloop

from app.crypto.keys import Keys
from app.db import AS_WORKER, Database, is_away
from app.logs import logger
from app.referrals import delivery, fan_out
from app.referrals.batches import accept as batches
from app.referrals.heartbeat import Beating, beat
from app.settings import Settings
from workers.channels import Channels
from workers.pump import Pump

log = logger()

PUMP_SECONDS = 40.0
"""How long a task goes on taking work: longer than any call may take, and well within the 60 s of a task."""

_BEAT_SECONDS = 5.0
_OFTEN_SECONDS = 2.0  # a beat sooner after the last one tells nobody anything
_STOP_SECONDS = 3.0
"""How long the end of a process waits for its pump, which hands back what it holds."""


class Stopping:
    """A flag that the worker shares with its child processes, without a lock, which a killed child might hold."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 1)

    def set(self) -> None:
        """Have every process stop."""
        self._shared[0] = 1

    def is_set(self) -> bool:
        """Whether they are to stop."""
        return bool(self._shared[0])


class Process:
    """Made before the fork, started in each child."""

    def __init__(self, configuration: Settings, channels: Channels, stopping: Stopping) -> None:
        self._configuration = configuration
        self._channels = channels
        self._stopping = stopping
        self._beaten_at = float("-inf")
        self._thread: threading.Thread | None = None
        self._working: asyncio.Task[bool] | None = None
        self._ending = False

    def start(self) -> None:
        """In the child: its own event loop and connections."""
        gc.collect()
        gc.freeze()
        # What a batch makes goes by counting references; looking for cycles in it finds none, again and again.
        gc.set_threshold(20_000, 20, 20)
        self._loop = uvloop.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._database = Database(self._configuration)
        keys = Keys(self._configuration.master_secret())
        self._pump = Pump(self._database, keys, self._channels)

    def pump(self) -> None:
        """Have everything that is due begun. The body of every task."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop.run_forever, name="pump", daemon=True)
            self._thread.start()
        asyncio.run_coroutine_threadsafe(self._turn(), self._loop).result()

    async def _turn(self) -> None:
        """Ask the pump, which is started where it has ended; what is still to begin after a while, it begins alone."""
        end = self._loop.time() + PUMP_SECONDS
        told = self._pump.ask()
        async with self._beating():
            while not told.done() and self._loop.time() < end and not self._is_over():
                if self._working is None or self._working.done():
                    self._working = self._loop.create_task(self._run_pump())
                working = self._working
                left = end - self._loop.time()
                await asyncio.wait((told, working), timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if working.done() and not working.result():
                    return
        if time.monotonic() - self._beaten_at >= _OFTEN_SECONDS:
            await self._beat()

    async def _run_pump(self) -> bool:
        """Pump for as long as anything is due or in flight; whether that went well. Failures are logged."""
        try:
            await self._pump.run(math.inf, self._is_over)
        except Exception as error:
            if is_away(error):
                log.warning("the database is away", error=type(error).__name__)
            else:
                log.exception("the work failed", exc_info=error)
            return False
        return True

    def follow(self, work: Coroutine[Any, Any, None]) -> None:
        """Run this on the process's event loop, to its end, in a process that runs no tasks."""
        self._loop.run_until_complete(work)

    async def look(self, stopping: Callable[[], bool]) -> None:
        """Look whether anything is due, and if so move it, as a wake-up would have it done."""
        async with self._database.transaction(AS_WORKER) as connection:
            agencies = (await self._channels.get(connection)).keys()
            due = (
                await fan_out.is_waiting(connection)
                or await batches.is_waiting(connection)
                or await delivery.is_due(connection, agencies)
            )
            if not due and time.monotonic() - self._beaten_at >= _BEAT_SECONDS:
                # To have looked, and found nothing, is work completed.
                await beat(connection, Beating.WORKER)
                self._beaten_at = time.monotonic()
        if due:
            async with self._beating():
                await self._pump.run(math.inf, stopping)
            await self._beat()

    @contextlib.asynccontextmanager
    async def _beating(self) -> AsyncIterator[None]:
        """Within the block, say every few seconds that work is being done."""
        beating = asyncio.create_task(self._beat_on())
        try:
            yield
        finally:
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            try:
                await self._beat()
            except Exception as error:
                if not is_away(error):
                    raise

    async def _beat(self) -> None:
        async with self._database.transaction(AS_WORKER) as connection:
            await beat(connection, Beating.WORKER)
        self._beaten_at = time.monotonic()

    def stop(self) -> None:
        """In the parent: have the children hand back what they hold."""
        self._stopping.set()

    def close(self) -> None:
        """In the child: have the pump hand back what it holds, and close the connections."""
        if self._thread is not None:
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(self._end_pump(), self._loop).result(_STOP_SECONDS)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.run_until_complete(self._channels.close())
        self._loop.run_until_complete(self._database.close())
        self._loop.close()

    async def _end_pump(self) -> None:
        self._ending = True
        if self._working is None:
            return
        self._pump.ask()
        await asyncio.wait([self._working], timeout=_STOP_SECONDS / 2)
        self._working.cancel()
        await asyncio.wait([self._working])

    def _is_over(self) -> bool:
        return self._ending or self._stopping.is_set()
