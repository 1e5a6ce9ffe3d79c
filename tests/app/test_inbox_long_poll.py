"""Polling an inbox: 304 while nothing changes, held requests that answer when something arrives."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import text, update

from app.access.models import ApiKey
from app.audit.record import Actor
from app.db import Database
from app.inbox import items, waits
from app.inbox.listener import LOOK_SECONDS
from app.main import create_app
from app.referrals.fan_out import FanOut
from app.referrals.lifecycle import notify
from app.referrals.timekeeper import Timekeeper
from app.runtime.gateway import Connection
from app.settings import Settings
from app.wake import Nobody
from tests.conftest import HIT, Cast, referral

WORKER = Actor("GAIN", "worker")
HOLD = {"Prefer": "wait=20"}
SOON = 5.0
"""Seconds within which a held request must end; far below the wait it asked for."""


class House:
    """A gateway in this process, and who calls it."""

    def __init__(self, app: FastAPI, database: Database) -> None:
        self.app = app
        self.database = database
        self.cast = Cast(database, httpx.ASGITransport(app, raise_app_exceptions=False))

    @property
    def held(self) -> int:
        held: int = self.app.state.waits.held
        return held

    async def submit(self, *addressees: str, **changes: Any) -> str:
        """Submit a referral and have it fanned out; its id."""
        force = await self.cast.play("SWP")
        accepted = await force.post("/v1/referrals", json=referral(addressees=list(addressees), **changes))
        assert accepted.status_code == 201, accepted.text
        await fan_out(self.database)
        return str(accepted.json()["id"])

    async def holding(self, agency: httpx.AsyncClient, **headers: str) -> asyncio.Task[httpx.Response]:
        """A poll of this agency that is held by now."""
        before = self.held
        poll = asyncio.create_task(agency.get("/v1/inbox", headers=HOLD | headers))
        await until(lambda: self.held > before)
        return poll


async def fan_out(database: Database) -> None:
    """What a worker does with accepted referrals; the agencies here are reached by their inboxes alone."""
    await FanOut().run(database, WORKER, [])


async def until(condition: Callable[[], bool], seconds: float = SOON) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def eventually(ask: Callable[[], Awaitable[bool]], seconds: float = SOON) -> None:
    """Wait until what is asked is true."""
    async with asyncio.timeout(seconds):
        while not await ask():
            await asyncio.sleep(0.02)


async def settled(agency: httpx.AsyncClient, path: str = "/v1/inbox") -> str:
    """The tag of a list that has come to rest: the first changes of a start are behind it."""
    tags: list[str] = []

    async def at_rest() -> bool:
        tags.append((await agency.get(path)).headers["ETag"])
        return len(tags) > 1 and tags[-1] == tags[-2]

    await eventually(at_rest)
    return tags[-1]


async def soon(poll: Awaitable[httpx.Response]) -> httpx.Response:
    """The answer of a held poll, which must come long before its time is up."""
    async with asyncio.timeout(SOON):
        return await poll


@contextlib.asynccontextmanager
async def running(configuration: Settings, database: Database) -> AsyncIterator[House]:
    """A gateway that listens."""
    app = create_app(configuration, Nobody())
    async with app.router.lifespan_context(app):
        house = House(app, database)
        await until(lambda: app.state.versions.of("HMRC") > 0)
        yield house
        await house.cast.close()


@pytest.fixture
async def house(configuration: Settings, database: Database) -> AsyncIterator[House]:
    """A gateway whose pool has two connections."""
    async with running(configuration.model_copy(update={"database_pool": 2}), database) as opened:
        yield opened


@contextlib.asynccontextmanager
async def no_connection_left(house: House) -> AsyncIterator[None]:
    """Within the block every connection of the gateway's pool is taken."""
    engine = house.app.state.database.engine
    async with engine.connect(), engine.connect():
        assert engine.pool.checkedout() == engine.pool.size() == 2
        yield


