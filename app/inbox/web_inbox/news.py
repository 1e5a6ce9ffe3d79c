"""The hint of an open list that there is something new: words over a stream, within a second or two."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime

import orjson
from fastapi.sse import format_sse_event

from app.access.principal import Principal
from app.access.sessions import Reader, in_force
from app.db import AS_GATEWAY, Database, act, is_away
from app.inbox.versions import Versions
from app.inbox.web_inbox.listing import new_since
from app.logs import logger
from app.web.words import counted

HEARTBEAT_SECONDS = 15.0
_RETRY_MILLISECONDS = 1000
_PAUSE_SECONDS = 1.0  # between two looks of one page, however much changes
_CHECK_SECONDS = 0.5  # between two questions whose sessions are over

log = logger()


@dataclass(frozen=True, slots=True)
class Since:
    """What an open list shows: as of when, and of which version of the inbox (with the process that counts them)."""

    at: datetime
    version: str


class News:
    """The open lists of this process. None holds a database connection while nothing changes."""

    def __init__(self, database: Database, versions: Versions, stopping: asyncio.Event) -> None:
        self._database = database
        self._versions = versions
        self._stopping = stopping
        self._pages: dict[asyncio.Event, Reader] = {}
        self._checking: asyncio.Task[None] | None = None

    async def stream(self, reader: Reader, principal: Principal, since: Since) -> AsyncIterator[bytes]:
        """Server-sent events, each `{"words": …}`, empty where nothing is new. Ends with the session or the gateway."""
        changed = asyncio.Event()
        with self._versions.watched(principal.party, changed.set), self._checked(reader, changed):
            yield format_sse_event(retry=_RETRY_MILLISECONDS)
            told = None
            while not self._stopping.is_set():
                changed.clear()
                words = await self._look(reader, principal, since)
                if words is None:
                    return
                yield format_sse_event(data_str=orjson.dumps({"words": words}).decode())
                if words != told:
                    told = words
                    await self._wait(self._stopping, _PAUSE_SECONDS)
                await self._wait(changed, HEARTBEAT_SECONDS)

    async def close(self) -> None:
        """End what the open lists have in common."""
        if self._checking is not None:
            self._checking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._checking

    @contextlib.contextmanager
    def _checked(self, reader: Reader, changed: asyncio.Event) -> Iterator[None]:
        """Within the block, the page is told to look when its reader's session is over."""
        self._pages[changed] = reader
        if self._checking is None:
            self._checking = asyncio.create_task(self._check_on())
        try:
            yield
        finally:
            del self._pages[changed]

    async def _check_on(self) -> None:
        """Ask while a list is open whose sessions are over: one question for all."""
        try:
            while self._pages and not self._stopping.is_set():
                await self._check()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_CHECK_SECONDS):
                        await self._stopping.wait()
        except Exception as error:
            # Every page looks now, and finds out itself; the next one that opens begins a new check.
            log.error("the check of the open lists' sessions failed", exc_info=error)
            for changed in self._pages:
                changed.set()
        finally:
            self._checking = None

    async def _check(self) -> None:
        pages = dict(self._pages)
        try:
            async with self._database.transaction(AS_GATEWAY) as connection:
                valid = await in_force(connection, set(pages.values()))
        except Exception as error:
            if not is_away(error):
                raise
            return
        for changed, reader in pages.items():
            if reader not in valid:
                changed.set()

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        """Until the event, the end of the gateway, or for so long."""
        waits = [asyncio.create_task(one.wait()) for one in (event, self._stopping)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _look(self, reader: Reader, principal: Principal, since: Since) -> str | None:
        """What is to be said, None where the session is over."""
        version = f"{self._versions.epoch}.{self._versions.of(principal.party)}"
        try:
            async with self._database.transaction(AS_GATEWAY) as connection:
                if not await in_force(connection, [reader]):
                    return None
                await act(connection, principal.behalf)
                new = await new_since(connection, principal.party, since.at)
        except Exception as error:
            if not is_away(error):
                raise
            return "The database does not answer: what is shown here may be out of date."
        if new:
            return f"{counted(new, 'new item')}."
        is_same = version == since.version or _epoch(version) != _epoch(since.version)
        return "" if is_same else "Your inbox has changed."


def _epoch(version: str) -> str:
    return version.partition(".")[0]
