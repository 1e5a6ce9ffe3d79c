"""PostgreSQL crashes under load: what was acknowledged is there, and everything that runs goes on by itself."""

import asyncio
import signal
import time

import pytest

from tests.faults.plant import Plant
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
