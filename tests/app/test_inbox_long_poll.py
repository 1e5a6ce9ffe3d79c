"""Long polls of an inbox: held while nothing is there, and answered when something arrives or changes."""

import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from app.referrals.timekeeper import Timekeeper
from tests.app.long_poll import HOLD, SOON, WORKER, House, fan_out, house, settled, soon
from tests.conftest import referral

__all__ = ["house"]


async def test_a_held_poll_answers_when_something_arrives(house: House) -> None:
    agency = await house.cast.play("HMRC")
    await settled(agency)
    poll = await house.holding(agency)
    await house.submit("HMRC")
    committed = time.monotonic()
    answer = await soon(poll)
    print(f"answered {1000 * (time.monotonic() - committed):.0f} ms after the commit")
    assert answer.status_code == 200
    assert [item["state"] for item in answer.json()["items"]] == ["delivered"]
    assert answer.headers["Preference-Applied"] == "wait=20"
    assert (await agency.get("/v1/inbox", headers={"If-None-Match": answer.headers["ETag"]})).status_code == 304
    assert house.held == 0


async def test_a_held_poll_that_has_the_page_answers_when_it_changes(house: House) -> None:
    agency, colleague = await house.cast.play("HMRC"), await house.cast.play("HMRC")
    await house.submit("HMRC")
    tag = await settled(agency)
    poll = await house.holding(agency, **{"If-None-Match": tag})
    [item] = (await colleague.get("/v1/inbox")).json()["items"]
    assert not poll.done()  # reading it again changed nothing
    await colleague.post(f"/v1/inbox/{item['id']}/acknowledgement")
    answer = await soon(poll)
    assert (answer.status_code, answer.json()["items"]) == (200, [])
    assert answer.headers["ETag"] != tag


async def test_a_poll_is_not_held_when_something_is_there(house: House) -> None:
    agency = await house.cast.play("HMRC")
    await house.submit("HMRC")
    answer = await soon(agency.get("/v1/inbox", headers=HOLD))
    assert len(answer.json()["items"]) == 1


async def test_when_the_time_is_up_an_empty_poll_is_empty_and_an_unchanged_one_is_304(house: House) -> None:
    agency = await house.cast.play("HMRC")
    tag = await settled(agency)
    began = time.monotonic()
    empty = await agency.get("/v1/inbox", headers={"Prefer": "wait=1"})
    assert 1.0 <= time.monotonic() - began < SOON
    assert (empty.status_code, empty.json()["items"]) == (200, [])
    assert empty.headers["Preference-Applied"] == "wait=1"
    unchanged = await agency.get("/v1/inbox", headers={"Prefer": "wait=1", "If-None-Match": tag})
    assert unchanged.status_code == 304
    assert unchanged.headers["ETag"] == tag


@pytest.mark.parametrize("prefer", ["wait=soon", "wait=0", "respond-async"])
async def test_a_preference_that_cannot_be_understood_is_ignored(house: House, prefer: str) -> None:
    agency = await house.cast.play("HMRC")
    answer = await soon(agency.get("/v1/inbox", headers={"Prefer": prefer}))
    assert answer.status_code == 200
    assert "Preference-Applied" not in answer.headers


async def test_a_cancelled_item_wakes_a_held_poll(house: House) -> None:
    agency = await house.cast.play("HMRC")
    id = await house.submit("HMRC")
    poll = await house.holding(agency, **{"If-None-Match": await settled(agency)})
    force = await house.cast.play("SWP")
    assert (await force.post(f"/v1/referrals/{id}/cancel", json={"reason": "Arrested."})).status_code == 200
    assert [item["state"] for item in (await soon(poll)).json()["items"]] == ["cancelled"]


async def test_a_released_item_wakes_a_held_poll_and_a_held_one_does_not(house: House) -> None:
    agency, coordinator = await house.cast.play("HMRC"), await house.cast.play("TARIAN")
    await settled(agency)
    force = await house.cast.play("SWP")
    id = (await force.post("/v1/referrals", json=referral(addressees=["HMRC"]))).json()["id"]
    assert (await coordinator.post(f"/v1/referrals/{id}/hold", json={"reason": "Check first."})).status_code == 200
    poll = await house.holding(agency)
    assert (await coordinator.post(f"/v1/referrals/{id}/release")).status_code == 200
    await fan_out(house.database)
    assert [item["referral"]["id"] for item in (await soon(poll)).json()["items"]] == [id]


async def test_a_message_of_the_originator_wakes_a_held_poll(house: House) -> None:
    agency, force = await house.cast.play("HMRC"), await house.cast.play("SWP")
    id = await house.submit("HMRC")
    [item] = (await agency.get("/v1/inbox")).json()["items"]
    question = {"outcome": "more_information", "summary": "Which of the two addresses?"}
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=question)).status_code == 201
    poll = await house.holding(agency)
    told = await force.post(f"/v1/referrals/{id}/messages", json={"dispatch_id": item["id"], "text": "The first."})
    assert told.is_success, told.text
    [returned] = (await soon(poll)).json()["items"]
    assert [message["text"] for message in returned["messages"]] == [question["summary"], "The first."]


async def test_a_reminder_wakes_a_held_poll_and_the_item_says_when(house: House) -> None:
    agency, coordinator = await house.cast.play("HMRC"), await house.cast.play("TARIAN")
    await house.submit("HMRC")
    tag = await settled(agency)
    [item] = (await agency.get("/v1/inbox")).json()["items"]
    assert item["chased_at"] is None
    poll = await house.holding(agency, **{"If-None-Match": tag})
    assert (await coordinator.post(f"/v1/dispatches/{item['id']}/chase")).status_code == 200
    answer = await soon(poll)
    assert answer.headers["ETag"] != tag
    [reminded] = answer.json()["items"]
    assert datetime.fromisoformat(reminded["chased_at"]) <= datetime.now(UTC)
    assert (await agency.get(f"/v1/inbox/{item['id']}")).json()["chased_at"] == reminded["chased_at"]
    assert {**reminded, "chased_at": None} == item


async def test_the_clock_that_reminds_one_agency_and_ends_the_item_of_another_wakes_both(house: House) -> None:
    """All that it does at once is one transaction, and each agency hears of its part."""
    reminded, ended = await house.cast.play("HMRC"), await house.cast.play("EA")
    await house.submit("HMRC", "EA")
    async with house.database.transaction() as connection:
        await connection.execute(
            text("""
                UPDATE dispatch
                   SET created_at = created_at - passed, due_at = due_at - passed, expires_at = expires_at - passed,
                       next_check_at = next_check_at - passed
                  FROM (SELECT id AS of, CASE agency WHEN 'EA' THEN interval '90 days'
                                              ELSE next_check_at - now() + interval '1 second' END AS passed
                          FROM dispatch) AS given
                 WHERE id = of
            """)
        )
    polls = [await house.holding(agency, **{"If-None-Match": await settled(agency)}) for agency in (reminded, ended)]
    assert await Timekeeper().run(house.database, WORKER) == 2
    first, second = [(await soon(poll)).json()["items"] for poll in polls]
    assert [item["chased_at"] is not None for item in first] == [True]
    assert second == []
