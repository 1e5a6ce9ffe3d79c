"""Races over one dispatch: the first answer wins, and what was cancelled is not answered."""

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.faults.recording import Receipt, Recorder

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240), pytest.mark.short]

ROUNDS = 15


async def _asked(recorder: Recorder) -> tuple[Receipt, str]:
    receipt = await recorder.submit(["EA"])
    assert receipt is not None
    return receipt, (await recorder.opened(receipt.id))["EA"]["id"]


async def _kept(recorder: Recorder, dispatches: list[str]) -> dict[str, str]:
    """How the answers that came too late for these are flagged."""
    flagged = text("SELECT dispatch_id, flag FROM response WHERE dispatch_id = ANY(:ids) AND flag IS NOT NULL")
    async with recorder.database.transaction() as connection:
        rows = (await connection.execute(flagged, {"ids": [UUID(one) for one in dispatches]})).all()
    assert len(rows) == len({row.dispatch_id for row in rows}), "each is kept once"
    return {str(row.dispatch_id): row.flag for row in rows}


async def test_two_different_answers_at_once(recorder: Recorder) -> None:
    asked = []
    for _ in range(ROUNDS):
        receipt, dispatch = await _asked(recorder)
        asked.append(dispatch)
        answers = await asyncio.gather(
            *(
                recorder.answer("EA", dispatch, receipt.id, {"outcome": "no_hit", "summary": summary}, fine=[409])
                for summary in ("Nothing here.", "Nothing there.")
            )
        )
        assert sorted(answer.status_code for answer in answers if answer is not None) == [201, 409]
    assert await _kept(recorder, asked) == dict.fromkeys(asked, "conflict")
    await recorder.settle()


async def test_an_answer_that_races_with_the_cancellation(recorder: Recorder) -> None:
    outcomes, late = set(), []
    for number in range(ROUNDS):
        receipt, dispatch = await _asked(recorder)

        async def later(seconds: float, receipt: Receipt = receipt) -> int:
            await asyncio.sleep(seconds)
            answer = await recorder.cancel(receipt, fine=[409])
            assert answer is not None
            return answer.status_code

        body = {"outcome": "no_hit", "summary": "Nothing."}
        answer, cancelled = await asyncio.gather(
            recorder.answer("EA", dispatch, receipt.id, body, fine=[410]), later(number % 5 / 1000)
        )
        assert answer is not None
        outcomes.add((answer.status_code, cancelled))
        if answer.status_code == 410:
            late.append(dispatch)
    assert outcomes <= {(201, 409), (410, 200)}, "the one or the other, never both and never neither"
    assert await _kept(recorder, late) == dict.fromkeys(late, "late")
    await recorder.settle()


async def test_an_answer_after_the_cancellation_is_kept_and_changes_nothing(recorder: Recorder) -> None:
    receipt, dispatch = await _asked(recorder)
    await recorder.cancel(receipt)
    answer = await recorder.answer("EA", dispatch, receipt.id, {"outcome": "no_hit"}, fine=[410])
    assert answer is not None
    assert answer.status_code == 410
    assert (await recorder.dispatches(receipt.id))["EA"]["state"] == "cancelled"
    assert await _kept(recorder, [dispatch]) == {dispatch: "late"}
    await recorder.settle()
