"""Races over one dispatch: the first answer wins, and what was cancelled is not answered."""

import asyncio

import pytest

from tests.faults.recording import Receipt, Recorder

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240), pytest.mark.short]

ROUNDS = 15


async def _asked(recorder: Recorder) -> tuple[Receipt, str]:
    receipt = await recorder.submit(["EA"])
    assert receipt is not None
    return receipt, (await recorder.opened(receipt.id))["EA"]["id"]


async def test_two_different_answers_at_once(recorder: Recorder) -> None:
    for _ in range(ROUNDS):
        receipt, dispatch = await _asked(recorder)
        answers = await asyncio.gather(
            *(
                recorder.answer("EA", dispatch, receipt.id, {"outcome": "no_hit", "summary": summary}, fine=[409])
                for summary in ("Nothing here.", "Nothing there.")
            )
        )
        assert sorted(answer.status_code for answer in answers if answer is not None) == [201, 409]
    await recorder.settle()


async def test_an_answer_that_races_with_the_cancellation(recorder: Recorder) -> None:
    outcomes = set()
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
    assert outcomes <= {(201, 409), (410, 200)}, "the one or the other, never both and never neither"
    await recorder.settle()


async def test_an_answer_after_the_cancellation_is_kept_and_changes_nothing(recorder: Recorder) -> None:
    receipt, dispatch = await _asked(recorder)
    await recorder.cancel(receipt)
    answer = await recorder.answer("EA", dispatch, receipt.id, {"outcome": "no_hit"}, fine=[410])
    assert answer is not None
    assert answer.status_code == 410
    assert (await recorder.dispatches(receipt.id))["EA"]["state"] == "cancelled"
    await recorder.settle()
