"""Referrals that arrive together share a transaction. No timer: whoever is free takes what waits, at most 64."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import cast

import asyncpg

from app.access.policy import Role
from app.access.principal import behalf_of
from app.crypto.vault import blind_index_for, sealing_vault_at
from app.db import AS_GATEWAY, Database, as_lost, is_away
from app.referrals.accept import LITTLE_PATIENCE, PATIENCE, Receipt, Submission, accept_at_once
from app.referrals.backlog import FACTORS, LINE
from app.referrals.codes import PriorityRank
from app.referrals.gauge import BacklogGauge

MOST = 64
"""The most submissions in one transaction: beyond it the statement gets slower, not the commit cheaper."""

WORTH_A_LANE = 8
"""So many waiting take a further transaction beside one that runs: for fewer its own cost is most of what it takes."""

LONGEST_SECONDS = 1.8
"""How long a request waits for its turn and its commit: it hears that the database is away within two seconds."""

_LINES = [int(LINE * FACTORS[rank]) for rank in sorted(FACTORS)]

_BEHALF = behalf_of(Role.ORIGINATOR, ())
"""Parties are those of each batch: the statement that stores it says whose rows it may reach."""

_Waiting = tuple[Submission, asyncio.Future[Receipt]]


class Coalescer:
    """Accepts submissions in shared transactions. At most `lanes` transactions run at once in this process.

    While a backlog stands each lane rests after a transaction, as long as the gauge says or until something urgent
    comes.
    """

    def __init__(self, database: Database, gauge: BacklogGauge, lanes: int = 2) -> None:
        self._database = database
        self._gauge = gauge
        self._waiting: deque[_Waiting] = deque()
        self._lanes = lanes
        self._running: set[asyncio.Task[None]] = set()
        self._urgent = asyncio.Event()

    def takes(self, priority: int) -> bool:
        """Whether a submission of this priority is taken now, as far as the backlog goes."""
        gauge = self._gauge
        return gauge.takes(priority) and (not gauge.rest or len(self._waiting) < _LINES[priority])

    async def submit(self, submission: Submission) -> Receipt:
        """Store one submission durably. Raises what the database raised for this one, never for its neighbours.

        Raises `TimeoutError` after `LONGEST_SECONDS`: what is not being stored by then never will be, and what is being
        stored may yet be, as where an answer is lost on its way.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Receipt] = loop.create_future()
        if submission.priority == PriorityRank.URGENT and self._gauge.rest:
            self._waiting.appendleft((submission, future))
            self._urgent.set()
        else:
            self._waiting.append((submission, future))
        if len(self._running) < self._lanes and (not self._running or len(self._waiting) >= WORTH_A_LANE):
            self._running.add(asyncio.create_task(self._run_lane()))
        # A timer of our own: `asyncio.timeout` costs as much as validating a quarter of the body.
        timer = loop.call_later(LONGEST_SECONDS, _fail, future, TimeoutError())
        try:
            return await future
        finally:
            timer.cancel()

    async def _run_lane(self) -> None:
        try:
            await self._drain()
        finally:
            # Not in a done callback: what arrived before that ran would find every lane taken, and wait for ever.
            self._running.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _drain(self) -> None:
        """Take what waits, time and again, on one connection; without one, what waits fails."""
        while self._waiting:
            try:
                async with self._database.driver(_BEHALF) as driver:
                    await self._drain_by(driver)
            except Exception as error:
                _fail_all(self._take(), error)

    async def _drain_by(self, driver: asyncpg.Connection) -> None:
        while taken := self._take():
            try:
                receipts = await self._accept(driver, [submission for submission, _ in taken])
            except Exception as error:
                await self._singly(driver, taken, as_lost(driver, error))
                if driver.is_closed():
                    return
                continue
            for (_, future), receipt in zip(taken, receipts, strict=True):
                _settle(future, receipt)
            if self._gauge.rest:
                await self._rest(self._gauge.rest)

    def _take(self) -> list[_Waiting]:
        """What waits first, and was not given up meanwhile."""
        taken: list[_Waiting] = []
        while self._waiting and len(taken) < MOST:
            submission, future = self._waiting.popleft()
            if not future.done():
                taken.append((submission, future))
        return taken

    async def _rest(self, seconds: float) -> None:
        """Leave the machine to the workers for so long; what is urgent does not wait for that."""
        # It may have come while every lane was in a transaction: nobody else would take it before the rest is over.
        if self._waiting and self._waiting[0][0].priority == PriorityRank.URGENT:
            return
        self._urgent.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._urgent.wait()

    async def _singly(self, driver: asyncpg.Connection, taken: Sequence[_Waiting], error: Exception) -> None:
        """One bad item must not fail its neighbours; the ids were made before, so trying again stores nothing twice.

        Those that a twin's transaction keeps waiting come last, or two of them would take the others' time.
        """
        if len(taken) == 1 or driver.is_closed() or not isinstance(error, asyncpg.PostgresError):
            _fail_all(taken, error)
            return
        left = deque((one, LITTLE_PATIENCE) for one in taken)
        while left:
            (submission, future), patience = left.popleft()
            if future.done():
                continue  # given up meanwhile: who was told so may send it again under no key
            try:
                _settle(future, (await self._accept(driver, [submission], patience))[0])
            except Exception as caught:
                own = as_lost(driver, caught)
                if is_away(own):
                    # Each of the others would only wait for a connection as long again.
                    _fail_all([(submission, future), *(one for one, _ in left)], own)
                    return
                if isinstance(own, asyncpg.LockNotAvailableError) and patience == LITTLE_PATIENCE:
                    left.append(((submission, future), PATIENCE))
                    continue
                _fail(future, own)

    async def _accept(
        self, driver: asyncpg.Connection, submissions: Sequence[Submission], patience: str = PATIENCE
    ) -> list[Receipt]:
        vault = await sealing_vault_at(self._database, AS_GATEWAY)
        receipts = await accept_at_once(driver, vault, blind_index_for(self._database.settings), submissions, patience)
        self._gauge.accepted(sum(not receipt.replayed for receipt in receipts))
        return receipts


def _settle(future: asyncio.Future[Receipt], receipt: Receipt) -> None:
    if not future.done():
        future.set_result(receipt)


def _fail_all(taken: Sequence[_Waiting], error: Exception) -> None:
    for _, future in taken:
        _fail(future, error)


def _fail(future: asyncio.Future[Receipt], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
