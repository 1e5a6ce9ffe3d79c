"""The pump with every kind of body behind its adapter: what comes of a hand-over, and what survives its failing."""

import asyncio
import io
import math
from collections.abc import Mapping
from typing import Any
from typing import cast as typed

import httpx
import pytest
import structlog

from app.crypto.keys import Keys
from app.db import Database
from app.referrals import delivery, lifecycle
from app.referrals.delivery import MOST_TRIES, RETRY_SECONDS, Postponed, Settled, retry_in
from app.referrals.lifecycle import Answer, GivenUp, HandOver, Slot
from app.referrals.notices import NoticeFailed
from tests.acts import Document, actions, change, inbox, opened, rows, submitted
from tests.conftest import HIT, SECRET, Cast
from tests.workers.bodies import GAIN, LONGER, NO_HIT, Body, Stuck, dispatch, fall_due, run, taken
from workers import hand_over
from workers.adapters.contract import Adapter, Answered, Delivered, Envelope, Later, Refused, Result, TransportError
from workers.hand_over import Call

pytestmark = pytest.mark.usefixtures("everything_holds")


async def test_an_answer_is_recorded_as_the_agencys(force: httpx.AsyncClient, database: Database) -> None:
    body = Body(Answered(HIT))
    await run(database, HMRC=body)
    found = await dispatch(database)
    assert (found["state"], found["outcome"], found["referral"], found["attempt"]) == (
        "answered",
        "hit",
        "completed",
        1,
    )
    [envelope] = body.seen
    assert envelope.referral["subject"]["family_name"] == "Quill"
    assert not {"addressees", "client_reference"} & envelope.referral.keys()
    assert (envelope.agency, envelope.priority, envelope.attempt, envelope.round) == ("HMRC", "routine", 1, 1)
    [listed] = (await force.get("/v1/referrals")).json()["items"]
    [response] = (await force.get(f"/v1/referrals/{listed['id']}/responses")).json()["items"]
    assert (response["agency"], response["outcome"]) == ("HMRC", "hit")
    assert await actions(database, "disclosure") == ["dispatch.delivered", "responses.read"]
    assert [row["agency"] for row in await rows(database, "SELECT agency FROM agency_seen")] == ["HMRC"]


async def test_what_is_answered_over_http_is_the_same_as_by_an_adapter(
    cast: Cast, force: httpx.AsyncClient, database: Database
) -> None:
    await run(database, HMRC=Body(Answered(HIT)))
    found = await dispatch(database)
    again = await (await cast.play("HMRC")).post(f"/v1/inbox/{found['id']}/response", json=HIT)
    assert again.status_code == 200


async def test_later_is_no_failure_and_is_asked_again_then(force: httpx.AsyncClient, database: Database) -> None:
    body = Body(Later(3_600), Later(1_800), NO_HIT)
    await run(database, HMRC=body)
    found = await dispatch(database)
    assert (found["state"], found["failures"], found["attempt"]) == ("delivered", 0, 1)
    assert 3_590 < found["due_in"] <= 3_600
    await run(database, HMRC=body)
    assert len(body.seen) == 1, "not before its time"
    for _ in range(2):
        await fall_due(database)
        await run(database, HMRC=body)
    found = await dispatch(database)
    assert (found["state"], found["attempt"]) == ("answered", 3)
    assert len({envelope.delivered_at for envelope in body.seen[1:]}) == 1, "it counts from the first hand-over"
    assert await actions(database, "disclosure") == ["dispatch.delivered"]


GRANTED = {0.0: 0.05, -5.0: 0.05, 60.0: 60.0, 10.0**9: 86_400.0, math.inf: 86_400.0, math.nan: 86_400.0}


async def test_a_body_cannot_put_itself_off_for_ever_nor_crowd_out_others(
    force: httpx.AsyncClient, database: Database
) -> None:
    item = await taken(database)
    for seconds, granted in GRANTED.items():
        found = await hand_over.hand_over(item, Body(Later(seconds)), Keys(SECRET.encode()))
        assert found == (Postponed(item.id, 1, granted), Call.DONE, 0.0), seconds


