"""The connection is lost during a COMMIT, and nobody knows whether it was done: asked again, it is done once."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.faults.beside import gateway
from tests.faults.commits import CommitCutter, cutter
from tests.faults.plant import Plant, until
from tests.faults.recording import Recorder

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

NO_HIT = {"outcome": "no_hit", "summary": "Nothing."}


@pytest.fixture
def way(plant: Plant) -> Iterator[CommitCutter]:
    """A way to the system's database that breaks when told to."""
    with cutter(plant.database_url) as made:
        yield made


@pytest.fixture
async def cut_off(plant: Plant, way: CommitCutter) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that reaches the database by that way."""
    async with gateway(plant, GAIN_DATABASE_URL=way.url) as client:
        yield client


@pytest.mark.parametrize("times", [pytest.param(6, marks=pytest.mark.short), 60])
async def test_a_referral_whose_commit_is_cut_off_is_stored_once(
    recorder: Recorder, way: CommitCutter, cut_off: httpx.AsyncClient, times: int
) -> None:
    recorder.use(cut_off)
    way.cut(times, every=2)
    await recorder.load(10 * times, per_second=30)
    assert way.done == times
    assert {attempt.came for attempt in recorder.attempts} >= {201, 503}, "who was cut off was told to ask again"
    await recorder.settle()


@pytest.mark.short
async def test_an_answer_and_a_cancellation_whose_commits_are_cut_off_count_once(
    recorder: Recorder, way: CommitCutter, cut_off: httpx.AsyncClient
) -> None:
    made = [await recorder.submit(["EA"]) for _ in range(8)]
    receipts = [receipt for receipt in made if receipt is not None]
    dispatches = [(await recorder.opened(receipt.id))["EA"]["id"] for receipt in receipts]
    recorder.use(cut_off)
    way.cut(len(receipts), every=2)
    for number, (receipt, dispatch) in enumerate(zip(receipts, dispatches, strict=True)):
        if number % 2:
            done = await recorder.cancel(receipt)
        else:
            done = await recorder.answer("EA", dispatch, receipt.id, NO_HIT)
        assert done is not None
        assert done.is_success
    assert way.done >= 4
    await recorder.settle()


async def test_workers_and_a_scheduler_whose_commits_are_cut_off_do_everything_once(
    plant: Plant, recorder: Recorder, way: CommitCutter
) -> None:
    await asyncio.to_thread(plant.scale_schedulers, 0)
    with (
        plant.beside("worker", GAIN_DATABASE_URL=way.url),
        plant.beside("scheduler", GAIN_DATABASE_URL=way.url) as scheduler,
    ):
        for process in plant.worker_children():
            process.suspend()
        way.cut(40, every=3)
        await recorder.load(60)
        assert await recorder.moved_on(60), "the other worker does everything"
        await asyncio.to_thread(until, lambda: way.done == 40, 60, "forty commits are cut off")
        assert scheduler.poll() is None
        for process in plant.worker_children():
            process.resume()
        await recorder.settle()
