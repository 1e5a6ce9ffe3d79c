"""None, one or three schedulers: without one the wake-ups do, of several one leads, and another when that one dies."""

import asyncio
import signal

import pytest
from sqlalchemy import text

from tests.faults.plant import Plant
from tests.faults.recording import Recorder
from workers.tasks.scheduler import LEADER

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

_LEADERS = text("""
    SELECT pid FROM pg_locks
     WHERE locktype = 'advisory' AND granted AND objsubid = 1
       AND classid::bigint << 32 | objid::bigint = CAST(:key AS bigint)
""")


async def _leaders(recorder: Recorder) -> list[int]:
    async with recorder.database.transaction() as connection:
        return [row.pid for row in await connection.execute(_LEADERS, {"key": LEADER})]


async def _one_leads(recorder: Recorder, other_than: int | None = None, seconds: float = 15) -> int:
    deadline = asyncio.get_running_loop().time() + seconds
    while len(leaders := await _leaders(recorder)) != 1 or leaders == [other_than]:
        assert asyncio.get_running_loop().time() < deadline, f"no scheduler leads, or several: {leaders}"
        await asyncio.sleep(0.1)
    return leaders[0]


async def test_without_a_scheduler_the_wake_ups_do(plant: Plant, recorder: Recorder) -> None:
    await asyncio.to_thread(plant.scale_schedulers, 0)
    await recorder.load(40)
    assert await recorder.moved_on(20)
    assert await _leaders(recorder) == []
    await recorder.settle()


@pytest.mark.short
async def test_what_was_left_without_wake_up_and_scheduler_is_found_by_the_next_one(
    plant: Plant, recorder: Recorder
) -> None:
    await asyncio.to_thread(plant.scale_schedulers, 0)
    await asyncio.to_thread(plant.broker.away)
    await recorder.load(20)
    await asyncio.to_thread(plant.broker.back)
    await asyncio.to_thread(plant.broker.flush)
    await asyncio.to_thread(plant.scale_schedulers, 1)
    await recorder.settle()


@pytest.mark.short
async def test_of_three_schedulers_one_leads_and_another_when_it_is_killed(plant: Plant, recorder: Recorder) -> None:
    leader = await _one_leads(recorder)
    await asyncio.to_thread(plant.scale_schedulers, 3)
    load = asyncio.create_task(recorder.load(60))
    await asyncio.sleep(1)
    await asyncio.to_thread(plant.scale_schedulers, 2)
    await _one_leads(recorder, other_than=leader)
    await load
    await recorder.settle()
    assert plant.schedulers_run()


async def test_a_leader_that_has_lost_its_lock_leads_no_more(plant: Plant, recorder: Recorder) -> None:
    """Its connection was cut, as a fail-over or a firewall does; nobody else is there to take the lock."""
    leader = await _one_leads(recorder)
    async with recorder.database.transaction() as connection:
        await connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": leader})
    await _one_leads(recorder, other_than=leader)
    await recorder.load(20)
    await recorder.settle()
    assert plant.schedulers_run()


async def test_a_leader_that_hangs_stops_nothing(plant: Plant, recorder: Recorder) -> None:
    await asyncio.to_thread(plant.scale_schedulers, 3)
    plant.signal_schedulers(signal.SIGSTOP)
    await recorder.load(40)
    assert await recorder.moved_on(20)
    plant.signal_schedulers(signal.SIGCONT)
    await recorder.settle()
