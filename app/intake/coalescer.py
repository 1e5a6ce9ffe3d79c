"""Referrals that arrive together share a transaction. No timer: whoever is free takes what waits, at most 64."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import cast

from sqlalchemy.exc import SQLAlchemyError

from app.db import Database, is_away
from app.referrals.accept import Receipt, Submission, accept

MOST = 64
"""The most submissions in one transaction: beyond it the statement gets slower, not the commit cheaper."""

LONGEST_SECONDS = 1.8
"""How long a request waits for its turn and its commit: it hears that the database is away within two seconds."""

_Waiting = tuple[Submission, asyncio.Future[Receipt]]


class Coalescer:
    """Accepts submissions in shared transactions. At most `lanes` transactions run at once in this process."""

    def __init__(self, database: Database, lanes: int = 2) -> None:
        self._database = database
        self._waiting: deque[_Waiting] = deque()
        self._lanes = lanes
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, submission: Submission) -> Receipt:
        """Store one submission durably. Raises what the database raised for this one, never for its neighbours.

        Raises `TimeoutError` after `LONGEST_SECONDS`: what is not being stored by then never will be, and what is being
        stored may yet be, as where an answer is lost on its way.
        """
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.append((submission, future))
        if len(self._running) < self._lanes:
            self._running.add(asyncio.create_task(self._run_lane()))
        async with asyncio.timeout(LONGEST_SECONDS):
            return await future

    async def _run_lane(self) -> None:
        try:
            await self._drain()
        finally:
            # Not in a done callback: what arrived before that ran would find every lane taken, and wait for ever.
            self._running.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _drain(self) -> None:
        while self._waiting:
            taken = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
            taken = [(submission, future) for submission, future in taken if not future.done()]  # given up meanwhile
            if not taken:
                continue
            try:
                receipts = await self._accept([submission for submission, _ in taken])
            except Exception as error:
                await self._singly(taken, error)
                continue
            for (_, future), receipt in zip(taken, receipts, strict=True):
                _settle(future, receipt)

    async def _singly(self, taken: Sequence[_Waiting], error: Exception) -> None:
        """One bad item must not fail its neighbours; the ids were made before, so trying again stores nothing twice."""
        if len(taken) == 1 or not isinstance(error, SQLAlchemyError):
            _fail_all(taken, error)
            return
        for index, (submission, future) in enumerate(taken):
            try:
                _settle(future, (await self._accept([submission]))[0])
            except Exception as own:
                if is_away(own):
                    # Each of the others would only wait for a connection as long again.
                    _fail_all(taken[index:], own)
                    return
                _fail(future, own)

    async def _accept(self, submissions: Sequence[Submission]) -> list[Receipt]:
        async with self._database.transaction() as connection:
            return await accept(connection, submissions)


def _settle(future: asyncio.Future[Receipt], receipt: Receipt) -> None:
    if not future.done():
        future.set_result(receipt)


def _fail_all(taken: Sequence[_Waiting], error: Exception) -> None:
    for _, future in taken:
        _fail(future, error)


def _fail(future: asyncio.Future[Receipt], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
