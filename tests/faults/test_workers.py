"""Workers die, at random moments and at every step: what they held is taken up by others, and done once."""

import asyncio
from random import Random

import pytest

from tests.faults.inject import WORKER_POINTS
from tests.faults.plant import Plant
from tests.faults.recording import Recorder

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]


@pytest.mark.parametrize(
    ("whom", "times"),
    [
        pytest.param("child", 3, marks=pytest.mark.short),
        pytest.param("group", 1, marks=pytest.mark.short),
        ("child", 10),
        ("group", 10),
    ],
)
async def test_a_worker_killed_at_random_moments(plant: Plant, recorder: Recorder, whom: str, times: int) -> None:
    random = Random(f"{whom} {times}")
    load = asyncio.create_task(recorder.load(15 * times, per_second=15))
    for _ in range(times):
        await asyncio.sleep(random.uniform(0.1, 1.0))
        if whom == "child":
            await asyncio.to_thread(plant.kill_worker_child, random)
        else:
            await asyncio.to_thread(plant.kill_worker_group)
    await load
    await recorder.settle()


@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=pytest.mark.short if point == "called" else ()) for point in WORKER_POINTS]
)
async def test_a_worker_that_dies_at_a_named_point(plant: Plant, recorder: Recorder, point: str) -> None:
    plant.die_at(point, times=3)
    await recorder.load(20)
    await recorder.settle()
    assert not plant.deaths_left()
