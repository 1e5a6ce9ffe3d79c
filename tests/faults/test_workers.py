"""Workers die, at random moments and at every step: what they held is taken up by others, and done once."""

import asyncio
import time
from random import Random

import pytest

from tests.faults.inject import WORKER_POINTS
from tests.faults.plant import Plant, until
from tests.faults.recording import Recorder

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

_EXITS = ("fanned-out", "claimed", "calling", "called", "recorded")
_CLAIMS = ("claiming", "claimed")
"""What is met only where something is left to claim: bodies that answer at once are taken as they are fanned out."""


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
    plant.agencies("slow 0.5")
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
    calls = [dispatch for dispatch, *_ in plant.calls()]
    assert len(calls) > len(set(calls)), "no death met a call"


@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=pytest.mark.short if point == "called" else ()) for point in WORKER_POINTS]
)
async def test_a_worker_child_killed_at_a_named_point(plant: Plant, recorder: Recorder, point: str) -> None:
    plant.die_at(point, times=3)
    await _work(plant, recorder, point)
    await recorder.settle()


@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=pytest.mark.short if point == "recording" else ()) for point in WORKER_POINTS]
)
async def test_a_worker_killed_at_a_named_point_with_its_whole_group(
    plant: Plant, recorder: Recorder, point: str
) -> None:
    before = plant.endings("worker")
    plant.die_at(point, times=2, group=True)
    await _work(plant, recorder, point)
    await recorder.settle()
    await asyncio.to_thread(until, lambda: plant.endings("worker") == before + 2, 5, "the worker ended twice")


@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=pytest.mark.short if point == "claimed" else ()) for point in _EXITS]
)
async def test_a_worker_child_that_exits_at_a_named_point(plant: Plant, recorder: Recorder, point: str) -> None:
    """Without an error, as a library that calls `exit` makes it: after a commit, before or after a call."""
    plant.exit_at(point, times=3)
    await _work(plant, recorder, point)
    await recorder.settle()


async def _work(plant: Plant, recorder: Recorder, point: str, seconds: float = 60) -> None:
    """Give them work until all have met their point: on a busy machine a scheduler may have done it meanwhile."""
    if point in _CLAIMS:
        plant.agencies("putting-off")
    await recorder.load(20)
    deadline = time.monotonic() + seconds
    while plant.deaths_left():
        assert time.monotonic() < deadline, f"still alive: {plant.deaths_left()}"
        await recorder.submit()
        await asyncio.sleep(0.5)
    plant.agencies("well")
