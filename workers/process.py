"""What a worker process keeps for its life: one event loop, one engine, one pump."""

import asyncio
import contextlib
import gc
import mmap
import time
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from app.crypto.keys import Keys
from app.db import AS_WORKER, Database, is_away
from app.referrals import delivery, fan_out
from app.referrals.batches import accept as batches
from app.referrals.heartbeat import Beating, beat
from app.settings import Settings
from workers.channels import Channels
from workers.pump import Pump

PUMP_SECONDS = 40.0
"""How long a task goes on taking work: longer than any call may take, and well within the 60 s of a task."""

_BEAT_SECONDS = 5.0


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
        """Move everything that is due, for a while. The body of every task."""
        self.follow(self.work(self._stopping.is_set))

    def follow(self, work: Coroutine[Any, Any, None]) -> None:
        """Run this on the process's event loop, to its end."""
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
            await self.work(stopping)

    async def work(self, stopping: Callable[[], bool]) -> None:
        """Move everything that is due, for a while, and say every few seconds that it is being worked on."""
        beating = asyncio.create_task(self._beat())
        try:
            await self._pump.run(PUMP_SECONDS, stopping)
        finally:
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating
        async with self._database.transaction(AS_WORKER) as connection:
            await beat(connection, Beating.WORKER)

    async def _beat(self) -> None:
        """Say every few seconds that a wake-up came through and is being worked on."""
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            try:
                async with self._database.transaction(AS_WORKER) as connection:
                    await beat(connection, Beating.WORKER)
            except Exception as error:
                if not is_away(error):
                    raise

    def stop(self) -> None:
        """In the parent: have the children hand back what they hold."""
        self._stopping.set()

    def close(self) -> None:
        """In the child: close its connections."""
        self._loop.run_until_complete(self._channels.close())
        self._loop.run_until_complete(self._database.close())
        self._loop.close()
