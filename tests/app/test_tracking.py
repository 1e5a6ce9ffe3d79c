"""Following a referral: lists that lose nothing, its answers, its timeline, taking it back, and the queues."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from app.access.policy import Role
from app.db import Database
from tests import invariants
from tests.acts import NO_HIT, QUESTION, REASON, actions, change, dispatched, inbox, rows, slug, submitted
from tests.conftest import HIT, Cast, Workers


async def listed(client: httpx.AsyncClient, **query: Any) -> list[str]:
    """The ids of one page of referrals."""
    answer = await client.get("/v1/referrals", params=query)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


async def test_the_list_is_newest_first_and_follows_its_link(cast: Cast) -> None:
    force = await cast.play("SWP")
    made = [(await submitted(force, priority="urgent"))["id"] for _ in range(7)]
    seen: list[str] = []
    url: str | None = "/v1/referrals?limit=3&state=accepted"
    pages = []
    while url:
        answer = await force.get(url)
        page = answer.json()
        seen += [item["id"] for item in page["items"]]
        pages.append(len(page["items"]))
        link = answer.links.get("next", {}).get("url")
        assert (link is None) == (page["next"] is None)
        assert link is None or f"cursor={page['next']}" in link
        # A newer one does not disturb the pass.
        await submitted(force)
        url = link
    assert seen == made[::-1]
    assert pages == [3, 3, 1]


async def test_a_page_holds_as_many_as_a_page_of_an_inbox(cast: Cast) -> None:
    force = await cast.play("SWP")
    made = await asyncio.gather(*(submitted(force, client_reference=f"{number}") for number in range(501)))
    first = (await force.get("/v1/referrals", params={"limit": 500})).json()
    assert len(first["items"]) == 500
    second = (await force.get("/v1/referrals", params={"limit": 500, "cursor": first["next"]})).json()
    assert {item["id"] for item in (*first["items"], *second["items"])} == {one["id"] for one in made}


async def test_a_page_shows_each_referral_as_reading_it_alone_does(cast: Cast, workers: Workers) -> None:
    force, made = await dispatched(cast, workers, "HMRC", "EA", count=2)
    page = (await force.get("/v1/referrals")).json()["items"]
    assert page == [(await force.get(f"/v1/referrals/{one['id']}")).json() for one in reversed(made)]


async def test_the_list_is_narrowed_by_state_and_agency(cast: Cast, workers: Workers) -> None:
    force, [tax, both] = await dispatched(cast, workers, "HMRC", count=2)
    _, [waste] = await dispatched(cast, workers, "EA")
    agency = await cast.play("HMRC")
    for item in await inbox(agency):
        if item["referral"]["id"] == tax["id"]:
            await agency.post(f"/v1/inbox/{item['id']}/response", json=NO_HIT)
    new = await submitted(force)
    assert await listed(force, state="completed") == [tax["id"]]
    assert await listed(force, state="in_progress") == [waste["id"], both["id"]]
    assert await listed(force, state="accepted") == [new["id"]]
    assert await listed(force, agency="HMRC") == [both["id"], tax["id"]]
    assert await listed(force, agency="HMRC", state="in_progress") == [both["id"]]
    assert await listed(force, agency="NCA") == []
    assert await listed(force, state="rejected") == []


async def test_a_list_holds_only_what_its_reader_may_see(cast: Cast) -> None:
    mine = await submitted(await cast.play("SWP"))
    neighbours = await submitted(await cast.play("GWP"))
    far = await submitted(await cast.play("GMP"))
    national = await submitted(await cast.play("HMRC", Role.ORIGINATOR), addressees=["DWP"])
    expected = {
        "SWP": [mine],
        "DPP": [],
        "TARIAN": [neighbours, mine],
        "TITAN": [far],
        "GAIN": [national, far, neighbours, mine],
    }
    for party, found in expected.items():
        assert await listed(await cast.play(party)) == [one["id"] for one in found], party
    assert await listed(await cast.play("HMRC", Role.ORIGINATOR)) == [national["id"]]


async def test_what_commits_late_is_not_skipped(cast: Cast, database: Database) -> None:
    """A change made in a transaction that is still running carries an older time than changes seen meanwhile."""
    force = await cast.play("SWP")
    early, late, other = [(await submitted(force))["id"] for _ in range(3)]
    start = (await force.get(f"/v1/referrals/{other}")).json()["updated_at"]
    async with database.engine.connect() as slow:
        await slow.execute(
            text("UPDATE referral SET reason = 'slow', updated_at = now() WHERE id = :id"), {"id": UUID(late)}
        )
        await change(
            database, "UPDATE referral SET reason = 'quick', updated_at = now() WHERE id = :id", id=UUID(early)
        )
        shown = (await force.get("/v1/referrals", params={"updated_since": start})).json()["items"]
        assert {item["id"] for item in shown} <= {other}, "nothing newer than the running transaction is shown yet"
        position = max([item["updated_at"] for item in shown], default=start)
        await slow.commit()
    found = await listed(force, updated_since=position)
    assert {early, late} <= set(found)
    assert await listed(force) == [other, late, early]


async def test_a_pass_that_takes_time_loses_no_update_between_its_pages(cast: Cast, database: Database) -> None:
    """The latest time seen in a pass is where the next pass begins, so no page may show more than the first could."""
    force = await cast.play("SWP")
    made = [(await submitted(force))["id"] for _ in range(4)]
    start = (await force.get(f"/v1/referrals/{made[0]}")).json()["updated_at"]
    first = (await force.get("/v1/referrals", params={"updated_since": start, "limit": 2})).json()
    # Behind the cursor one changes, and then one that the pass has still to come to.
    for changed in (made[3], made[0]):
        await change(database, "UPDATE referral SET updated_at = clock_timestamp() WHERE id = :id", id=UUID(changed))
    query = {"updated_since": start, "limit": 2, "cursor": first["next"]}
    second = (await force.get("/v1/referrals", params=query)).json()
    position = max(item["updated_at"] for item in first["items"] + second["items"])
    assert {made[3], made[0]} <= set(await listed(force, updated_since=position))


async def test_updates_since_a_moment_are_found_by_it(cast: Cast, workers: Workers) -> None:
    force, [_old, answered] = await dispatched(cast, workers, "HMRC", count=2)
    position = max(item["updated_at"] for item in (await force.get("/v1/referrals")).json()["items"])
    agency = await cast.play("HMRC")
    for item in await inbox(agency):
        if item["referral"]["id"] == answered["id"]:
            await agency.post(f"/v1/inbox/{item['id']}/response", json=HIT)
    found = (await force.get("/v1/referrals", params={"updated_since": position})).json()["items"]
    assert found[0]["id"] == answered["id"]
    assert found[0]["state"] == "completed"


async def test_taking_a_referral_back_cancels_what_is_open_and_leaves_what_is_answered(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, [made] = await dispatched(cast, workers, "HMRC", "EA", "SMARTWATER")
    agency = await cast.play("HMRC")
    [item] = await inbox(agency)
    await agency.post(f"/v1/inbox/{item['id']}/response", json=HIT)
    path = f"/v1/referrals/{made['id']}/cancel"
    first = await force.post(path, json=REASON)
    again = await force.post(path, json={"reason": "another reason"})
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json() == (await force.get(f"/v1/referrals/{made['id']}")).json()
    assert (first.json()["state"], first.json()["reason"]) == ("cancelled", REASON["reason"])
    states = {one["agency"]: one["state"] for one in first.json()["dispatches"]}
    assert states == {"HMRC": "answered", "EA": "cancelled", "SMARTWATER": "cancelled"}
    log = await actions(database)
    assert (log.count("referral.cancelled"), log.count("dispatch.cancelled")) == (1, 2)
    async with database.transaction() as connection:
        await invariants.check(connection)


async def test_a_referral_can_be_taken_back_before_anybody_is_asked(cast: Cast, workers: Workers) -> None:
    force = await cast.play("SWP")
    made = await submitted(force)
    assert (await force.post(f"/v1/referrals/{made['id']}/cancel", json=REASON)).json()["state"] == "cancelled"
    await workers.run()
    assert (await force.get(f"/v1/referrals/{made['id']}")).json()["dispatches"] == []


async def test_only_its_originator_takes_a_referral_back(cast: Cast, workers: Workers) -> None:
    _force, [made] = await dispatched(cast, workers, "HMRC")
    path = f"/v1/referrals/{made['id']}/cancel"
    assert slug(await (await cast.play("GWP")).post(path, json=REASON)) == "not-found"
    assert slug(await (await cast.play("HMRC", Role.ORIGINATOR)).post(path, json=REASON)) == "not-found"
    for party in ("HMRC", "TARIAN", "GAIN"):
        assert slug(await (await cast.play(party)).post(path, json=REASON)) == "role-not-allowed"
    assert (await (await cast.play("SWP")).post(path, json=REASON)).status_code == 200


async def test_a_completed_referral_is_not_taken_back(cast: Cast, workers: Workers) -> None:
    force, [made] = await dispatched(cast, workers, "HMRC")
    agency = await cast.play("HMRC")
    [item] = await inbox(agency)
    await agency.post(f"/v1/inbox/{item['id']}/response", json=NO_HIT)
    refused = await force.post(f"/v1/referrals/{made['id']}/cancel", json=REASON)
    assert refused.status_code == 409
    assert slug(refused) == "state-conflict"
    assert (await force.get(f"/v1/referrals/{made['id']}")).json()["state"] == "completed"


async def test_the_timeline_tells_what_happened_in_order_and_not_who_looked(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, [made] = await dispatched(cast, workers, "HMRC")
    agency = await cast.play("HMRC")
    [item] = await inbox(agency)
    await inbox(agency)
    await agency.post(f"/v1/inbox/{item['id']}/acknowledgement")
    await agency.post(f"/v1/inbox/{item['id']}/response", json=HIT)
    for path in ("", "/responses", "/events"):
        await force.get(f"/v1/referrals/{made['id']}{path}")
    timeline = (await force.get(f"/v1/referrals/{made['id']}/events")).json()["items"]
    assert [event["event"] for event in timeline] == [
        "referral.accepted", "referral.dispatched", "dispatch.delivered", "dispatch.acknowledged", "response.recorded",
        "referral.completed",
    ]  # fmt: skip
    assert [event["at"] for event in timeline] == sorted(event["at"] for event in timeline)
    assert "Quill" not in str(timeline)
    read = [
        row["action"] for row in await rows(database, "SELECT action FROM audit_event WHERE party = 'SWP' ORDER BY id")
    ]
    assert read[1:] == ["referral.read", "responses.read", "referral.timeline_read", "referral.timeline_read"]


@pytest.mark.parametrize("path", ["", "/responses", "/events"])
async def test_everything_about_a_referral_is_hidden_from_strangers(cast: Cast, workers: Workers, path: str) -> None:
    _, [made] = await dispatched(cast, workers, "HMRC")
    for party, role, status in [
        ("SWP", None, 200), ("TARIAN", None, 200), ("GAIN", None, 200), ("GWP", None, 404), ("TITAN", None, 404),
        ("TARIAN", Role.ORIGINATOR, 404), ("HMRC", Role.ORIGINATOR, 404), ("HMRC", None, 403),
        ("GAIN", Role.AUDITOR, 403), ("GAIN", Role.ADMINISTRATOR, 403),
    ]:  # fmt: skip
        reader = await cast.play(party, role)
        answer = await reader.get(f"/v1/referrals/{made['id']}{path}")
        assert answer.status_code == status, (party, role)
        if status != 200:
            assert "Quill" not in answer.text


async def test_reading_answers_is_a_disclosure_of_those_that_there_are(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, [made] = await dispatched(cast, workers, "HMRC")
    path = f"/v1/referrals/{made['id']}/responses"
    assert (await force.get(path)).json() == {"items": [], "next": None}
    assert await actions(database, "disclosure") == []
    agency = await cast.play("HMRC")
    [item] = await inbox(agency)
    response = (await agency.post(f"/v1/inbox/{item['id']}/response", json=HIT)).json()["id"]
    await force.get(path)
    [row] = await rows(
        database, "SELECT recipients, detail FROM audit_event WHERE action = 'responses.read' ORDER BY id DESC LIMIT 1"
    )
    assert row == {"recipients": ["SWP"], "detail": {"ids": [response]}}


async def test_the_queues_are_counted_over_the_callers_region(cast: Cast, workers: Workers, database: Database) -> None:
    await dispatched(cast, workers, "HMRC", "SMARTWATER", count=3)
    manchester = await cast.play("GMP")
    for _ in range(2):
        await submitted(manchester, addressees=["HMRC"])
    await submitted(await cast.play("DWP", Role.ORIGINATOR), addressees=["HMRC"])
    await workers.run()
    agency = await cast.play("HMRC")
    ours = [
        row["id"] for row in await rows(database, "SELECT id FROM dispatch WHERE region = 'TARIAN' AND agency = 'HMRC'")
    ]
    await agency.get(f"/v1/inbox/{ours[0]}")
    await agency.post(f"/v1/inbox/{ours[1]}/acknowledgement")
    await change(
        database,
        "UPDATE dispatch SET due_at = now() - interval '1 hour', next_check_at = now() - interval '1 hour' "
        "WHERE id = :id",
        id=ours[1],
    )

    async def queue(party: str, body: str) -> dict[str, Any]:
        items = (await (await cast.play(party)).get("/v1/queues")).json()["items"]
        return next(item for item in items if item["agency"] == body)

    names = ("held", "queued", "delivered", "acknowledged", "query", "overdue")
    counts = {
        party: [found[name] for name in names]
        for party in ("TARIAN", "TITAN", "GAIN", "ZEPHYR")
        for found in [await queue(party, "HMRC")]
    }
    assert counts == {
        "TARIAN": [0, 1, 1, 1, 0, 1],
        "TITAN": [0, 2, 0, 0, 0, 0],
        "GAIN": [0, 4, 1, 1, 0, 1],
        "ZEPHYR": [0, 0, 0, 0, 0, 0],
    }
    assert (await queue("TARIAN", "SMARTWATER"))["held"] == 3
    assert (await queue("ZEPHYR", "HMRC"))["oldest_age_seconds"] is None
    assert (await queue("TARIAN", "HMRC"))["oldest_age_seconds"] >= 0


async def test_a_reply_a_new_due_time_and_a_release_are_found_by_the_moment_too(cast: Cast, workers: Workers) -> None:
    """Each moves what its originator is shown of the dispatch."""
    force, [asked] = await dispatched(cast, workers, "HMRC")
    _, [waits] = await dispatched(cast, workers, "SMARTWATER")
    coordinator, agency = await cast.play("TARIAN"), await cast.play("HMRC")
    [item] = await inbox(agency)
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=QUESTION)).status_code == 201
    [held] = (await force.get(f"/v1/referrals/{waits['id']}")).json()["dispatches"]
    assert held["state"] == "held"

    async def found(client: httpx.AsyncClient, path: str, **body: str) -> list[str]:
        """The referrals found since before this deed."""
        everything = (await force.get("/v1/referrals")).json()["items"]
        latest = max(datetime.fromisoformat(one["updated_at"]) for one in everything)
        assert (await client.post(path, json=body)).is_success
        return await listed(force, updated_since=(latest + timedelta(microseconds=1)).isoformat())

    reply = {"dispatch_id": item["id"], "text": "The one in Merthyr."}
    assert await found(force, f"/v1/referrals/{asked['id']}/messages", **reply) == [asked["id"]]
    extension = {"due_at": "2030-01-01T12:00:00Z"}
    assert await found(coordinator, f"/v1/dispatches/{item['id']}/extend", **extension) == [asked["id"]]
    assert await found(coordinator, f"/v1/dispatches/{held['id']}/release") == [waits["id"]]


async def test_lists_and_queues_at_once_with_changes_fail_nothing(cast: Cast, workers: Workers) -> None:
    force, _ = await dispatched(cast, workers, "HMRC", count=5)
    coordinator = await cast.play("TARIAN")
    since = {"updated_since": "2026-01-01T00:00:00Z"}
    answers = await asyncio.gather(
        *(force.get("/v1/referrals", params=since) for _ in range(10)),
        *(coordinator.get("/v1/queues") for _ in range(10)),
        *(force.post("/v1/referrals", json={}) for _ in range(5)),
    )
    assert {answer.status_code for answer in answers} == {200, 422}
