"""A worker without a broker: processes that look into PostgreSQL a few times a second and pump what they find.

Only the wake-up differs from the Celery worker: what is claimed, called and recorded is the same (docs/decisions/0001).
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from types import FrameType

from app import logs
from app.db import is_away
from app.logs import logger
from app.settings import Settings
from workers.channels import Channels
from workers.process import Process, Stopping

LOOK_SECONDS = 0.25
"""How often an idle process looks for work: one statement that two partial indexes answer."""

_AWAY_SECONDS = 1.0  # until a process looks again that could not, or in which a defect ended the last look
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 10.0
_STEADY_SECONDS = 60.0  # a process that ran this long has recovered: its next end counts as the first
_STOP_SECONDS = 5.0  # for handing back what is in flight
_TICK_SECONDS = 0.1

log = logger()


def run_worker(configuration: Settings) -> None:
    """Run the processes until SIGTERM or Ctrl-C; one that ends is started again. They share the registers by fork."""
    logs.configure("worker", configuration.log_level)
    channels = Channels(configuration)
    channels.prepare()
    stopping = Stopping()
    with _asking(stopping):
        _Children(Process(configuration, channels, stopping), stopping, configuration.worker_processes).run()


@contextlib.contextmanager
def _asking(stopping: Stopping) -> Iterator[None]:
    """Within the block SIGTERM and Ctrl-C ask for a stop instead of ending this process."""

    def ask(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Child:
    """One place of the worker: its process, and when it is started again."""

    def __init__(self) -> None:
        self.process: ForkProcess | None = None
        self.started = 0.0
        self.due = 0.0
        self.ends = 0


class _Children:
    """The processes of one worker. Single-threaded, so that a fork copies nobody's locks."""

    def __init__(self, process: Process, stopping: Stopping, number: int) -> None:
        self._process = process
        self._stopping = stopping
        self._children = [_Child() for _ in range(number)]

    def run(self) -> None:
        """Keep every process running until a stop is asked for, then wait for them."""
        while not self._stopping.is_set():
            for child in self._children:
                self._tend(child)
            wait(self._sentinels(), _TICK_SECONDS)
        self._end()

    def _tend(self, child: _Child) -> None:
        if child.process is None:
            if time.monotonic() >= child.due:
                self._start(child)
            return
        if child.process.is_alive():
            return
        if time.monotonic() - child.started > _STEADY_SECONDS:
            child.ends = 0
        delay = min(_FIRST_DELAY * 2**child.ends, _LONGEST_DELAY)
        log.warning("a worker process ended", exit_code=child.process.exitcode, again_in=delay)
        child.process.close()
        child.process, child.due = None, time.monotonic() + delay
        child.ends += 1

    def _start(self, child: _Child) -> None:
        process = multiprocessing.get_context("fork").Process(target=_work, args=(self._process, self._stopping))
        process.start()
        child.process, child.started = process, time.monotonic()

    def _end(self) -> None:
        deadline = time.monotonic() + _STOP_SECONDS
        for child in self._children:
            if child.process is None:
                continue
            child.process.join(max(0.0, deadline - time.monotonic()))
            if child.process.exitcode is None:
                log.warning("a worker process does not stop; what it holds falls due with its lease")
                child.process.kill()
                child.process.join()

    def _sentinels(self) -> list[int]:
        return [child.process.sentinel for child in self._children if child.process is not None]


def _work(process: Process, stopping: Stopping) -> None:
    """In the child: look and pump until a stop is asked for, of all or of this one, or the parent is gone."""
    parent = os.getppid()
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all of us: the parent passes it on
    process.start()
    try:
        process.follow(_poll(process, lambda: bool(asked) or stopping.is_set() or os.getppid() != parent))
    finally:
        process.close()


async def _poll(process: Process, over: Callable[[], bool]) -> None:
    while not over():
        pause = LOOK_SECONDS
        try:
            await process.look(over)
        except Exception as error:
            pause = _AWAY_SECONDS
            if is_away(error):
                log.warning("the database is away", error=type(error).__name__)
            else:
                # A defect: in the log each time, and without a heartbeat the page tells that nothing is finished.
                log.exception("the work failed", exc_info=error)
        await asyncio.sleep(pause)
