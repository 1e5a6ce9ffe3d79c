"""The main job, through HTTP with the database: a referral is submitted, dispatched, read, answered and tracked."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.conftest import HIT, Cast, Workers, referral


async def submitted(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    """A referral just accepted."""
    answer = await client.post("/v1/referrals", json=referral(**changes))
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_referral_goes_to_every_named_body_and_its_answer_comes_back(cast: Cast, workers: Workers) -> None:
    """The whole way."""
    force, agency = await cast.play("SWP"), await cast.play("HMRC")
    accepted = await submitted(force)
    assert accepted["state"] == "accepted"
    assert accepted["reference"].startswith("GAIN-20")

    await workers.run()
    tracked = (await force.get(f"/v1/referrals/{accepted['id']}")).json()
    assert tracked["state"] == "in_progress"
    assert {one["agency"]: one["state"] for one in tracked["dispatches"]} == {"HMRC": "queued", "EA": "queued"}
    assert {one["rule"] for one in tracked["dispatches"]} == {"named"}

    inbox = (await agency.get("/v1/inbox")).json()
    [item] = inbox["items"]
    assert item["state"] == "delivered"
    assert item["referral"]["subject"]["family_name"] == "Quill"
    assert not {"addressees", "client_reference"} & item["referral"].keys()

    assert (await agency.post(f"/v1/inbox/{item['id']}/acknowledgement")).status_code == 200
    answered = await agency.post(f"/v1/inbox/{item['id']}/response", json=HIT)
    assert answered.status_code == 201

    other = await cast.play("EA")
    [second] = (await other.get("/v1/inbox")).json()["items"]
    assert (await other.post(f"/v1/inbox/{second['id']}/response", json={"outcome": "no_hit"})).status_code == 201
    finished = (await force.get(f"/v1/referrals/{accepted['id']}")).json()
    assert finished["state"] == "completed"
    answers = (await force.get(f"/v1/referrals/{accepted['id']}/responses")).json()["items"]
    assert [(one["agency"], one["outcome"]) for one in answers] == [("HMRC", "hit"), ("EA", "no_hit")]
    timeline = (await force.get(f"/v1/referrals/{accepted['id']}/events")).json()["items"]
    assert [one["event"] for one in timeline][:2] == ["referral.accepted", "referral.dispatched"]
    assert timeline[-1]["event"] != "referral.read"


async def test_a_colleague_of_another_force_and_a_stranger_get_the_same_404(cast: Cast) -> None:
    """What is not yours looks like what is not there."""
    owner, stranger = await cast.play("SWP"), await cast.play("GWP")
    accepted = await submitted(owner)
    colleague = await cast.play("SWP")
    assert (await colleague.get(f"/v1/referrals/{accepted['id']}")).status_code == 200
    hidden = await stranger.get(f"/v1/referrals/{accepted['id']}")
    absent = await stranger.get(f"/v1/referrals/{UUID(int=7)}")
    assert hidden.status_code == absent.status_code == 404
    without = [{k: v for k, v in answer.json().items() if k != "request_id"} for answer in (hidden, absent)]
    assert without[0] == without[1]


@pytest.mark.parametrize(("party", "status"), [("TARIAN", 200), ("TITAN", 404), ("GAIN", 200)])
async def test_a_coordinator_sees_the_referrals_of_its_region(cast: Cast, party: str, status: int) -> None:
    """Region, another region, national."""
    accepted = await submitted(await cast.play("SWP"))
    overseer = await cast.play(party)
    assert (await overseer.get(f"/v1/referrals/{accepted['id']}")).status_code == status
    listed = (await overseer.get("/v1/referrals")).json()["items"]
    assert [one["id"] for one in listed] == ([accepted["id"]] if status == 200 else [])
