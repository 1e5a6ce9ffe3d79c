"""What a co-ordinator does: hold, release, reject, add, chase, extend, redeliver, cancel; and who may not."""

from typing import Any

import httpx
import pytest

from tests.acts import eventually, inbox
from tests.conftest import HIT, Cast, Workers, referral

PRIVATE = "SMARTWATER"  # its policy needs a release


async def _referred(cast: Cast, workers: Workers, **changes: Any) -> tuple[httpx.AsyncClient, httpx.AsyncClient, str]:
    """A force, its co-ordinator, and the id of a referral that is dispatched."""
    force, coordinator = await cast.play("SWP"), await cast.play("TARIAN")
    accepted = (await force.post("/v1/referrals", json=referral(**changes))).json()
    await workers.run()
    return force, coordinator, accepted["id"]


def _states(tracked: httpx.Response) -> dict[str, str]:
    return {f"{one['agency']}/{one['round']}": one["state"] for one in tracked.json()["dispatches"]}


async def _arrived(agency: httpx.AsyncClient) -> list[dict[str, Any]]:
    """The inbox, as soon as the gateway has heard that another party put something into it."""

    async def is_there() -> bool:
        return bool(await inbox(agency))

    await eventually(is_there, 4)
    return await inbox(agency)


async def _dispatch(client: httpx.AsyncClient, referral_id: str, agency: str) -> dict[str, Any]:
    tracked = (await client.get(f"/v1/referrals/{referral_id}")).json()
    found: dict[str, Any] = next(one for one in tracked["dispatches"] if one["agency"] == agency)
    return found


async def test_a_held_referral_leaves_the_inboxes_until_it_is_released(cast: Cast, workers: Workers) -> None:
    """Only what nobody has seen yet is kept back."""
    _, coordinator, key = await _referred(cast, workers)
    seen, unseen = await cast.play("HMRC"), await cast.play("EA")
    assert len((await seen.get("/v1/inbox")).json()["items"]) == 1
    held = await coordinator.post(f"/v1/referrals/{key}/hold", json={"reason": "Check with the operation first."})
    assert held.status_code == 200, held.text
    assert held.json()["state"] == "held"
    assert _states(held) == {"HMRC/1": "delivered", "EA/1": "held"}
    assert (await unseen.get("/v1/inbox")).json()["items"] == []
    released = await coordinator.post(f"/v1/referrals/{key}/release")
    assert released.json()["state"] == "in_progress"
    assert _states(released) == {"HMRC/1": "delivered", "EA/1": "queued"}
    assert len(await _arrived(unseen)) == 1
    assert (await coordinator.post(f"/v1/referrals/{key}/release")).status_code == 409


async def test_a_private_body_waits_for_a_release_while_the_others_go(cast: Cast, workers: Workers) -> None:
    """Policy holds that one dispatch only."""
    force, coordinator, key = await _referred(cast, workers, addressees=["HMRC", PRIVATE])
    private = await cast.play(PRIVATE)
    assert (await private.get("/v1/inbox")).json()["items"] == []
    dispatch = await _dispatch(force, key, PRIVATE)
    assert dispatch["state"] == "held"
    released = await coordinator.post(f"/v1/dispatches/{dispatch['id']}/release")
    assert _states(released)[f"{PRIVATE}/1"] == "queued"
    assert len(await _arrived(private)) == 1


async def test_a_rejected_referral_ends_and_its_items_show_as_cancelled(cast: Cast, workers: Workers) -> None:
    """For good."""
    _, coordinator, key = await _referred(cast, workers)
    rejected = await coordinator.post(f"/v1/referrals/{key}/reject", json={"reason": "Not within the criteria."})
    assert rejected.json()["state"] == "rejected"
    assert set(_states(rejected).values()) == {"cancelled"}
    assert (await coordinator.post(f"/v1/referrals/{key}/hold", json={"reason": "x"})).status_code == 409


async def test_an_added_body_is_asked_and_takes_a_completed_referral_up_again(cast: Cast, workers: Workers) -> None:
    """The next round of the same body too."""
    _, coordinator, key = await _referred(cast, workers, addressees=["HMRC"])
    agency = await cast.play("HMRC")
    [item] = (await agency.get("/v1/inbox")).json()["items"]
    await agency.post(f"/v1/inbox/{item['id']}/response", json=HIT)
    added = await coordinator.post(f"/v1/referrals/{key}/addressees", json={"addressees": ["EA", "HMRC"]})
    assert added.json()["state"] == "in_progress"
    assert _states(added) == {"HMRC/1": "answered", "EA/1": "queued", "HMRC/2": "queued"}
    again = await coordinator.post(f"/v1/referrals/{key}/addressees", json={"addressees": ["EA"]})
    assert again.status_code == 409
    unknown = await coordinator.post(f"/v1/referrals/{key}/addressees", json={"addressees": ["SWP"]})
    assert unknown.json()["type"].endswith("/unknown-addressee")


