"""Live pages, from the database to the stream."""

import asyncio
import time
from collections.abc import AsyncIterator

import orjson
import pytest
from sqlalchemy import event, text

from app.access import keys as api_keys
from app.access.keys import Credential
from app.access.policy import Role
from app.access.sessions import Reader, close_session, open_session, session_id
from app.crypto.keys import Keys
from app.db import Database
from app.referrals.backlog import Bounds
from app.referrals.gauge import BacklogGauge
from app.referrals.heartbeat import Beating, beat
from app.reporting.board import View
from app.settings import Settings
from app.status.live import Live
from app.status.sights import Home
from app.web.health import Readiness
from tests.conftest import SECRET

KEYS = Keys(SECRET.encode())
TARIAN = View("TARIAN")
QUIET = BacklogGauge(Bounds(10**9, 10.0**9))


@pytest.fixture
async def live(database: Database) -> AsyncIterator[Live]:
    async def fine() -> None:
        return None

    pages = Live(database, Readiness({"database": fine}, {"broker": fine}), QUIET, asyncio.Event())
    yield pages
    await pages.close()


async def session(database: Database) -> str:
    """The cookie of a session of Tarian."""
    async with database.transaction() as connection:
        issued = api_keys.parse(await api_keys.issue(connection, KEYS, "TARIAN"))
        assert issued
        return await open_session(connection, KEYS, Credential(issued[0], "TARIAN", Role.COORDINATOR))


class Page:
    """An open page."""

    def __init__(self, live: Live, cookie: str) -> None:
        self._events = live.stream(Reader(session_id(KEYS, cookie), Role.COORDINATOR), Home(TARIAN))

    async def news(self) -> str:
        """The next message that has any; fails after three seconds or at the end of the stream."""
        async with asyncio.timeout(3):
            async for sent in self._events:
                if sent.startswith(b"data: ") and (parts := orjson.loads(sent.removeprefix(b"data: "))):
                    return "\n".join(parts)
        raise AssertionError("the stream has ended")

    async def end(self) -> float:
        """Seconds until the stream ends; fails after five."""
        began = time.monotonic()
        async with asyncio.timeout(5):
            async for _ in self._events:
                pass
        return time.monotonic() - began

    async def close(self) -> None:
        await self._events.aclose()  # type: ignore[attr-defined]  # it is an async generator


async def test_a_page_gets_everything_first_and_then_only_what_changed(live: Live, database: Database) -> None:
    page = Page(live, await session(database))
    first = await page.news()
    assert 'id="queue-HMRC"' in first
    assert "Scheduler last looked for work never." in first
    async with database.transaction() as connection:
        await beat(connection, Beating.SCHEDULER)
    changed = await page.news()
    assert "Scheduler last looked for work a few seconds ago." in changed
    assert 'id="queue-HMRC"' not in changed
    await page.close()


async def test_many_open_pages_cost_one_look_a_second_and_hold_no_connection(live: Live, database: Database) -> None:
    looks = []
    event.listen(
        database.engine.sync_engine,
        "before_cursor_execute",
        lambda *given: looks.append(time.monotonic()) if "agency_seen" in given[2] else None,
    )
    cookie = await session(database)
    pages = [Page(live, cookie) for _ in range(20)]
    await asyncio.gather(*(page.news() for page in pages))
    assert live.open_pages == 20
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # every queue pool has it
    async with database.transaction() as connection:
        await beat(connection, Beating.WORKER)
    await asyncio.gather(*(page.news() for page in pages))
    assert len(looks) <= 2 + (looks[-1] - looks[0]), "one look serves all open pages"
    for page in pages:
        await page.close()
    assert live.open_pages == 0


@pytest.mark.parametrize(
    "ending",
    [
        "UPDATE api_key SET revoked_at = now()",
        "UPDATE session SET expires_at = now()",
        "",
    ],
    ids=["revoked", "expired", "signed out"],
)
async def test_a_page_ends_within_two_seconds_of_its_session(live: Live, database: Database, ending: str) -> None:
    cookie = await session(database)
    page = Page(live, cookie)
    await page.news()
    async with database.transaction() as connection:
        if ending:
            await connection.execute(text(ending))
        else:
            await close_session(connection, KEYS, cookie)
    assert await page.end() < 2


async def test_a_page_says_so_when_the_database_is_away() -> None:
    async def away() -> None:
        raise ConnectionError

    nowhere = Database(Settings(database_url="postgresql+asyncpg://nobody@127.0.0.1:9/nothing"))
    pages = Live(nowhere, Readiness({"database": away}, {"broker": away}), QUIET, asyncio.Event())
    page = Page(pages, "any")
    assert "The database does not answer: what is shown here may be out of date." in await page.news()
    await page.close()
    await pages.close()
    await nowhere.close()
