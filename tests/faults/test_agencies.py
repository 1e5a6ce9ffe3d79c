"""Agencies misbehave behind their adapter, or take longer than the lease: each dispatch ends once, none is stuck."""

import asyncio
from collections import Counter

import pytest

from tests.faults.plant import LEASE_SECONDS, Plant
from tests.faults.recording import Recorder

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param("babbling", marks=pytest.mark.short),
        "refusing",
        "raising",
        "cancelling",
        "putting-off",
        "senseless",
    ],
)
async def test_an_agency_that_misbehaves(plant: Plant, recorder: Recorder, behaviour: str) -> None:
    plant.agencies(behaviour)
    await recorder.load(10)
    await recorder.settle(60)
    assert Counter(kind for _, _, kind in plant.calls())[behaviour] > 10 * 5


@pytest.mark.short
async def test_an_agency_that_is_still_at_work_when_its_lease_ends(plant: Plant, recorder: Recorder) -> None:
    """Its first answer comes after the dispatch was given to another worker: fenced off, and asked for again."""
    plant.agencies(f"slow {LEASE_SECONDS + 2}")
    receipts = [await recorder.submit(["HMRC"]) for _ in range(5)]
    deadline = asyncio.get_running_loop().time() + 20
    while len(plant.calls()) <= len(receipts):
        assert asyncio.get_running_loop().time() < deadline, "no lease ended"
        await asyncio.sleep(0.1)
    plant.agencies("well")
    await recorder.settle()
    called = Counter(dispatch for dispatch, _, _ in plant.calls())
    assert len(called) == len(receipts)
    assert max(called.values()) > 1
