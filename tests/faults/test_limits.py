"""Clocks that are wrong and connections that are used up."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from tests.conftest import referral
from tests.faults.beside import gateway
from tests.faults.plant import Plant, until
from tests.faults.recording import Recorder

_URGENT = text("SELECT respond_by - created_at FROM referral WHERE id = ANY(:ids) AND priority = 0")

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]


@pytest.mark.parametrize("hours", [pytest.param(1, marks=pytest.mark.short), -1])
async def test_clocks_an_hour_off_make_nothing_early_or_late(plant: Plant, recorder: Recorder, hours: int) -> None:
    """Leases, retries and whatever is due are counted on the database's clock."""
    plant.shift_clocks(hours * 3600)
    await recorder.load(5, priority="urgent")
    plant.agencies("refusing")
    await recorder.load(10)
    plant.agencies("putting-off")
    plant.die_at("claimed", times=1)
    await recorder.load(10)
    await asyncio.to_thread(until, lambda: not plant.deaths_left(), 30, "a worker dies with what it has claimed")
    plant.agencies("well")
    await recorder.settle()
    async with recorder.database.transaction() as connection:
        early = await connection.scalar(
            text("SELECT count(*) FROM dispatch WHERE overdue_at IS NOT NULL OR state = 'expired' OR chases > 0")
        )
        urgent = (
            (await connection.execute(_URGENT, {"ids": [UUID(one.id) for one in recorder.receipts]})).scalars().all()
        )
    assert early == 0
    assert len(urgent) == 5
    assert all(abs(wait - timedelta(hours=4)) < timedelta(minutes=1) for wait in urgent)


@pytest.fixture
async def narrow(plant: Plant) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway beside the other that may hold two connections, and waits for what is locked as it usually does."""
    async with gateway(plant, GAIN_DATABASE_POOL="2", GAIN_DATABASE_ANSWER_SECONDS="10") as client:
        yield client


@pytest.mark.short
async def test_when_all_connections_are_used_up_everybody_hears_it_soon(
    recorder: Recorder, narrow: httpx.AsyncClient
) -> None:
    receipt = await recorder.submit(["EA"])
    assert receipt is not None
    path = f"/v1/referrals/{receipt.id}"
    headers = {"Authorization": f"Bearer {await recorder.key('SWP')}"}
    assert (await narrow.get(path, headers=headers)).status_code == 200
    async with recorder.database.transaction() as connection:
        await connection.execute(text("LOCK TABLE referral IN ACCESS EXCLUSIVE MODE"))
        holding = [asyncio.create_task(narrow.get(path, headers=headers)) for _ in range(2)]
        await asyncio.sleep(0.5)
        began = time.monotonic()
        refused = await asyncio.gather(*(narrow.get(path, headers=headers) for _ in range(20)))
        took = time.monotonic() - began
        assert {answer.status_code for answer in refused} == {503}
        assert all("Retry-After" in answer.headers for answer in refused)
        assert took < 2
        posts = (narrow.post("/v1/referrals", json=referral(), headers=headers) for _ in range(20))
        submissions = await asyncio.gather(*posts)
        assert {answer.status_code for answer in submissions} == {503}
        assert all("Retry-After" in answer.headers for answer in submissions)
        began = time.monotonic()
        assert (await narrow.get("/health/live")).status_code == 200
        assert time.monotonic() - began < 0.5
    assert {answer.status_code for answer in await asyncio.gather(*holding)} == {200}
    await recorder.settle()


@pytest.mark.parametrize("table", [pytest.param("referral", marks=pytest.mark.short), "submission"])
async def test_while_nothing_can_be_stored_everybody_hears_it_soon(
    recorder: Recorder, narrow: httpx.AsyncClient, table: str
) -> None:
    """Somebody locks a table, as a careless migration does. Those refused ask again, and are stored once."""
    recorder.use(narrow)
    await recorder.load(1)
    async with recorder.database.transaction() as connection:
        await connection.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        load = asyncio.create_task(recorder.load(20))
        await asyncio.sleep(4)
        refused = [attempt for attempt in recorder.attempts if attempt.came == 503]
    await load
    assert len(refused) > 20
    assert max(attempt.seconds for attempt in refused) < 2.2
    await recorder.settle()
