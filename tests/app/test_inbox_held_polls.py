"""Held polls: every process hears of what arrives, whatever is lost, and none of them keeps anybody out."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import httpx
import pytest
import uvicorn
from sqlalchemy import text, update

from app.access.models import ApiKey
from app.db import Database
from app.inbox import waits
from app.inbox.listener import LOOK_SECONDS
from app.main import create_app
from app.referrals.lifecycle import notify
from app.runtime.gateway import Connection
from app.settings import Settings
from app.wake import Nobody
from tests.app.long_poll import HOLD, House, house, running, settled, soon, until

__all__ = ["house"]


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
