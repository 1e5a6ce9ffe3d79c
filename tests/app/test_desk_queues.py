"""The queues page: one look shows which body is stuck and since when."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import orjson
import pytest

from app import clock
from app.access.policy import Role
from app.access.principal import behalf_of
from app.access.sessions import Reader, session_id
from app.db import Database
from app.parties.directory import DirectoryCache
from app.referrals.heartbeat import Beating, beat
from app.status.live import Live
from app.status.queue_pages import Queues
from app.web.health import Readiness
from app.web.words import LONDON
from tests.acts import change, eventually, inbox, rows
from tests.app.test_desk_home import late
from tests.app.test_live import KEYS, QUIET, session
from tests.app.test_pages import submitted
from tests.browser import signed_in
from tests.conftest import HIT, Cast, Workers

pytestmark = pytest.mark.timeout(120)


@asynccontextmanager
async def _followed(database: Database) -> AsyncIterator[Live]:
    async def fine() -> None:
        return None

    live = Live(database, Readiness({"database": fine}, {"broker": fine}), QUIET, asyncio.Event())
    yield live
    await live.close()


async def _news(stream: AsyncIterator[bytes]) -> str:
    async with asyncio.timeout(30):
        async for sent in stream:
            if sent.startswith(b"data: ") and (parts := orjson.loads(sent.removeprefix(b"data: "))):
                return "\n".join(parts)
    raise AssertionError("the stream has ended")


def line(page: str, agency: str) -> str:
    """A body's line, without its marks."""
    row = page[page.index(f'id="queue-{agency}"') :]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", row[: row.index("</tr>")]))


async def test_a_stuck_body_stands_first_with_its_reason_and_since_when(
    cast: Cast, workers: Workers, database: Database
) -> None:
    await submitted(cast, "SWP", addressees=["EA", "HMRC", "DVLA"])
    await workers.run()
    browser = await signed_in(cast, "TARIAN")
    assert "No body is stuck." in (await browser.get("/queues")).text
    await late(database, "HMRC")
    await change(
        database,
        "INSERT INTO circuit (process, agency, failures, since, next_at)"
        " VALUES (:process, 'EA', 5, now() - interval '3 hours', now() + interval '20 seconds')",
        process=uuid4(),
    )
    page = (await browser.get("/queues")).text
    told = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page[page.index("What is stuck") :]))
    assert re.search(r"EA for 3 hours , since .*: calls to it fail, and are paused\. Next try \d\d:\d\d\.", told)
    order = re.findall(r'<tr class="govuk-table__row" id="queue-([A-Z0-9-]+)"', page)
    assert order[:2] == ["EA", "HMRC"]
    assert order[2:] == sorted(order[2:])
    assert "Stuck Calls to it fail, and are paused, for 3 hours" in line(page, "EA")
    assert "Late Answers are overdue, for 2 days" in line(page, "HMRC")
    assert "Well 1 0 0 0" in line(page, "DVLA")
    assert 'href="/queues/HMRC/chase"' in page
    only = (await browser.get("/queues?show=late")).text
    assert re.findall(r'id="queue-([A-Z0-9-]+)"', only) == ["EA", "HMRC"]
    assert '<option value="late" selected' in only
    assert (await browser.get("/queues?show=everything")).status_code == 404


async def test_figures_are_of_the_region_and_read_by_overseers_alone(cast: Cast, workers: Workers) -> None:
    await submitted(cast, "GMP", addressees=["DVLA"])
    await workers.run()
    assert "Well 0 0 0 0 none open" in line((await (await signed_in(cast, "TARIAN")).get("/queues")).text, "DVLA")
    national = await signed_in(cast, "GAIN", Role.NATIONAL)
    assert "Well 1 0 0 0" in line((await national.get("/queues")).text, "DVLA")
    assert "Well 0 0 0 0" in line((await national.get("/queues?region=TARIAN")).text, "DVLA")
    assert (await (await signed_in(cast, "HMRC")).get("/queues")).status_code == 403


