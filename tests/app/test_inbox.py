"""An agency's inbox: what is in it, in which order, page by page, and what the log says of reading it."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from app.access.policy import Role
from app.audit.record import Actor
from app.db import Database
from app.referrals import lifecycle
from tests import invariants
from tests.acts import REASON, actions, change, dispatched, eventually, inbox, referral_of, rows, slug, submitted
from tests.conftest import HIT, Cast, Workers


async def test_urgent_comes_before_priority_before_routine_and_the_oldest_first(cast: Cast, workers: Workers) -> None:
    force = await cast.play("SWP")
    made = [
        (priority, (await submitted(force, priority=priority))["reference"])
        for priority in ["routine", "urgent", "priority", "routine", "urgent", "priority", "urgent"]
    ]
    await workers.run()
    later = [("urgent", (await submitted(force, priority="urgent"))["reference"])]
    await workers.run()
    shown = [(item["priority"], item["reference"]) for item in await inbox(await cast.play("HMRC"))]
    expected = made + later
    assert shown == [one for priority in ("urgent", "priority", "routine") for one in expected if one[0] == priority]


@pytest.mark.parametrize("limit", [1, 7, 50])
async def test_a_pass_shows_every_item_once_though_all_came_at_the_same_time(
    cast: Cast, workers: Workers, database: Database, limit: int
) -> None:
    count = {1: 8, 7: 24, 50: 60}[limit]
    force = await cast.play("SWP")
    priorities = ["urgent", "priority", "routine"]
    made = await asyncio.gather(*(submitted(force, priority=priorities[n % 3]) for n in range(count)))
    await workers.run()
    await change(database, "UPDATE dispatch SET created_at = '2026-01-01', queued_at = '2026-01-01'")
    agency = await cast.play("HMRC")
    seen: list[str] = []
    cursor: str | None = None
    pages = 0
    while True:
        page = (await agency.get("/v1/inbox", params={"limit": limit} | ({"cursor": cursor} if cursor else {}))).json()
        assert 0 < len(page["items"]) <= limit
        seen += [item["referral"]["id"] for item in page["items"]]
        pages += 1
        # Something is acknowledged, and something arrives, while the pass goes on.
        await agency.post(f"/v1/inbox/{page['items'][0]['id']}/acknowledgement")
        cursor = page["next"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == count
    assert set(seen) == {one["id"] for one in made}
    assert pages == -(-count // limit)


async def test_what_arrives_during_a_pass_neither_shifts_nor_repeats_it(cast: Cast, workers: Workers) -> None:
    force, made = await dispatched(cast, workers, "HMRC", count=4, priority="priority")
    agency = await cast.play("HMRC")
    first = (await agency.get("/v1/inbox", params={"limit": 2})).json()
    urgent = await submitted(force, addressees=["HMRC"], priority="urgent")
    routine = await submitted(force, addressees=["HMRC"], priority="routine")
    await workers.run()
    second = (await agency.get("/v1/inbox", params={"limit": 500, "cursor": first["next"]})).json()
    shown = [item["referral"]["id"] for item in first["items"] + second["items"]]
    assert shown == [*[one["id"] for one in made], routine["id"]]
    assert (await inbox(agency))[0]["referral"]["id"] == urgent["id"]


async def test_reading_twice_shows_the_same(cast: Cast, workers: Workers) -> None:
    await dispatched(cast, workers, "HMRC", count=3)
    agency = await cast.play("HMRC")
    assert await inbox(agency) == await inbox(agency)


async def test_an_item_holds_what_was_submitted_and_never_who_else_was_asked(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, [made] = await dispatched(cast, workers, "HMRC", "EA", "SMARTWATER")
    agency = await cast.play("HMRC")
    answer = await agency.get("/v1/inbox")
    for word in ("EA", "SMARTWATER", "SWP/2026/991", "client_reference", "addressees"):
        assert f'"{word}"' not in answer.text
    [item] = answer.json()["items"]
    names = {"id", "reference", "agency", "round", "state", "priority", "due_at", "chased_at", "messages", "referral"}
    assert set(item) == names
    submitted_ = {name: value for name, value in made.items() if name not in ("addressees", "client_reference")}
    assert item["referral"].items() <= submitted_.items()
    assert item["referral"]["subject"] == made["subject"]
    single = (await agency.get(f"/v1/inbox/{item['id']}")).json()
    assert single == item
    tracked = await referral_of(force, item["id"], database)
    assert [one["due_at"] for one in tracked["dispatches"] if one["id"] == item["id"]] == [item["due_at"]]


async def test_the_first_reading_delivers_and_is_one_disclosure_the_next_one_consultation(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, [first, second] = await dispatched(cast, workers, "HMRC", count=2)
    agency = await cast.play("HMRC")
    before = await rows(database, "SELECT max(id) AS latest FROM audit_event")

    async def since() -> list[dict[str, Any]]:
        return await rows(
            database,
            "SELECT operation, action, party, referral_id, dispatch_id, recipients, detail FROM audit_event "
            "WHERE id > :latest ORDER BY id",
            latest=before[0]["latest"],
        )

    shown = await inbox(agency)
    events = await since()
    assert [(event["operation"], event["action"]) for event in events] == [("disclosure", "dispatch.delivered")] * 2
    assert [str(event["referral_id"]) for event in events] == [first["id"], second["id"]]
    assert {tuple(event["recipients"]) for event in events} == {("HMRC",)}
    assert {event["party"] for event in events} == {"HMRC"}

    await inbox(agency)
    events = (await since())[2:]
    assert [(event["operation"], event["action"]) for event in events] == [("consultation", "inbox.read")]
    assert events[0]["detail"] == {"ids": [item["id"] for item in shown]}

    await agency.get(f"/v1/inbox/{shown[0]['id']}")
    assert [event["action"] for event in (await since())[3:]] == ["inbox.read"]
    tracked = (await force.get(f"/v1/referrals/{first['id']}")).json()
    assert tracked["dispatches"][0]["state"] == "delivered"
    assert tracked["dispatches"][0]["delivered_at"]


async def test_a_page_with_new_and_known_items_is_a_disclosure_and_a_consultation(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, _ = await dispatched(cast, workers, "HMRC")
    agency = await cast.play("HMRC")
    await inbox(agency)
    await submitted(force, addressees=["HMRC"])
    await workers.run()
    before = await actions(database)
    await inbox(agency)
    assert (await actions(database))[len(before) :] == ["dispatch.delivered", "inbox.read"]


async def test_an_empty_poll_writes_nothing_to_the_log(cast: Cast, database: Database) -> None:
    agency = await cast.play("HMRC")
    before = await actions(database)
    assert await inbox(agency) == []
    assert await inbox(agency, state="answered") == []
    assert (await agency.post("/v1/inbox/claims", json={})).json() == {"items": [], "next": None}
    assert await actions(database) == before


@pytest.mark.parametrize("call", ["acknowledgement", "response"])
async def test_what_was_dealt_with_unseen_is_disclosed_when_it_is_first_read(
    cast: Cast, workers: Workers, database: Database, call: str
) -> None:
    """The id is known from a notice. No item leaves without a disclosure in the log, whatever its state."""
    await dispatched(cast, workers, "HMRC")
    agency = await cast.play("HMRC")
    [row] = await rows(database, "SELECT id FROM dispatch")
    item = f"/v1/inbox/{row['id']}"
    body = {"outcome": "no_hit"} if call == "response" else None
    assert (await agency.post(f"{item}/{call}", json=body)).status_code in (200, 201)
    assert await actions(database, "disclosure") == []
    state = (await agency.get(item)).json()["state"]
    assert state == {"acknowledgement": "acknowledged", "response": "answered"}[call]
    await agency.get(item)
    assert await actions(database, "disclosure") == ["dispatch.delivered"]
    async with database.transaction() as connection:
        await invariants.check(connection)


async def test_what_is_cancelled_while_a_page_is_being_read_is_not_disclosed(
    cast: Cast, workers: Workers, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look into the inbox and the lock on its rows."""
    force, [made] = await dispatched(cast, workers, "HMRC")
    deliver = lifecycle.deliver

    async def cancelled_first(*given: Any) -> set[UUID]:
        answer = await force.post(f"/v1/referrals/{made['id']}/cancel", json=REASON)
        assert answer.status_code == 200
        return await deliver(*given)

    monkeypatch.setattr(lifecycle, "deliver", cancelled_first)
    [item] = await inbox(await cast.play("HMRC"))
    assert item["state"] == "cancelled"
    assert item["referral"] == {"id": made["id"]}
    assert await actions(database, "disclosure") == []


