"""An agency's open list hears that there is something new, and for no longer than its session lasts."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from app.access import keys as api_keys
from app.access.keys import Credential
from app.access.policy import Role
from app.access.principal import Principal
from app.access.sessions import Reader, close_session, open_session, session_id
from app.crypto.keys import Keys
from app.db import Database
from app.inbox.versions import Versions
from app.inbox.web_inbox.news import News, Since
from tests.conftest import SECRET

KEYS = Keys(SECRET.encode())


@pytest.fixture
async def news(database: Database) -> AsyncIterator[News]:
    opened = News(database, Versions(), asyncio.Event())
    yield opened
    await opened.close()


async def session(database: Database) -> str:
    """The cookie of a session of the Environment Agency."""
    async with database.transaction() as connection:
        issued = api_keys.parse(await api_keys.issue(connection, KEYS, "EA"))
        assert issued
        return await open_session(connection, KEYS, Credential(issued[0], "EA", Role.AGENCY))


@pytest.mark.parametrize(
    "ending",
    ["UPDATE api_key SET revoked_at = now()", "UPDATE session SET expires_at = now()", ""],
    ids=["revoked", "expired", "signed out"],
)
async def test_an_open_list_ends_within_two_seconds_of_its_session(news: News, database: Database, ending: str) -> None:
    cookie = await session(database)
    reader = Reader(session_id(KEYS, cookie), Role.AGENCY)
    events = news.stream(reader, Principal("EA", Role.AGENCY, "a key"), Since(datetime.now(UTC), ""))
    async with asyncio.timeout(5):
        while b"words" not in await anext(events):
            pass
    async with database.transaction() as connection:
        if ending:
            await connection.execute(text(ending))
        else:
            await close_session(connection, KEYS, cookie)
    began = time.monotonic()
    async with asyncio.timeout(5):
        async for _ in events:
            pass
    assert time.monotonic() - began < 2