async def test_an_ended_dispatch_is_redelivered_as_the_next_round(cast: Cast, workers: Workers) -> None:
    """And answered anew; a late answer to the first round stays evidence."""
    force, coordinator, key = await _referred(cast, workers, addressees=["HMRC"])
    agency = await cast.play("HMRC")
    [first] = (await agency.get("/v1/inbox")).json()["items"]
    taken_back = await coordinator.post(f"/v1/dispatches/{first['id']}/cancel", json={"reason": "Asked too early."})
    assert taken_back.json()["state"] == "completed"
    assert (await agency.post(f"/v1/inbox/{first['id']}/response", json=HIT)).status_code == 410
    redelivered = await coordinator.post(f"/v1/dispatches/{first['id']}/redeliver")
    assert _states(redelivered) == {"HMRC/1": "cancelled", "HMRC/2": "queued"}
    items = (await agency.get("/v1/inbox")).json()["items"]
    [second] = [one for one in items if one["state"] == "delivered"]
    assert (await agency.post(f"/v1/inbox/{second['id']}/response", json=HIT)).status_code == 201
    assert (await force.get(f"/v1/referrals/{key}")).json()["state"] == "completed"
    assert (await coordinator.post(f"/v1/dispatches/{second['id']}/redeliver")).status_code == 200


async def test_chasing_is_in_the_timeline_and_a_key_makes_it_once(cast: Cast, workers: Workers) -> None:
    """Sent twice with one key, done once."""
    force, coordinator, key = await _referred(cast, workers)
    dispatch = await _dispatch(force, key, "EA")
    headers = {"Idempotency-Key": "chase-1"}
    first = await coordinator.post(f"/v1/dispatches/{dispatch['id']}/chase", headers=headers)
    second = await coordinator.post(f"/v1/dispatches/{dispatch['id']}/chase", headers=headers)
    assert first.status_code == second.status_code == 200
    assert second.headers["Idempotent-Replayed"] == "true"
    other = await coordinator.post(f"/v1/referrals/{key}/hold", json={"reason": "x"}, headers=headers)
    assert other.json()["type"].endswith("/idempotency-key-reused")
    events = (await force.get(f"/v1/referrals/{key}/events")).json()["items"]
    assert [one["event"] for one in events].count("dispatch.chased") == 1


async def test_an_extension_moves_the_due_time(cast: Cast, workers: Workers) -> None:
    """Into the future only."""
    force, coordinator, key = await _referred(cast, workers)
    dispatch = await _dispatch(force, key, "EA")
    later = await coordinator.post(f"/v1/dispatches/{dispatch['id']}/extend", json={"due_at": "2099-01-05T10:00:00Z"})
    assert later.status_code == 200, later.text
    assert (await _dispatch(force, key, "EA"))["due_at"].startswith("2099-01-05T10:00")
    past = await coordinator.post(f"/v1/dispatches/{dispatch['id']}/extend", json={"due_at": "2020-01-05T10:00:00Z"})
    assert past.status_code == 422


async def test_a_question_is_answered_and_the_item_returns(cast: Cast, workers: Workers) -> None:
    """With the whole exchange on it."""
    force, _, key = await _referred(cast, workers, addressees=["HMRC"])
    agency = await cast.play("HMRC")
    [item] = (await agency.get("/v1/inbox")).json()["items"]
    question = {"outcome": "more_information", "summary": "Which of the two addresses?"}
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=question)).json()["state"] == "query"
    assert (await agency.get("/v1/inbox")).json()["items"] == []
    message = {"dispatch_id": item["id"], "text": "The first."}
    answered = await force.post(f"/v1/referrals/{key}/messages", json=message)
    assert _states(answered) == {"HMRC/1": "delivered"}
    [returned] = await _arrived(agency)
    assert [(one["from"], one["text"]) for one in returned["messages"]] == [
        ("HMRC", "Which of the two addresses?"),
        ("SWP", "The first."),
    ]
    stranger = await cast.play("GMP")
    assert (await stranger.post(f"/v1/referrals/{key}/messages", json=message)).status_code == 404
    await agency.post(f"/v1/inbox/{item['id']}/response", json=HIT)
    assert (await force.post(f"/v1/referrals/{key}/messages", json=message)).status_code == 409


@pytest.mark.parametrize(
    ("party", "status"), [("TARIAN", 200), ("GAIN", 200), ("TITAN", 404), ("SWP", 403), ("HMRC", 403)]
)
async def test_only_those_who_oversee_a_referral_coordinate_it(
    cast: Cast, workers: Workers, party: str, status: int
) -> None:
    """Its region, the national co-ordinator; not another region, nor a party to it."""
    _, _, key = await _referred(cast, workers)
    client = await cast.play(party)
    assert (await client.post(f"/v1/referrals/{key}/hold", json={"reason": "x"})).status_code == status
    dispatch = (await (await cast.play("SWP")).get(f"/v1/referrals/{key}")).json()["dispatches"][0]
    chased = await client.post(f"/v1/dispatches/{dispatch['id']}/cancel", json={"reason": "x"})
    assert chased.status_code == status