async def test_the_page_tells_how_the_system_does_and_what_quota_is_left(cast: Cast, database: Database) -> None:
    async with database.transaction() as connection:
        await beat(connection, Beating.WORKER)
    await change(
        database,
        "UPDATE party SET channel = 'push', policy = policy || jsonb_build_object('notices_per_day', 50)"
        " WHERE code = 'EA'",
    )
    await change(
        database,
        "INSERT INTO notice_count (agency, day, in_day)"
        " VALUES ('EA', CAST(now() AT TIME ZONE 'Europe/London' AS date) - date '1970-01-01', 12)",
    )
    page = (await (await signed_in(cast, "TARIAN")).get("/queues")).text
    assert "Workers last finished work a few seconds ago." in page
    assert "Scheduler last looked for work never." in page
    assert "Message broker answers." in page
    assert "38 of 50 left today" in line(page, "EA")
    assert "No limit" in line(page, "DVLA")


async def test_one_bodys_page_shows_its_cases(cast: Cast, workers: Workers, database: Database) -> None:
    reference = await submitted(cast, "SWP", addressees=["EA", "HMRC"])
    await workers.run()
    await late(database, "EA")
    assert await inbox(await cast.play("HMRC"))
    browser = await signed_in(cast, "TARIAN")
    page = (await browser.get("/queues/EA")).text
    assert reference in page
    assert "2 days overdue" in page
    assert 'href="/queues/EA/chase"' in page
    assert reference not in (await browser.get("/queues/HMRC")).text
    assert (await browser.get("/queues/SWP")).status_code == 404
    read = await rows(database, "SELECT detail->>'agency' AS agency FROM audit_event WHERE action = 'queue.read'")
    assert [one["agency"] for one in read] == ["EA", "HMRC"]


async def test_answers_of_the_last_hours_stand_beside_the_queue(cast: Cast, workers: Workers) -> None:
    await submitted(cast, "SWP", addressees=["EA"])
    await workers.run()
    agency = await cast.play("EA")
    [item] = await inbox(agency)
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=HIT)).status_code == 201
    page = (await (await signed_in(cast, "TARIAN")).get("/queues")).text
    assert 'aria-label="1 answer in 24 hours, at most 1 in one"' in page
    assert "100%" in line(page, "EA")
    assert "1 answer in 24 hours" not in (await (await signed_in(cast, "TITAN")).get("/queues")).text


async def test_a_body_that_is_away_says_so_until_when(cast: Cast) -> None:
    agency = await cast.play("EA")
    today = clock.now().astimezone(LONDON).date()
    absence = {"first_day": today.isoformat(), "last_day": (today + timedelta(days=3)).isoformat()}
    assert (
        await agency.put("/v1/policy", json={"working_days": [1, 2, 3, 4, 5], "out_of_office": absence})
    ).status_code == 200
    words = f"Away until {today + timedelta(days=3):%-d %B %Y}"
    browser = await signed_in(cast, "TARIAN")
    assert words in line((await browser.get("/queues")).text, "EA")
    assert words in (await browser.get("/queues/EA")).text
    assert "Away" not in line((await browser.get("/queues")).text, "HMRC")
    back = {"first_day": (today + timedelta(days=2)).isoformat(), "last_day": (today + timedelta(days=3)).isoformat()}
    assert (
        await agency.put("/v1/policy", json={"working_days": [1, 2, 3, 4, 5], "out_of_office": back})
    ).status_code == 200

    async def is_back() -> bool:
        return "Away" not in (await browser.get("/queues/EA")).text

    await eventually(is_back, seconds=30)


async def test_an_open_page_is_sent_the_rows_that_changed_and_their_new_order(
    cast: Cast, workers: Workers, database: Database
) -> None:
    await submitted(cast, "SWP", addressees=["EA", "HMRC"])
    await workers.run()
    async with AsyncExitStack() as stack:
        live = await stack.enter_async_context(_followed(database))
        sight = Queues("TARIAN", "", "", behalf_of(Role.COORDINATOR, ["TARIAN"]), DirectoryCache())
        stream = live.stream(Reader(session_id(KEYS, await session(database)), Role.COORDINATOR), sight)
        stack.push_async_callback(stream.aclose)  # type: ignore[attr-defined]  # it is an async generator
        first = await _news(stream)
        assert {'id="stuck"', 'id="system"', 'id="queues"', 'id="queue-EA"', 'id="queue-HMRC"'} <= set(
            re.findall(r'id="[a-zA-Z-]+"', first)
        )
        await late(database, "HMRC")
        changed = await _news(stream)
        while "Answers are overdue" not in changed:
            changed = await _news(stream)
        assert 'id="queue-EA" tabindex' not in changed
        places = re.findall(r'<tr id="queue-([A-Z0-9-]+)" data-place>', changed)
        assert places[0] == "HMRC"