async def test_what_a_hand_over_says_of_an_agency_is_told_apart_from_what_comes_of_it(
    force: httpx.AsyncClient, database: Database
) -> None:
    """A try that was never made says nothing of it; the last that fails is a failure; a clear no is none."""
    item, dead, keys = await taken(database), TransportError("the line is dead"), Keys(SECRET.encode())
    last, late = item._replace(failures=MOST_TRIES), item._replace(failures=MOST_TRIES + 1)
    told: dict[str, tuple[HandOver, Adapter, type[object], Call]] = {
        "a failed try": (item, Body(dead), Postponed, Call.FAILED),
        "the last": (last, Body(dead), GivenUp, Call.FAILED),
        "the last notice": (last._replace(seen=False), Telling(dead), NoticeFailed, Call.FAILED),
        "none left": (late, Body(dead), GivenUp, Call.NONE),
        "no notice left": (late, Telling(dead), NoticeFailed, Call.NONE),
        "seen": (item._replace(seen=True), Telling(dead), Settled, Call.NONE),
        "seen, reminded": (item._replace(seen=True, chases=1), Telling(Delivered()), Settled, Call.DONE),
        "seen, replied to": (item._replace(seen=True, replied=1), Telling(dead), Postponed, Call.FAILED),
        "refused": (item, Body(Refused("no")), GivenUp, Call.DONE),
        "ended": (item, Body(TransportError("gone", permanent=True)), GivenUp, Call.DONE),
        "answered": (item, Body(NO_HIT), Answer, Call.DONE),
    }
    for name, (one, adapter, finding, call) in told.items():
        handed = await hand_over.hand_over(one, adapter, keys)
        assert (type(handed.finding), handed.call) == (finding, call), name


MISHAPS: dict[str, Result | Exception] = {
    "transport": TransportError("the line is dead"),
    "empty answer": Answered({}),
    "hit of nothing": Answered({"outcome": "hit"}),
    "unknown field": Answered({"outcome": "no_hit", "Quillfeather": 1}),
    "not a mapping": Answered(typed("Mapping[str, Any]", ["Quillfeather"])),
    "lone surrogate": Answered({**HIT, "summary": "Quillfeather \ud800"}),
    "none of the four": typed("Result", None),
    "later of text": Later(typed("float", "Quillfeather")),
    "defect": RuntimeError("Quillfeather"),
    "its own timeout": TimeoutError("Quillfeather"),
    "connection": ConnectionResetError("Quillfeather"),
    "group": ExceptionGroup("Quillfeather", [ValueError("Quillfeather")]),
    "NUL in the reason": TransportError("a\x00b\ud800"),
    "a very long reason": TransportError("x" * 100_000),
}


class Unlucky(Adapter):
    """At the first attempt the mishap that the referral's operation is named after; then an answer."""

    in_flight = 100  # all at once: a circuit that opens meanwhile stops none of them

    def __init__(self, mishaps: Mapping[str, Result | Exception]) -> None:
        self._mishaps = mishaps

    async def deliver(self, envelope: Envelope) -> Result:
        if envelope.attempt > 1:
            return NO_HIT
        mishap = self._mishaps[envelope.referral["operation_name"]]
        if isinstance(mishap, Exception):
            raise mishap
        return mishap


async def states(database: Database) -> dict[str, Document]:
    """The dispatches by the names of their referrals' operations."""
    found = await rows(
        database,
        "SELECT referral_id, dispatch.state, failures, attempt, "
        "last_failure, closed_at, due_delivery_at, referral.state AS referral, "
        "extract(epoch FROM due_delivery_at - now()) AS due_in "
        "FROM dispatch JOIN referral ON referral.id = referral_id",
    )
    contents = await opened(database)
    return {contents[row["referral_id"]]["operation_name"]: row for row in found}


