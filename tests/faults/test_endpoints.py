"""An agency's endpoint fails in every way: no other agency waits for it, and its own items are in its inbox."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from app.parties.channels import set_push_endpoint
from app.parties.hosts import ApprovedHosts
from tests.faults.endpoint import BEHAVIOURS, RETRY_AFTER_SECONDS, PushedAgency
from tests.faults.plant import Plant, until
from tests.faults.recording import ADAPTED, Recorder
from tests.workers.outside import ADMINISTRATOR, OK

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

AGENCY = "NRW"
_TOLD_AGAIN = ("429",)
"""After the time that it asked for. A 2xx has taken the notice, however long, large or false its body is."""
_HOSTS = ApprovedHosts.parse("127.0.0.1=127.0.0.0/8", development=True)
_CHANNEL = text("UPDATE party SET channel = :channel WHERE code = :agency")
_ENDED = text("SELECT disabled_reason FROM push_endpoint WHERE agency = :agency")


@pytest.fixture
async def pushed(recorder: Recorder) -> AsyncIterator[PushedAgency]:
    """The endpoint of an agency that is pushed to; it works, and the worker knows of it."""
    endpoint = PushedAgency()
    try:
        await recorder.key(AGENCY)
        async with recorder.database.transaction() as connection:
            await connection.execute(_CHANNEL, {"channel": "push", "agency": AGENCY})
            await set_push_endpoint(connection, ADMINISTRATOR, _HOSTS, AGENCY, endpoint.url)
        first = await recorder.submit([AGENCY])
        assert first is not None
        # Every worker learns of the channel within 5 s; what was sent out before is adopted after 15 ticks.
        await asyncio.to_thread(until, lambda: endpoint.calls, 60, "the agency is told")
        yield endpoint
    finally:
        async with recorder.database.transaction() as connection:
            await connection.execute(_CHANNEL, {"channel": "inbox", "agency": AGENCY})
        await asyncio.to_thread(endpoint.stop)


async def _answer_everything(recorder: Recorder) -> None:
    """The agency opens its inbox, and answers all that is in it."""
    for receipt in [one for one in recorder.receipts if one.kind == "referral"]:
        dispatch = (await recorder.opened(receipt.id))[AGENCY]
        answer = await recorder.answer(AGENCY, dispatch["id"], receipt.id, {"outcome": "no_hit", "summary": "Nothing."})
        assert answer is not None
        assert answer.status_code == 201


@pytest.mark.parametrize("kind", [kind for kind in BEHAVIOURS if kind != "410"])
async def test_an_endpoint_that_fails(plant: Plant, recorder: Recorder, pushed: PushedAgency, kind: str) -> None:
    behaves, before = BEHAVIOURS[kind], plant.footprint()["worker"]
    pushed.behave(behaves)
    await recorder.load(10, addressees=[AGENCY, *ADAPTED])
    assert await recorder.moved_on(20), "all others have answered"
    await asyncio.to_thread(until, lambda: sum(what is behaves for *_, what in pushed.calls) >= 5, 30, "five calls")
    assert plant.footprint()["worker"].mebibytes - before.mebibytes < 100, "it does not hold what it is sent"
    pushed.behave(OK)
    if kind in _TOLD_AGAIN:
        failed = {about for _, about, what in pushed.calls if what is behaves}
        await asyncio.to_thread(until, lambda: all(len(pushed.times(one)) > 1 for one in failed), 30, "all told again")
    await _answer_everything(recorder)
    await recorder.settle()
    _keeps_to_retry_after(pushed, kind)


def _keeps_to_retry_after(pushed: PushedAgency, kind: str) -> None:
    asked_to_wait = [(at, about) for at, about, what in pushed.calls if what is BEHAVIOURS["429"]]
    assert bool(asked_to_wait) == (kind == "429")
    for at, about in asked_to_wait:
        assert all(not 0 < later - at < RETRY_AFTER_SECONDS for later in pushed.times(about))


@pytest.mark.short
async def test_an_endpoint_that_fails_in_every_way_in_turn(recorder: Recorder, pushed: PushedAgency) -> None:
    pushed.behave(*(behaves for kind, behaves in BEHAVIOURS.items() if kind != "410"))
    await recorder.load(10, addressees=[AGENCY, *ADAPTED])
    assert await recorder.moved_on(20), "all others have answered"
    await asyncio.to_thread(until, lambda: len(pushed.calls) > len(BEHAVIOURS), 30, "each of them was met")
    pushed.behave(OK)
    await _answer_everything(recorder)
    await recorder.settle()


@pytest.mark.short
async def test_an_endpoint_that_is_gone_is_left_alone_and_shown(recorder: Recorder, pushed: PushedAgency) -> None:
    pushed.behave(BEHAVIOURS["410"])
    await recorder.load(10, addressees=[AGENCY, *ADAPTED])
    assert await recorder.moved_on(20), "all others have answered"
    deadline = time.monotonic() + 20
    while (reason := await _ended(recorder)) is None:
        assert time.monotonic() < deadline, "the endpoint is still used"
        await asyncio.sleep(0.1)
    assert "410" in reason
    await asyncio.sleep(6)  # every worker has learnt of it by now
    known = len(pushed.calls)
    await recorder.load(5, addressees=[AGENCY, *ADAPTED])
    assert await recorder.moved_on(20), "all others have answered"
    assert len(pushed.calls) == known, "it is not called any more"
    await _answer_everything(recorder)
    await recorder.settle()


async def _ended(recorder: Recorder) -> str | None:
    async with recorder.database.transaction() as connection:
        reason = await connection.scalar(_ENDED, {"agency": AGENCY})
    return None if reason is None else str(reason)
