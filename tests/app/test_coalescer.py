"""Referrals that arrive together are stored together, at most 64, at once; and the trouble of one is its own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text

from app import clock
from app.audit.record import Actor
from app.db import Database
from app.intake import coalescer as coalescing
from app.intake.coalescer import Coalescer
from app.referrals.accept import Receipt, Submission, accept_at_once
from app.referrals.backlog import Bounds
from app.referrals.gauge import BacklogGauge
from tests.acts import rows

UNBOUNDED = BacklogGauge(Bounds(10**9, 10.0**9))


def _submission(number: int) -> Submission:
    return Submission(UUID(int=number), Actor("SWP", "test"), "TARIAN", 2, ["fraud"], None, b"{}", clock.now())


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many were stored by each statement so far. Nobody is told that it took too long."""
    monkeypatch.setattr(coalescing, "LONGEST_SECONDS", 60.0)
    found: list[int] = []

    async def counted(driver: Any, vault: Any, index: Any, submissions: Sequence[Submission], patience: str) -> Any:
        found.append(len(submissions))
        return await accept_at_once(driver, vault, index, submissions, patience)

    monkeypatch.setattr(coalescing, "accept_at_once", counted)
    return found


async def test_what_arrives_together_is_stored_together_and_at_most_64_at_once(
    database: Database, sizes: list[int]
) -> None:
    """Beyond that the statement gets slower."""
    coalescer = Coalescer(database, UNBOUNDED, lanes=1)
    await asyncio.gather(*(coalescer.submit(_submission(number)) for number in range(1, 201)))
    assert sizes == [64, 64, 64, 8]


async def test_one_alone_waits_for_no_timer(
    database: Database, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is gained by waiting for others: it is stored before any timer ends, however short."""
    coalescer = Coalescer(database, UNBOUNDED, lanes=1)
    await coalescer.submit(_submission(1))  # connects
    loop, ended = asyncio.get_running_loop(), list[float]()
    call_at = loop.call_at

    def watched(when: float, callback: Callable[..., object], *arguments: Any, **rest: Any) -> asyncio.TimerHandle:
        def end() -> None:
            ended.append(when)
            callback(*arguments)

        return call_at(when, end, **rest)

    monkeypatch.setattr(loop, "call_at", watched)
    await coalescer.submit(_submission(2))
    assert (sizes, ended) == ([1, 1], [])


async def test_what_arrives_as_the_last_lane_ends_is_not_left_waiting(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane that is done but not yet struck off must not be counted on."""
    coalescer = Coalescer(database, UNBOUNDED, lanes=1)
    late: list[asyncio.Task[Receipt]] = []
    drain = coalescer._drain

    async def drain_and_more() -> None:
        await drain()
        # This runs after the lane's last look at what waits, and before anybody can learn that the lane has ended.
        if not late:
            late.append(asyncio.create_task(coalescer.submit(_submission(2))))

    monkeypatch.setattr(coalescer, "_drain", drain_and_more)
    await coalescer.submit(_submission(1))
    async with asyncio.timeout(5):
        while not late:  # the answer precedes the end of the lane, which gives its connection back
            await asyncio.sleep(0.01)
        assert (await late[0]).referral_id == UUID(int=2)


async def test_while_the_database_is_away_nobody_waits_for_all_the_others(database: Database) -> None:
    """A full shared transaction fails together; tried one by one they would wait for a connection each."""
    held = [await database.engine.connect() for _ in range(database.engine.sync_engine.pool.size())]  # type: ignore[attr-defined]
    coalescer = Coalescer(database, UNBOUNDED)
    async with asyncio.timeout(8):
        tries = [coalescer.submit(_submission(number)) for number in range(1, 41)]
        results = await asyncio.gather(*tries, return_exceptions=True)
    assert all(isinstance(result, Exception) for result in results)
    for connection in held:
        await connection.close()
    assert (await coalescer.submit(_submission(99))).referral_id == UUID(int=99)


async def test_a_failure_that_is_one_items_own_is_its_own(database: Database) -> None:
    """The party of one is unknown."""
    coalescer = Coalescer(database, UNBOUNDED)
    stranger = Submission(
        UUID(int=7), Actor("NOBODY", "test"), None, 2, ["fraud"], None, b"{}", _submission(1).respond_by
    )
    results = await asyncio.gather(
        coalescer.submit(_submission(1)),
        coalescer.submit(stranger),
        coalescer.submit(_submission(3)),
        return_exceptions=True,
    )
    assert isinstance(results[1], asyncpg.ForeignKeyViolationError)
    assert [getattr(result, "referral_id", None) for result in results] == [UUID(int=1), None, UUID(int=3)]


def _keyed(number: int) -> Submission:
    return replace(_submission(number), key=bytes([number]) * 32, sameness=b"the same")


@contextlib.asynccontextmanager
async def _twins(coalescer: Coalescer, database: Database, *numbers: int) -> AsyncIterator[None]:
    """Twins of these hold their keys, each in the middle of a transaction of another gateway."""
    made = await coalescer.submit(_submission(255))
    held = "INSERT INTO submission (party, key, sameness, referral_id) VALUES ('SWP', :key, :sameness, :id)"
    async with database.engine.connect() as twin:
        for number in numbers:
            item = _keyed(number)
            await twin.execute(text(held), {"key": item.key, "sameness": item.sameness, "id": made.referral_id})
        yield
        await twin.rollback()


async def test_two_whose_twins_are_not_done_take_no_time_from_their_neighbours(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come last, whatever their place in the line."""
    monkeypatch.setattr(coalescing, "LONGEST_SECONDS", 60.0)
    coalescer = Coalescer(database, UNBOUNDED, lanes=1)
    told: list[int] = []

    async def submit(number: int) -> str:
        try:
            await coalescer.submit(_keyed(number))
            return "stored"
        except asyncpg.LockNotAvailableError:
            return "in flight"
        finally:
            told.append(number)

    async with _twins(coalescer, database, 1, 2):
        results = await asyncio.gather(*(submit(number) for number in range(1, 7)))
    assert results == ["in flight"] * 2 + ["stored"] * 4
    assert told == [3, 4, 5, 6, 1, 2]


async def test_who_was_told_that_it_took_too_long_is_not_stored_afterwards(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client without a key sends it again as a new one: stored after all, there would be two."""
    coalescer = Coalescer(database, UNBOUNDED, lanes=1)
    async with _twins(coalescer, database, 1):
        monkeypatch.setattr(coalescing, "LONGEST_SECONDS", 0.3)  # shorter than a twin is waited for
        tries = [coalescer.submit(item) for item in (_keyed(1), _submission(2), _keyed(3))]
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert [type(result) for result in results] == [TimeoutError] * 3
        async with asyncio.timeout(30):
            await asyncio.gather(*coalescer._running)
    [row] = await rows(database, "SELECT count(*) AS number FROM referral WHERE id <> :kept", kept=UUID(int=255))
    assert row["number"] == 0