async def test_two_readers_at_once_see_the_same_and_disclose_it_once(
    cast: Cast, workers: Workers, database: Database
) -> None:
    await dispatched(cast, workers, "HMRC", count=5)
    readers = [await cast.play("HMRC") for _ in range(8)]
    pages = await asyncio.gather(*(inbox(reader) for reader in readers))
    assert {tuple(item["state"] for item in page) for page in pages} == {("delivered",) * 5}
    assert await actions(database, "disclosure") == ["dispatch.delivered"] * 5


STATES = [
    "held",
    "queued",
    "delivered",
    "acknowledged",
    "query",
    "answered",
    "declined",
    "expired",
    "undeliverable",
    "cancelled",
]


async def test_each_state_can_be_listed_for_itself(cast: Cast, workers: Workers) -> None:
    force, made = await dispatched(cast, workers, "HMRC", count=6)
    agency = await cast.play("HMRC")
    items = [item["id"] for item in await inbox(agency)]
    await agency.post(f"/v1/inbox/{items[1]}/acknowledgement")
    await agency.post(f"/v1/inbox/{items[2]}/response", json={"outcome": "more_information", "summary": "Which?"})
    await agency.post(f"/v1/inbox/{items[3]}/response", json=HIT)
    await agency.post(f"/v1/inbox/{items[4]}/response", json={"outcome": "declined", "decline_reason": "capacity"})
    await force.post(f"/v1/referrals/{made[5]['id']}/cancel", json=REASON)
    listed = {state: [item["id"] for item in await inbox(agency, state=state)] for state in STATES}
    order = ["delivered", "acknowledged", "query", "answered", "declined", "cancelled"]
    assert listed == {state: [items[order.index(state)]] if state in order else [] for state in STATES}
    assert [item["id"] for item in await inbox(agency)] == [items[0], items[5]]