async def test_what_goes_wrong_is_tried_again_later_and_then_answered(
    cast: Cast, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the mishap, it costs its own dispatch five seconds, and nothing of what was said is kept or logged."""
    said = io.BytesIO()
    processors = structlog.get_config()["processors"]
    monkeypatch.setattr(hand_over, "log", structlog.wrap_logger(structlog.BytesLogger(said), processors=processors))
    force = await cast.play("SWP")
    await asyncio.gather(*(submitted(force, addressees=["HMRC"], operation_name=name) for name in MISHAPS))
    body = Unlucky(MISHAPS)
    for _ in range(2):
        await run(database, HMRC=body)
        for name, found in (await states(database)).items():
            assert (found["state"], found["failures"], found["attempt"]) == ("delivered", 1, 1), name
            assert 0 < found["due_in"] <= RETRY_SECONDS[0] * LONGER, name
            assert found["last_failure"], name
            assert len(found["last_failure"]) <= 500, name
            assert "Quillfeather" not in found["last_failure"], name
    assert said.getvalue().count(b"a hand-over failed") == len(MISHAPS)
    assert b"Quillfeather" not in said.getvalue()
    await fall_due(database)
    await run(database, HMRC=body)
    assert {name: found["state"] for name, found in (await states(database)).items()} == dict.fromkeys(
        MISHAPS, "answered"
    )


NEVER: dict[str, Result | Exception] = {
    "refused": Refused("out of service"),
    "permanent": TransportError("unknown host", permanent=True),
    "refused with NUL": Refused("\x00"),
}


async def test_what_can_never_be_delivered_ends_at_once(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    for name in NEVER:
        await submitted(force, addressees=["HMRC"], operation_name=name)
    await run(database, HMRC=Unlucky(NEVER))
    for name, found in (await states(database)).items():
        assert (found["state"], found["referral"], found["due_delivery_at"]) == ("undeliverable", "completed", None), (
            name
        )
        assert found["closed_at"], name
    assert (await actions(database)).count("referral.completed") == len(NEVER)


async def test_every_wait_of_the_schedule_is_followed_by_a_try_and_the_last_failure_ends_it(
    force: httpx.AsyncClient, database: Database
) -> None:
    body = Body(TransportError("the line is dead"))
    waits: list[float] = []
    while True:
        await run(database, HMRC=body)
        found = await dispatch(database)
        if found["state"] == "undeliverable" or len(waits) > MOST_TRIES:
            break
        waits.append(found["due_in"])
        await fall_due(database)
    assert len(waits) == len(RETRY_SECONDS)
    for wait, planned in zip(waits, RETRY_SECONDS, strict=True):
        assert planned - 5 < wait <= planned * LONGER
    assert len(body.seen) == MOST_TRIES == len(RETRY_SECONDS) + 1
    assert found["referral"] == "completed"
    assert found["ended_because"] == found["last_failure"] == "the line is dead"


async def test_what_kills_every_worker_is_given_up_in_the_end(force: httpx.AsyncClient, database: Database) -> None:
    """Each claim counts as a failure until its result is recorded."""
    await run(database)
    await change(database, "UPDATE dispatch SET due_delivery_at = now()")
    for _ in range(MOST_TRIES):
        async with database.transaction() as connection:
            assert len(await lifecycle.hand_over(connection, GAIN, [Slot("HMRC", 10)], 10)) == 1
        await fall_due(database)
    body = Body(NO_HIT)
    await run(database, HMRC=body)
    assert body.seen == []
    found = await dispatch(database)
    assert (found["state"], found["ended_because"]) == ("undeliverable", "every try failed")


def test_the_waits_grow_and_end() -> None:
    waits = [retry_in(failures) for failures in range(1, MOST_TRIES)]
    assert waits == sorted(typed("list[int]", waits))
    assert retry_in(MOST_TRIES) is None


async def test_a_notice_given_is_settled_and_the_item_waits_in_the_inbox(
    cast: Cast, force: httpx.AsyncClient, database: Database
) -> None:
    body = Body(Delivered())
    await run(database, HMRC=body)
    await run(database, HMRC=body)
    assert len(body.seen) == 1
    found = await dispatch(database)
    assert (found["state"], found["due_delivery_at"], found["failures"]) == ("delivered", None, 0)
    agency = await cast.play("HMRC")
    [item] = await inbox(agency)
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=HIT)).status_code == 201


class Telling(Body):
    """An adapter that only tells."""

    answers = False


async def test_an_agency_that_was_only_told_has_seen_nothing_yet(force: httpx.AsyncClient, database: Database) -> None:
    """A notice discloses nothing, and its failing for good leaves the item in the inbox."""
    body = Telling(TransportError("unknown host", permanent=True))
    await run(database, HMRC=body)
    found = await dispatch(database)
    assert (found["state"], found["due_delivery_at"], found["delivered_at"]) == ("queued", None, None)
    assert body.seen[0].referral == {}
    assert await actions(database, "disclosure") == []


async def test_one_bodys_failing_does_not_touch_the_others(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    for _ in range(5):
        await submitted(force, addressees=["HMRC", "EA", "DWP"])
    await run(database, HMRC=Body(RuntimeError("a defect")), EA=Body(Answered({"outcome": "?"})), DWP=Body(NO_HIT))
    found = await rows(
        database, "SELECT agency, state, count(*) AS number FROM dispatch GROUP BY agency, state ORDER BY 1"
    )
    assert [(row["agency"], row["state"], row["number"]) for row in found] == [
        ("DWP", "answered", 5), ("EA", "delivered", 5), ("HMRC", "delivered", 5),
    ]  # fmt: skip


async def test_what_an_overtaken_hand_over_brings_is_ignored(force: httpx.AsyncClient, database: Database) -> None:
    """Its lease ended, and someone else has taken the dispatch since."""
    item = await taken(database)
    await fall_due(database)
    async with database.transaction() as connection:
        await lifecycle.hand_over(connection, GAIN, [Slot("HMRC", 1)], 1)
    before = await dispatch(database)
    answer, *_ = await hand_over.hand_over(item, Body(NO_HIT), Keys(SECRET.encode()))
    assert isinstance(answer, lifecycle.Answer)
    async with database.transaction() as connection:
        [recorded] = await lifecycle.record_answers(connection, [answer])
        assert recorded.verdict is lifecycle.Verdict.SUPERSEDED
        await delivery.postpone(connection, [Postponed(item.id, item.attempt, 0.0, failure="old")])
        await delivery.settle(connection, [Settled(item.id, item.attempt)])
        await lifecycle.give_up(connection, GAIN, [GivenUp(item.id, item.attempt, "old")])
    after = await dispatch(database)
    assert {**after, "due_in": None} == {**before, "due_in": None}
    assert await rows(database, "SELECT 1 FROM response") == []


async def test_what_was_cancelled_in_flight_is_kept_as_late_evidence(
    force: httpx.AsyncClient, database: Database
) -> None:
    body = Stuck()
    working = asyncio.create_task(run(database, HMRC=body))
    await body.called.wait()
    [listed] = (await force.get("/v1/referrals")).json()["items"]
    cancelled = await force.post(f"/v1/referrals/{listed['id']}/cancel", json={"reason": "no longer needed"})
    assert cancelled.status_code == 200
    body.free.set()
    await working
    found = await dispatch(database)
    assert (found["state"], found["outcome"], found["due_delivery_at"]) == ("cancelled", None, None)
    [response] = await rows(database, "SELECT outcome, flag FROM response")
    assert response == {"outcome": "no_hit", "flag": "late"}


AFTERWARDS: dict[str, Result | Exception] = {
    "later": Later(5),
    "refused": Refused("no"),
    "failed": TransportError("away"),
    "told": Delivered(),
}


async def test_what_was_cancelled_in_flight_stays_cancelled_whatever_else_comes_back(
    cast: Cast, database: Database
) -> None:
    force = await cast.play("SWP")
    made = [await submitted(force, addressees=["HMRC"], operation_name=name) for name in AFTERWARDS]
    stuck, unlucky = Stuck(), Unlucky(AFTERWARDS)

    class Slow(Adapter):
        async def deliver(self, envelope: Envelope) -> Result:
            await stuck.deliver(envelope)
            return await unlucky.deliver(envelope)

    working = asyncio.create_task(run(database, HMRC=Slow()))
    await stuck.called.wait()
    for one in made:
        await force.post(f"/v1/referrals/{one['id']}/cancel", json={"reason": "no longer needed"})
    stuck.free.set()
    await working
    for name, found in (await states(database)).items():
        assert (found["state"], found["due_delivery_at"], found["referral"]) == ("cancelled", None, "cancelled"), name


async def test_a_referral_that_nobody_is_to_be_asked_about_is_held(cast: Cast, database: Database) -> None:
    """The matrix chooses nobody for it: a co-ordinator must decide, and the reason is told."""
    force = await cast.play("SWP")
    await change(database, "DELETE FROM routing_rule")
    made = await submitted(force, addressees=None)
    named = await submitted(force, addressees=["HMRC"])
    await run(database)
    held = (await force.get(f"/v1/referrals/{made['id']}")).json()
    assert (held["state"], held["dispatches"]) == ("held", [])
    assert held["reason"]
    assert (await force.get(f"/v1/referrals/{named['id']}")).json()["state"] == "in_progress"
    assert "referral.held" in await actions(database)
