"""The calls of one pump that are under way: by agency, and as they finish."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from app.referrals.delivery import HandOver
from workers.hand_over import Finding


class InFlight:
    """Hand-overs under way. Nothing here grows with what has finished and was taken."""

    def __init__(self) -> None:
        self._calls: dict[asyncio.Task[Finding], HandOver] = {}
        self._busy: Counter[str] = Counter()
        self._finished: list[asyncio.Task[Finding]] = []
        self._any = asyncio.Event()

    def __len__(self) -> int:
        return len(self._calls)

    def busy(self, agency: str) -> int:
        """The calls to an agency that are under way."""
        return self._busy[agency]

    def start(self, item: HandOver, call: Coroutine[Any, Any, Finding]) -> None:
        """Begin a call."""
        task = asyncio.create_task(call)
        self._calls[task] = item
        self._busy[item.agency] += 1
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[Finding]) -> None:
        self._finished.append(task)
        self._any.set()

    async def wait(self, seconds: float) -> bool:
        """Until a call has finished, or for so long; whether one has."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._any.wait()
        return self._any.is_set()

    def take_finished(self) -> list[tuple[HandOver, Finding]]:
        """The calls that have finished since, and what came of each."""
        finished, self._finished = self._finished, []
        self._any.clear()
        return [(self._remove(task), task.result()) for task in finished]

    async def stop(self) -> list[HandOver]:
        """Cancel every call; returns the hand-overs that had not been taken as finished."""
        left = list(self._calls.values())
        for task in self._calls:
            task.cancel()
        if self._calls:
            await asyncio.wait(self._calls)
        self._calls.clear()
        return left

    def _remove(self, task: asyncio.Task[Finding]) -> HandOver:
        item = self._calls.pop(task)
        self._busy[item.agency] -= 1
        return item
