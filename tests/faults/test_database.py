"""PostgreSQL crashes under load: what was acknowledged is there, and everything that runs goes on by itself."""

import asyncio
import signal
import time

import httpx
import pytest

from tests.faults.plant import Plant, until
from tests.faults.recording import ADAPTED, Recorder

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("times", "seconds"), [pytest.param(2, 8, marks=pytest.mark.short), (5, 60)], ids=["twice", "five in a minute"]
)
async def test_postgres_crashes_under_load(plant: Plant, recorder: Recorder, times: int, seconds: float) -> None:
    kept, before = [plant.part("gateway"), plant.part("worker")], plant.endings("postgres")
    began = time.monotonic()
    load = asyncio.create_task(recorder.load(int(20 * seconds)))
    for number in range(times):
        await asyncio.sleep(began + seconds * (number + 0.3) / times - time.monotonic())
        await asyncio.to_thread(plant.kill, "postgres", signal.SIGQUIT if number % 2 else signal.SIGKILL)
    await load
    assert plant.endings("postgres") == before + times
    await recorder.settle()
    assert [plant.part("gateway"), plant.part("worker")] == kept, "nothing but PostgreSQL was started again"
    assert plant.schedulers_run()


async def test_what_agencies_said_while_postgres_was_away_is_recorded_and_not_asked_again(
    plant: Plant, recorder: Recorder
) -> None:
    plant.agencies("slow 0.5")
    await recorder.load(4)
    await asyncio.to_thread(plant.calls_are_under_way)
    await asyncio.to_thread(plant.kill, "postgres", signal.SIGKILL)
    await recorder.settle()
    assert len(plant.calls()) == 4 * len(ADAPTED)
    assert plant.schedulers_run()


@pytest.mark.short
async def test_a_postgres_that_falls_silent_is_a_503_to_everybody_and_nothing_is_lost(
    plant: Plant, recorder: Recorder
) -> None:
    """Its connections stay open and nothing comes of them: neither of those that are busy, nor of new ones."""
    headers = {party: {"Authorization": f"Bearer {await recorder.key(party)}"} for party in ("SWP", "EA", "TARIAN")}
    asked = [("SWP", "/v1/referrals"), ("EA", "/v1/inbox?state=answered"), ("TARIAN", "/v1/queues")]
    assert await recorder.submit(["EA"]) is not None
    async with httpx.AsyncClient(base_url=plant.url, timeout=10) as client:

        async def ask() -> list[httpx.Response]:
            return await asyncio.gather(*(client.get(path, headers=headers[party]) for party, path in asked))

        assert {answer.status_code for answer in await ask()} == {200}
        load = asyncio.create_task(recorder.load(60))
        await asyncio.to_thread(until, lambda: len(recorder.receipts) > 5, 20, "the load is under way")
        with plant.silent("postgres"):
            # The first are known, and held by what they read; those who ask later by the look at their keys.
            for _ in range(3):
                answers = await ask()
                assert {answer.status_code for answer in answers} == {503}
                assert all("Retry-After" in answer.headers for answer in answers)
            ready = await client.get("/health/ready")
            assert (ready.status_code, ready.json()["checks"]["database"]) == (503, "away")
            assert (await client.get("/health/live")).status_code == 200
        await load
        assert {answer.status_code for answer in await ask()} == {200}
    await recorder.settle()
    assert plant.schedulers_run()