async def test_a_cancelled_item_that_was_never_read_shows_its_ids_only(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """There is no more reason to disclose it."""
    force, [made] = await dispatched(cast, workers, "HMRC")
    await force.post(f"/v1/referrals/{made['id']}/cancel", json=REASON)
    agency = await cast.play("HMRC")
    [item] = await inbox(agency)
    [same] = await inbox(agency, state="cancelled")
    alone = (await agency.get(f"/v1/inbox/{item['id']}")).json()
    assert item == same == alone
    assert item["referral"] == {"id": made["id"]}
    assert await actions(database, "disclosure") == []
    [row] = await rows(database, "SELECT delivered_at FROM dispatch")
    assert row["delivered_at"] is None


async def test_what_needs_a_release_is_in_no_inbox_and_holds_nothing_else_up(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, [made] = await dispatched(cast, workers, "SMARTWATER", "HMRC")
    tracked = (await force.get(f"/v1/referrals/{made['id']}")).json()
    states = {one["agency"]: one["state"] for one in tracked["dispatches"]}
    assert states == {"SMARTWATER": "held", "HMRC": "queued"}
    [held] = [one["id"] for one in tracked["dispatches"] if one["state"] == "held"]
    private = await cast.play("SMARTWATER")
    assert await inbox(private) == []
    assert await inbox(private, state="held") == []
    assert (await private.post("/v1/inbox/claims", json={})).json()["items"] == []
    assert (await private.get(f"/v1/inbox/{held}")).status_code == 404
    assert (await private.post(f"/v1/inbox/{held}/acknowledgement")).status_code == 404
    assert (await private.post(f"/v1/inbox/{held}/response", json={"outcome": "no_hit"})).status_code == 404
    assert len(await inbox(await cast.play("HMRC"))) == 1
    await force.post(f"/v1/referrals/{made['id']}/cancel", json=REASON)
    assert await inbox(private) == [], "what was never released is not there when it is cancelled, either"
    assert "dispatch.delivered" not in [
        row["action"]
        for row in await rows(database, "SELECT action FROM audit_event WHERE dispatch_id = :id", id=UUID(held))
    ]


async def test_no_agency_sees_anothers_items(cast: Cast, workers: Workers) -> None:
    """The owner and its colleague do; a stranger gets what an absent item gives, at every call."""
    await dispatched(cast, workers, "HMRC")
    owner, colleague, stranger = await cast.play("HMRC"), await cast.play("HMRC"), await cast.play("EA")
    [item] = await inbox(owner)
    assert (await colleague.get(f"/v1/inbox/{item['id']}")).status_code == 200
    assert await inbox(stranger) == []

    async def tries(id_: str) -> list[httpx.Response]:
        return [
            await stranger.get(f"/v1/inbox/{id_}"),
            await stranger.post(f"/v1/inbox/{id_}/acknowledgement"),
            await stranger.post(f"/v1/inbox/{id_}/response", json=HIT),
        ]

    for hidden, absent in zip(await tries(item["id"]), await tries(str(UUID(int=7))), strict=True):
        assert hidden.status_code == absent.status_code == 404
        assert slug(hidden) == "not-found"
        documents = [answer.json() for answer in (hidden, absent)]
        for document in documents:
            del document["request_id"]
        assert documents[0] == documents[1]
    assert (await owner.get(f"/v1/inbox/{item['id']}")).json()["state"] == "delivered"


async def test_an_agency_that_looks_into_its_inbox_has_been_heard_of(cast: Cast, database: Database) -> None:
    await inbox(await cast.play("HMRC"))

    async def seen() -> bool:
        return [row["agency"] for row in await rows(database, "SELECT agency FROM agency_seen")] == ["HMRC"]

    await eventually(seen)
    queues = (await (await cast.play("GAIN")).get("/v1/queues")).json()["items"]
    heard = {queue["agency"]: queue["last_seen_at"] for queue in queues}
    assert datetime.fromisoformat(heard["HMRC"]).tzinfo
    assert heard["EA"] is None


async def test_the_deliver_verb_leaves_the_held_and_the_cancelled_alone(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, [made] = await dispatched(cast, workers, "SMARTWATER", "HMRC", "EA")
    async with database.transaction() as connection:
        ids = [row.id for row in await connection.execute(text("SELECT id FROM dispatch"))]
        moved = await lifecycle.deliver(connection, Actor("GAIN", "test"), ids)
        again = await lifecycle.deliver(connection, Actor("GAIN", "test"), ids)
    assert len(moved) == 2
    assert again == set()
    assert await actions(database, "disclosure") == ["dispatch.delivered"] * 2
    tracked = (await force.get(f"/v1/referrals/{made['id']}")).json()
    assert sorted(one["state"] for one in tracked["dispatches"]) == ["delivered", "delivered", "held"]


async def test_the_inbox_is_for_the_agency_role_alone(cast: Cast) -> None:
    for party, role in [
        ("SWP", None),
        ("HMRC", Role.ORIGINATOR),
        ("TARIAN", None),
        ("GAIN", None),
        ("GAIN", Role.AUDITOR),
    ]:
        assert slug(await (await cast.play(party, role)).get("/v1/inbox")) == "role-not-allowed"