async def events_logged(database: Database) -> int:
    """How many entries the log has."""
    async with database.transaction() as connection:
        return int(await connection.scalar(text("SELECT count(*) FROM audit_event")) or 0)


async def test_a_poll_gets_304_until_something_changes_and_then_the_page(house: House) -> None:
    agency = await house.cast.play("HMRC")
    await house.submit("HMRC")
    tag = await settled(agency)
    same = await agency.get("/v1/inbox", headers={"If-None-Match": f'"other", {tag}'})
    assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tag)
    assert (await agency.get("/v1/inbox", headers={"If-None-Match": "*"})).status_code == 304

    version = house.app.state.versions.of("HMRC")
    await house.submit("HMRC")
    await until(lambda: house.app.state.versions.of("HMRC") > version)
    changed = await agency.get("/v1/inbox", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert len(changed.json()["items"]) == 2
    assert changed.headers["ETag"] != tag


async def test_a_304_and_a_known_empty_inbox_take_no_connection_and_leave_no_entry_in_the_log(house: House) -> None:
    full, empty = await house.cast.play("HMRC"), await house.cast.play("EA")
    await house.submit("HMRC")
    tag = await settled(full)
    await settled(empty)
    before = await events_logged(house.database)
    for agency in (full, empty):  # their keys are known for a second
        await agency.get("/v1/inbox", headers={"If-None-Match": "*"})
    async with no_connection_left(house):
        unchanged = await full.get("/v1/inbox", headers={"If-None-Match": tag})
        nothing = await empty.get("/v1/inbox")
    assert unchanged.status_code == 304
    assert (nothing.status_code, nothing.json()) == (200, {"items": [], "next": None})
    assert await events_logged(house.database) == before


async def test_a_tag_is_of_one_party_limit_position_and_filter(house: House) -> None:
    agency, other = await house.cast.play("HMRC"), await house.cast.play("EA")
    await house.submit("HMRC", "EA")
    await house.submit("HMRC", "EA")
    tag = await settled(agency)
    following = (await agency.get("/v1/inbox?limit=1")).json()["next"]
    for client, path in [
        (agency, "/v1/inbox?limit=1"),
        (agency, f"/v1/inbox?limit=100&cursor={following}"),
        (agency, "/v1/inbox?state=acknowledged"),
        (other, "/v1/inbox"),
    ]:
        answer = await client.get(path, headers={"If-None-Match": tag})
        assert answer.status_code == 200, path
        assert answer.headers["ETag"] != tag
        own = {"If-None-Match": answer.headers["ETag"]}
        assert (await client.get(path, headers=own)).status_code == 304, path


@pytest.mark.parametrize("state", ["queued", "delivered"])
async def test_lists_that_reading_changes_have_no_tag(house: House, state: str) -> None:
    agency = await house.cast.play("HMRC")
    answer = await agency.get(f"/v1/inbox?state={state}", headers={"If-None-Match": "*"})
    assert answer.status_code == 200
    assert "ETag" not in answer.headers


async def test_a_tag_of_another_process_gets_the_page(configuration: Settings, database: Database) -> None:
    async with running(configuration, database) as first, running(configuration, database) as second:
        await first.submit("HMRC")
        tag = await settled(await first.cast.play("HMRC"))
        agency = await second.cast.play("HMRC")
        await settled(agency)
        assert (await agency.get("/v1/inbox", headers={"If-None-Match": tag})).status_code == 200


async def test_what_one_changes_oneself_the_next_poll_shows(house: House) -> None:
    agency = await house.cast.play("HMRC")
    await house.submit("HMRC")
    tag = await settled(agency)
    [item] = (await agency.get("/v1/inbox")).json()["items"]
    for path, body in [("acknowledgement", {}), ("response", HIT)]:
        assert (await agency.post(f"/v1/inbox/{item['id']}/{path}", json=body)).is_success
        answer = await agency.get("/v1/inbox", headers={"If-None-Match": tag})
        assert (answer.status_code, answer.json()["items"]) == (200, [])
        tag = answer.headers["ETag"]
    # And the notification of it, which comes in its own time, does not make it a second change.
    await asyncio.sleep(0.3)
    assert (await agency.get("/v1/inbox", headers={"If-None-Match": tag})).status_code == 304


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


async def test_every_process_is_told(configuration: Settings, database: Database) -> None:
    async with running(configuration, database) as first, running(configuration, database) as second:
        agency = await second.cast.play("HMRC")
        await settled(agency)
        poll = await second.holding(agency)
        id = await first.submit("HMRC")
        assert [item["referral"]["id"] for item in (await soon(poll)).json()["items"]] == [id]

        colleague = await first.cast.play("HMRC")
        [item] = (await colleague.get("/v1/inbox")).json()["items"]
        poll = await second.holding(agency, **{"If-None-Match": await settled(agency)})
        await colleague.post(f"/v1/inbox/{item['id']}/acknowledgement")
        assert (await soon(poll)).json()["items"] == []


async def test_a_lost_connection_is_made_again_and_nothing_is_missed(house: House) -> None:
    agency = await house.cast.play("HMRC")
    await settled(agency)
    poll = await house.holding(agency)
    async with house.database.transaction() as connection:
        ended = await connection.scalar(
            text("""
                SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE datname = current_database() AND query ILIKE '%inbox_change%' AND pid <> pg_backend_pid()
            """)
        )
    assert ended == 1
    id = await house.submit("HMRC")
    assert [item["referral"]["id"] for item in (await soon(poll)).json()["items"]] == [id]
    tag = await settled(agency)
    assert (await agency.get("/v1/inbox", headers={"If-None-Match": tag})).status_code == 304


async def test_a_lost_notification_costs_two_seconds(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    agency = await house.cast.play("HMRC")
    await settled(agency)
    poll = await house.holding(agency)
    monkeypatch.setattr(notify, "CHANNEL", "nobody_listens_here")
    id = await house.submit("HMRC")
    answer = await soon(poll)
    assert [item["referral"]["id"] for item in answer.json()["items"]] == [id]
    # It is found once, and is no further change at the next look.
    await asyncio.sleep(LOOK_SECONDS + 0.5)
    assert (await agency.get("/v1/inbox", headers={"If-None-Match": answer.headers["ETag"]})).status_code == 304


async def test_many_held_polls_hold_no_connection(house: House) -> None:
    parties = ["HMRC", "EA", "DWP", "HSE"]
    clients = [await house.cast.play(party) for party in parties]
    for client in clients:
        await settled(client)
    polls = [asyncio.create_task(client.get("/v1/inbox", headers=HOLD)) for client in clients for _ in range(50)]
    await until(lambda: house.held == 200, 20)
    assert house.app.state.database.engine.pool.size() == 2
    await until(lambda: house.app.state.database.engine.pool.checkedout() == 0)
    await house.submit(*parties)
    answers = await asyncio.gather(*(asyncio.wait_for(poll, 20) for poll in polls))
    assert {answer.status_code for answer in answers} == {200}
    assert {len(answer.json()["items"]) for answer in answers} == {1}


async def test_one_party_cannot_hold_all_there_is(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "MOST_OF_A_PARTY", 2)
    monkeypatch.setattr(waits, "MOST", 3)
    greedy, other = await house.cast.play("HMRC"), await house.cast.play("EA")
    for agency in (greedy, other):
        await settled(agency)
    polls = [await house.holding(greedy), await house.holding(greedy)]
    refused = await greedy.get("/v1/inbox", headers=HOLD)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "5")
    assert (await greedy.get("/v1/inbox")).status_code == 200
    polls.append(await house.holding(other))
    refused = await (await house.cast.play("DWP")).get("/v1/inbox", headers=HOLD)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    await until(lambda: house.held == 0)


async def test_a_revoked_key_ends_its_held_polls_and_no_other(house: House) -> None:
    agency, other = await house.cast.play("HMRC"), await house.cast.play("HMRC")
    await settled(agency)
    poll, remaining = await house.holding(agency), await house.holding(other)
    async with house.database.transaction() as connection:
        newest = text("SELECT id FROM api_key WHERE party = 'HMRC' ORDER BY created_at LIMIT 1")
        id = await connection.scalar(newest)
        await connection.execute(update(ApiKey).where(ApiKey.id == id).values(revoked_at=text("now()")))
    assert (await soon(poll)).status_code == 401
    assert not remaining.done()
    await house.submit("HMRC")
    assert (await soon(remaining)).status_code == 200


async def test_a_page_ends_before_its_documents_are_too_many_bytes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    agency = await house.cast.play("HMRC")
    large = [{"family_name": "Quill" * 18, "given_names": f"Rhys {number}"} for number in range(40)]
    subject = referral()["subject"] | {"aliases": large}
    ids = [await house.submit("HMRC", subject=subject) for _ in range(5)]
    async with house.database.transaction() as connection:
        size = int(await connection.scalar(text("SELECT max(octet_length(content)) FROM referral")) or 0)
    monkeypatch.setattr(items, "PAGE_BYTES", 2 * size)
    read, cursor = [], ""
    while cursor is not None:
        page = (await agency.get(f"/v1/inbox?limit=500{cursor and '&cursor=' + cursor}")).json()
        read.append([item["referral"]["id"] for item in page["items"]])
        cursor = page["next"]
    assert read == [ids[:2], ids[2:4], ids[4:]]

    monkeypatch.setattr(items, "PAGE_BYTES", 1)
    page = (await agency.get("/v1/inbox?limit=500")).json()
    assert [item["referral"]["id"] for item in page["items"]] == ids[:1]
    assert page["next"] is not None

    monkeypatch.setattr(items, "PAGE_BYTES", 2 * size)
    claimed = [(await agency.post("/v1/inbox/claims", json={"limit": 500})).json()["items"] for _ in range(3)]
    assert [[item["referral"]["id"] for item in batch] for batch in claimed] == [ids[:2], ids[2:4], ids[4:]]


class Served:
    """A gateway served by uvicorn in this process."""

    def __init__(self, house: House, server: uvicorn.Server, url: str) -> None:
        self.house = house
        self.server = server
        self.url = url


@pytest.fixture
async def served(configuration: Settings, database: Database) -> AsyncIterator[Served]:
    """A gateway behind a real socket, with the protocol that `gain serve` uses."""
    app = create_app(configuration, Nobody())
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        app,
        http=Connection,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=4,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    house = House(app, database)
    await until(lambda: server.started)
    yield Served(house, server, url)
    server.should_exit = True
    await asyncio.wait_for(serving, 15)


async def test_a_client_that_goes_away_frees_its_place(served: Served) -> None:
    key = await served.house.cast.key("HMRC")
    async with httpx.AsyncClient(base_url=served.url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as agency:
        await settled(agency)
        poll = await served.house.holding(agency)
        poll.cancel()
        await until(lambda: served.house.held == 0)
        assert (await agency.get("/v1/inbox")).status_code == 200


async def test_a_stop_of_the_gateway_answers_held_polls(served: Served) -> None:
    key = await served.house.cast.key("HMRC")
    async with httpx.AsyncClient(base_url=served.url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as agency:
        tag = await settled(agency)
        empty = await served.house.holding(agency)
        unchanged = await served.house.holding(agency, **{"If-None-Match": tag})
        began = time.monotonic()
        served.server.should_exit = True
        answer = await soon(empty)
        assert (answer.status_code, answer.json()["items"]) == (200, [])
        assert (await soon(unchanged)).status_code == 304
        assert time.monotonic() - began < 2.0
