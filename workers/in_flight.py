"""The calls of one pump: under way, ready to begin, and as they finish.

A slot that a call leaves must not stand empty until the next claim is committed. So an agency that keeps answering has
some claimed ahead, which begin as its slots become free: urgent ones first, and no more than it is about to take.
"""

import asyncio
import contextlib
import heapq
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from app.referrals.lifecycle import HandOver
from workers.adapters.contract import Adapter
from workers.circuits import Circuits, CircuitState
from workers.hand_over import Call, Finding, Handed, finish_at_once

READY_SECONDS = 5.0
"""How long a claimed hand-over may wait for a slot: with it, a call (30 s) and its recording end within the lease."""

_PACE_SECONDS = 0.25
"""What an agency has answered within this time is claimed ahead: so much it takes while a claim is under way."""

Begin = Callable[[HandOver, Adapter], Coroutine[Any, Any, Handed]]


class _Ready(NamedTuple):
    """A claimed hand-over that waits for a slot, in the order in which they begin."""

    priority: int
    order: int
    claimed_at: float
    item: HandOver
    adapter: Adapter


@dataclass(slots=True)
class _Agency:
    """The calls to one agency; `ready` is a heap."""

    busy: int = 0
    ready: list[_Ready] = field(default_factory=list)
    answered: int = 0
    answered_before: int = 0
    since: float = 0.0

    def note_answer(self, now: float) -> None:
        """It did its part in time."""
        if now - self.since > _PACE_SECONDS:
            self.answered_before = self.answered if now - self.since < 2 * _PACE_SECONDS else 0
            self.answered, self.since = 0, now
        self.answered += 1

    def pace(self, now: float) -> int:
        """How many it answered lately."""
        return max(self.answered, self.answered_before) if now - self.since < 2 * _PACE_SECONDS else 0


class InFlight:
    """Hand-overs under way. Nothing here grows with what has finished and was taken."""

    def __init__(self, circuits: Circuits, begin: Begin) -> None:
        self._circuits = circuits
        self._begin = begin
        self._agencies: dict[str, _Agency] = {}
        self._calls: dict[asyncio.Task[Handed], HandOver] = {}
        self._finished: list[asyncio.Task[Handed]] = []
        self._at_once: list[tuple[HandOver, Finding]] = []
        self._any = asyncio.Event()
        self._order = count()
        self._waiting = 0
        self._withdrawn: list[HandOver] = []
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return len(self._calls) + len(self._at_once) + self._waiting

    @property
    def is_ahead(self) -> bool:
        """Whether hand-overs are ready to begin, so that no slot stands empty while others are recorded or claimed."""
        return self._waiting > 0

    def room(self, agency: str, most: int) -> int:
        """How many more may be claimed for an agency that takes `most` calls at once."""
        calls = self._agencies.get(agency)
        if calls is None:
            return self._circuits.free(agency, most, 0)
        free = self._circuits.free(agency, most, calls.busy)
        if self._circuits.state(agency) is CircuitState.CLOSED:
            free += calls.pace(self._loop.time())
        return max(0, free - len(calls.ready))

    def add(self, item: HandOver, adapter: Adapter) -> None:
        """Take a claimed hand-over: it begins now, or as soon as its agency has a slot."""
        calls = self._agencies.setdefault(item.agency, _Agency())
        heapq.heappush(calls.ready, _Ready(item.priority, next(self._order), self._loop.time(), item, adapter))
        self._waiting += 1
        self._start_ready(item.agency, calls)

    def _start_ready(self, agency: str, calls: _Agency) -> None:
        while calls.ready and self._circuits.free(agency, calls.ready[0].adapter.in_flight, calls.busy):
            *_, item, adapter = heapq.heappop(calls.ready)
            self._waiting -= 1
            if not adapter.waits:
                self._finish_at_once(item, adapter)
                continue
            calls.busy += 1
            task = self._loop.create_task(self._begin(item, adapter))
            self._calls[task] = item
            task.add_done_callback(self._finish)

    def _finish_at_once(self, item: HandOver, adapter: Adapter) -> None:
        handed = finish_at_once(self._begin(item, adapter))
        self._at_once.append((item, handed.finding))
        self._note(item.agency, handed)
        self._any.set()

    def _note(self, agency: str, handed: Handed) -> None:
        """What was never called neither opens a circuit nor closes it: a probe without a call has found nothing out."""
        if handed.call is not Call.NONE:
            self._circuits.note(agency, failed=handed.call is Call.FAILED, leave_alone=handed.leave_alone)

    def _finish(self, task: asyncio.Task[Handed]) -> None:
        self._finished.append(task)
        self._any.set()
        if task.cancelled() or task.exception() is not None:
            return  # the pump is stopping, or about to learn of it by `take_finished`
        item = self._calls[task]
        calls, handed = self._agencies[item.agency], task.result()
        calls.busy -= 1
        self._note(item.agency, handed)
        if handed.call is Call.DONE:
            calls.note_answer(self._loop.time())
        self._start_ready(item.agency, calls)

    def nudge(self) -> None:
        """Have whoever waits look again: something new may be due."""
        self._any.set()

    async def wait(self, seconds: float) -> bool:
        """Until a call has finished or somebody nudges, or for so long; whether either came about."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._any.wait()
        return self._any.is_set()

    def take_finished(self) -> list[tuple[HandOver, Finding]]:
        """The calls that have finished since, and what came of each."""
        finished, self._finished = self._finished, []
        at_once, self._at_once = self._at_once, []
        self._any.clear()
        return at_once + [(self._calls.pop(task), task.result().finding) for task in finished]

    def withdraw(self, agencies: Collection[str]) -> None:
        """Begin nothing more of what was claimed ahead for these, by adapters that are not theirs any more."""
        self._withdrawn += self._take_ready(lambda one: one.item.agency in agencies)

    def take_stale(self) -> list[HandOver]:
        """What is ready and must not begin any more.

        It was withdrawn, has waited too long, or its agency is not to be called now.
        """
        since = self._loop.time() - READY_SECONDS
        open_ = {agency for agency, state in self._circuits.states().items() if state is CircuitState.OPEN}
        return self._take_withdrawn() + self._take_ready(lambda one: one.claimed_at < since or one.item.agency in open_)

    def take_ready(self) -> list[HandOver]:
        """All that has not begun: nothing new begins."""
        return self._take_withdrawn() + self._take_ready(lambda _: True)

    def _take_withdrawn(self) -> list[HandOver]:
        withdrawn, self._withdrawn = self._withdrawn, []
        return withdrawn

    def _take_ready(self, which: Callable[[_Ready], bool]) -> list[HandOver]:
        if not self._waiting:
            return []
        taken = []
        for calls in self._agencies.values():
            taken += [one.item for one in calls.ready if which(one)]
            calls.ready = [one for one in calls.ready if not which(one)]
            heapq.heapify(calls.ready)
        self._waiting -= len(taken)
        return taken

    async def stop(self) -> list[HandOver]:
        """Cancel every call; returns the hand-overs that had not been taken as finished, or not begun."""
        left = [*self._calls.values(), *(item for item, _ in self._at_once), *self.take_ready()]
        for task in self._calls:
            task.cancel()
        if self._calls:
            await asyncio.wait(self._calls)
        self._calls.clear()
        return left
