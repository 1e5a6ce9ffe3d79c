"""Agencies misbehave behind their adapter, or take longer than the lease: each dispatch ends once, none is stuck."""

import asyncio
from collections import Counter

import pytest

from tests.faults.plant import LEASE_SECONDS, Plant
from tests.faults.recording import ADAPTED, Recorder

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]


@pytest.mark.parametrize(
    ("behaviour", "number"),
    [
        pytest.param("babbling", 3, marks=pytest.mark.short),
        ("babbling", 10),
        ("refusing", 10),
        ("raising", 10),
        ("cancelling", 10),
        ("putting-off", 10),
        ("senseless", 10),
    ],
)
async def test_an_agency_that_misbehaves(plant: Plant, recorder: Recorder, behaviour: str, number: int) -> None:
    plant.agencies(behaviour)
    await recorder.load(number)
    await recorder.settle(60)
    assert Counter(kind for _, _, kind in plant.calls())[behaviour] > number * len(ADAPTED) / 2


@pytest.mark.short
async def test_an_agency_that_is_still_at_work_when_its_lease_ends(plant: Plant, recorder: Recorder) -> None:
    """Its first answer comes after the dispatch was given to another worker: fenced off, and asked for again."""
    plant.agencies(f"slow {LEASE_SECONDS + 2}")
    loop = asyncio.get_running_loop()
    began = loop.time()
    receipts = [await recorder.submit(["HMRC"]) for _ in range(5)]
    while len(plant.calls()) <= len(receipts):
        assert loop.time() < began + 20, "no lease ended"
        await asyncio.sleep(0.1)
    assert loop.time() >= began + LEASE_SECONDS, "asked again before the lease ended: the call failed, and was not slow"
    plant.agencies("well")
    await recorder.settle()
    called = Counter(dispatch for dispatch, _, _ in plant.calls())
    assert len(called) == len(receipts)
    assert max(called.values()) > 1
