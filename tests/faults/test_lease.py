"""With leases as long as in life: what a worker held is taken up when they end, and nothing is asked twice for less."""

import asyncio
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.referrals.lifecycle import LEASE_SECONDS
from tests.faults.conftest import recording
from tests.faults.plant import Plant, running
from tests.faults.recording import ADAPTED, PERSONAL, Recorder

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def patient() -> Iterator[Plant]:
    """A system whose leases are not shortened."""
    with (
        tempfile.TemporaryDirectory(prefix="gain-faults-") as folder,
        running(Path(folder), lease_seconds=LEASE_SECONDS) as plant,
    ):
        plant.broker.look_for(*PERSONAL)
        yield plant


@pytest.fixture
async def its_recorder(patient: Plant, request: pytest.FixtureRequest) -> AsyncIterator[Recorder]:
    """The recording client of that system."""
    async with recording(patient, request) as recorder:
        yield recorder


async def test_what_agencies_said_while_postgres_was_away_is_recorded_and_not_asked_again(
    patient: Plant, its_recorder: Recorder
) -> None:
    patient.agencies("slow 0.5")
    await its_recorder.load(4)
    await asyncio.to_thread(patient.calls_are_under_way)
    await asyncio.to_thread(patient.kill, "postgres", signal.SIGKILL)
    await its_recorder.settle(LEASE_SECONDS + 10)
    calls = Counter(dispatch for dispatch, _, _ in patient.calls())
    assert len(calls) == 4 * len(ADAPTED)
    assert max(calls.values()) == 1


async def test_what_a_killed_worker_held_moves_on_when_its_lease_ends(patient: Plant, its_recorder: Recorder) -> None:
    patient.die_at("called", times=2)
    await its_recorder.load(20)
    await its_recorder.settle(LEASE_SECONDS + 10)
    assert not patient.deaths_left()


async def test_a_worker_that_hangs_in_a_transaction_holds_up_its_work_for_a_while_only(
    patient: Plant, its_recorder: Recorder
) -> None:
    patient.die_at("recording", times=1, by=signal.SIGSTOP)
    await its_recorder.load(20)
    await its_recorder.settle(LEASE_SECONDS + 10)
    assert not patient.deaths_left()
