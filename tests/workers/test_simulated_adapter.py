"""The channel to the simulated bodies: it answers when the body would have, and loses nothing with its process."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.referrals.documents import SubmittedResponse
from workers.adapters.contract import Answered, Envelope, Later, Refused, TransportError
from workers.adapters.simulated import SimulatedAdapter, prepare
from workers.simulation.bodies import bodies
from workers.simulation.characters import CHARACTERS
from workers.simulation.roster import SIMULATED_BY_ADAPTER
from workers.simulation.scenario import random_referrals

SEED = 20151112


@pytest.fixture(scope="module", autouse=True)
def _prepared() -> None:
    prepare(SEED)


@pytest.fixture(scope="module")
def referral() -> dict[str, Any]:
    return random_referrals(SEED, 1)[0]


def _envelope(referral: dict[str, Any], agency: str = "HMRC", **more: Any) -> Envelope:
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "dispatch_id": uuid4(),
        "reference": "GAIN-2026-000001",
        "agency": agency,
        "round": 1,
        "priority": "routine",
        "attempt": 2,
        "delivered_at": now,
        "due_at": now + timedelta(days=14),
        **more,
    }
    return Envelope(referral=referral, **fields)


@pytest.mark.parametrize("agency", sorted(SIMULATED_BY_ADAPTER))
async def test_at_instant_speed_every_body_answers_at_the_first_hand_over(
    referral: dict[str, Any], agency: str
) -> None:
    adapter = SimulatedAdapter(SEED, speed=0)
    for _ in range(30):
        result = await adapter.deliver(_envelope(referral, agency, attempt=1))
        assert isinstance(result, Answered)
        SubmittedResponse.model_validate(result.response)


async def test_a_body_that_needs_days_is_asked_again_later_and_then_has_answered(referral: dict[str, Any]) -> None:
    adapter = SimulatedAdapter(SEED, speed=20_000)
    waiting = _envelope(referral)
    first = await adapter.deliver(waiting)
    assert isinstance(first, Later)
    assert 0 < first.seconds < 30
    asked_then = _envelope(
        referral, dispatch_id=waiting.dispatch_id, delivered_at=waiting.delivered_at - timedelta(seconds=40), attempt=3
    )
    assert isinstance(await adapter.deliver(asked_then), Answered)


async def test_another_process_gives_the_same_answer(referral: dict[str, Any]) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    envelope = _envelope(referral, delivered_at=long_ago)
    before = await SimulatedAdapter(SEED, speed=20_000).deliver(envelope)
    bodies.cache_clear()
    assert await SimulatedAdapter(SEED, speed=20_000).deliver(envelope) == before


async def test_an_outage_fails_the_first_hand_over_and_not_the_next(referral: dict[str, Any]) -> None:
    adapter = SimulatedAdapter(SEED, speed=1e12)
    down = _dispatch_that(fails="outage")
    with pytest.raises(TransportError) as failure:
        await adapter.deliver(_envelope(referral, "DVLA", dispatch_id=down, attempt=1))
    assert not failure.value.permanent
    assert isinstance(await adapter.deliver(_envelope(referral, "DVLA", dispatch_id=down, attempt=2)), Answered)


async def test_a_malformed_reply_is_followed_by_a_proper_one(referral: dict[str, Any]) -> None:
    adapter = SimulatedAdapter(SEED, speed=1e12)
    garbled = _dispatch_that(fails="malformed")
    first = await adapter.deliver(_envelope(referral, "DVLA", dispatch_id=garbled, attempt=1))
    second = await adapter.deliver(_envelope(referral, "DVLA", dispatch_id=garbled, attempt=2))
    assert isinstance(first, Answered)
    assert isinstance(second, Answered)
    with pytest.raises(ValueError, match="validation error"):
        SubmittedResponse.model_validate(first.response)
    SubmittedResponse.model_validate(second.response)


async def test_a_body_that_is_not_simulated_is_refused(referral: dict[str, Any]) -> None:
    assert isinstance(await SimulatedAdapter(SEED, speed=0).deliver(_envelope(referral, "EA")), Refused)


def _dispatch_that(*, fails: str) -> UUID:
    body = bodies(SEED, SIMULATED_BY_ADAPTER)[CHARACTERS["DVLA"].code]
    return next(UUID(int=number) for number in range(10_000) if body.failing(str(UUID(int=number)), 1) == fails)
