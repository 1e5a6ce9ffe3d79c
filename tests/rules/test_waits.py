"""How long a hand-over that failed waits: as planned or as asked; what failed together does not come back together."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from app.crypto.keys import Keys
from app.referrals.delivery import MOST_TRIES, Postponed, retry_in
from app.referrals.lifecycle import HandOver
from tests.conftest import SECRET
from workers.adapters.contract import Adapter, Envelope, Result, TransportError
from workers.hand_over import Call, Handed, hand_over

AT = datetime(2026, 11, 22, tzinfo=UTC)


class Failing(Adapter):
    """An agency whose system fails, and may say when to come again."""

    def __init__(self, retry_after: float | None, *, permanent: bool = False) -> None:
        self._error = TransportError("it failed", permanent=permanent, retry_after=retry_after)

    async def deliver(self, envelope: Envelope) -> Result:
        raise self._error


async def failed(adapter: Adapter, failures: int = 1) -> Handed:
    item = HandOver({}, uuid4(), "HMRC", 1, 2, failures, failures, AT, AT, uuid4(), "GAIN-2026-000001", "SWP")
    return await hand_over(item, adapter, Keys(SECRET.encode()))


@pytest.mark.parametrize(("asked", "failures"), [(None, 1), (1.0, 2), (120.0, 1), (86_400.0, 3)])
async def test_what_failed_together_waits_as_planned_or_asked_and_comes_back_apart(
    asked: float | None, failures: int
) -> None:
    planned = retry_in(failures)
    assert planned is not None
    least, waits = max(planned, asked or 0), []
    for _ in range(20):
        handed = await failed(Failing(asked), failures)
        assert isinstance(handed.finding, Postponed)
        assert handed.call is Call.FAILED
        waits.append(handed.finding.seconds)
    assert len(set(waits)) == len(waits)
    assert all(least <= wait <= 1.2 * least for wait in waits)


@pytest.mark.parametrize("failures", [1, MOST_TRIES])
async def test_who_asks_for_time_is_left_alone_for_it_after_the_last_try_too(failures: int) -> None:
    asked = [(await failed(Failing(3_000.0), failures)).leave_alone for _ in range(20)]
    assert len(set(asked)) == len(asked)
    assert all(3_000.0 <= seconds <= 3_600.0 for seconds in asked)


async def test_who_asks_for_nothing_or_has_spoken_for_good_is_left_alone_for_no_time() -> None:
    for adapter in (Failing(None), Failing(3_000.0, permanent=True)):
        assert (await failed(adapter)).leave_alone == 0.0
    absurd = await failed(Failing(float("nan")))
    assert 86_400 <= absurd.leave_alone <= 1.2 * 86_400
