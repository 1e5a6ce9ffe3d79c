"""The gateway dies: a client that asks again with its key has one referral, and an agency one answer."""

import asyncio
from random import Random

import pytest

from tests.faults.plant import Plant
from tests.faults.recording import Recorder

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]


@pytest.mark.parametrize("times", [pytest.param(1, marks=pytest.mark.short), 10])
async def test_a_gateway_killed_at_random_moments(plant: Plant, recorder: Recorder, times: int) -> None:
    random = Random(times)
    load = asyncio.create_task(recorder.load(60 * times, per_second=30))
    for _ in range(times):
        await asyncio.sleep(random.uniform(0.5, 2.0))
        await asyncio.to_thread(plant.kill, "gateway")
    await load
    await recorder.settle()


@pytest.mark.parametrize("point", ["storing", pytest.param("stored", marks=pytest.mark.short)])
async def test_a_gateway_that_dies_around_the_commit_of_a_referral(
    plant: Plant, recorder: Recorder, point: str
) -> None:
    plant.die_at(point, times=1)
    await recorder.load(30)
    assert not plant.deaths_left()
    assert any(isinstance(attempt.came, str) for attempt in recorder.attempts), "somebody got no answer"
    await recorder.settle()


@pytest.mark.parametrize("point", ["answering", pytest.param("answered", marks=pytest.mark.short)])
async def test_a_gateway_that_dies_around_the_commit_of_an_answer(plant: Plant, recorder: Recorder, point: str) -> None:
    receipt = await recorder.submit(["EA"])
    assert receipt is not None
    dispatch = (await recorder.opened(receipt.id))["EA"]
    plant.die_at(point, times=1)
    answer = await recorder.answer("EA", dispatch["id"], receipt.id, {"outcome": "no_hit", "summary": "Nothing."})
    assert answer is not None
    assert answer.is_success
    assert not plant.deaths_left()
    await recorder.settle()


@pytest.mark.parametrize("point", ["cancelling", "cancelled"])
async def test_a_gateway_that_dies_around_the_commit_of_a_cancellation(
    plant: Plant, recorder: Recorder, point: str
) -> None:
    receipt = await recorder.submit(["EA"])
    assert receipt is not None
    await recorder.opened(receipt.id)
    plant.die_at(point, times=1)
    answer = await recorder.cancel(receipt)
    assert answer is not None
    assert answer.is_success
    assert answer.headers.get("Idempotent-Replayed") == ("true" if point == "cancelled" else None)
    assert not plant.deaths_left()
    await recorder.settle()


@pytest.mark.short
async def test_fifty_equal_requests_at_once_make_one_referral(recorder: Recorder) -> None:
    assert len(set(await recorder.submit_together(50))) == 1
    await recorder.settle()
