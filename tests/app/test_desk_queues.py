"""The queues page: one look shows which body is stuck and since when."""

import re
from uuid import uuid4

import pytest

from app.access.policy import Role
from app.db import Database
from app.referrals.heartbeat import Beating, beat
from tests.acts import change, inbox, rows
from tests.app.test_desk_home import late
from tests.app.test_pages import submitted
from tests.browser import signed_in
from tests.conftest import Cast, Workers

pytestmark = pytest.mark.timeout(120)


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
