"""The broker fails in every way: nobody who submits notices, and the scheduler does the work meanwhile."""

import asyncio
import os
import signal
import statistics
from collections.abc import Sequence
from random import Random

import pytest

from tests.faults.plant import Plant, until
from tests.faults.recording import Recorder

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

_MESSAGES = "work"  # the list in which the broker keeps the wake-ups


def _slow(recorder: Recorder, since: int) -> float:
    """The median seconds of the POSTs since then; each was taken at once."""
    attempts = recorder.attempts[since:]
    assert {attempt.came for attempt in attempts} == {201}
    return statistics.median(attempt.seconds for attempt in attempts)


@pytest.mark.parametrize(
    ("how", "seconds"),
    [pytest.param(["deaf", "away"], 3, marks=pytest.mark.short), (["deaf"], 60), (["away"], 60)],
    ids=["deaf, then away", "deaf for a minute", "away for a minute"],
)
async def test_a_broker_that_is_deaf_or_away(
    plant: Plant, recorder: Recorder, how: Sequence[str], seconds: float
) -> None:
    await recorder.load(20)
    usual = _slow(recorder, 0)
    for fault in how:
        await asyncio.to_thread(plant.broker.deaf if fault == "deaf" else plant.broker.away)
        began, before = asyncio.get_running_loop().time(), len(recorder.attempts)
        await recorder.load(20)
        assert _slow(recorder, before) < 2 * usual + 0.05
        assert await recorder.moved_on(30), "the scheduler does the work"
        await asyncio.sleep(began + seconds - asyncio.get_running_loop().time())
    await asyncio.to_thread(plant.broker.back)
    await recorder.load(10)
    await asyncio.to_thread(until, plant.worker_hears, 40, "the worker hears the broker again")
    await recorder.settle()


@pytest.mark.short
async def test_without_a_broker_and_a_scheduler_a_worker_that_polls_does_everything(
    plant: Plant, recorder: Recorder
) -> None:
    await asyncio.to_thread(plant.scale_schedulers, 0)
    await asyncio.to_thread(plant.broker.away)
    for process in plant.worker_children():
        process.suspend()
    with plant.beside("worker", "--no-broker"):
        plant.die_at("called", times=1)
        await recorder.load(40)
        assert await recorder.moved_on(20), "the worker that polls does everything"
        assert not plant.deaths_left()
    await recorder.settle()


@pytest.mark.parametrize("times", [pytest.param(2, marks=pytest.mark.short), 10])
async def test_a_broker_that_forgets(plant: Plant, recorder: Recorder, times: int) -> None:
    random = Random(times)
    load = asyncio.create_task(recorder.load(30 * times))
    for number in range(times):
        await asyncio.sleep(random.uniform(0.3, 1.2))
        await asyncio.to_thread(plant.broker.flush if number % 2 else plant.broker.restart_empty)
    await load
    assert {attempt.came for attempt in recorder.attempts} == {201}
    await asyncio.to_thread(until, plant.worker_hears, 40, "the worker hears the broker again")
    await recorder.settle()


@pytest.mark.short
async def test_every_message_comes_five_times_and_out_of_order(plant: Plant, recorder: Recorder) -> None:
    worker = plant.worker_children()
    for process in worker:
        os.kill(process.pid, signal.SIGSTOP)
    await recorder.load(40)
    with plant.broker.client() as broker:
        messages = broker.lrange(_MESSAGES, 0, -1) * 5
        Random(5).shuffle(messages)
        assert len(messages) >= 5
        broker.delete(_MESSAGES)
        broker.rpush(_MESSAGES, *messages)
    for process in worker:
        os.kill(process.pid, signal.SIGCONT)
    await recorder.settle()
