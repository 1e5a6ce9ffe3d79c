"""What a poll of an inbox gets: the page, or 304 while nothing has changed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from app.db import Database
from app.inbox import items
from app.settings import Settings
from tests.app.long_poll import House, house, running, settled, until
from tests.conftest import HIT, referral

__all__ = ["house"]


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
