"""Live pages: one look a second for all that are open in this process, and each is sent the parts that changed."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson
from fastapi.sse import format_sse_event

from app.access.covers import Covers
from app.access.policy import Role
from app.access.sessions import Reader, in_force
from app.db import AS_GATEWAY, Database, act, is_away
from app.logs import logger
from app.referrals.gauge import BacklogGauge
from app.status.concerns import Running
from app.status.parts import database_away
from app.status.sights import Paint, Parts, Sight
from app.web.health import Readiness

LOOK_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0
_RETRY_MILLISECONDS = 1000
_LONGEST_LOOK_SECONDS = 5.0

log = logger()


class _Follower:
    """One open page: what it may see, and what the last look found for it."""

    def __init__(self, reader: Reader, sight: Sight) -> None:
        self.reader = reader
        self.sight = sight
        self.over = False
        self._found: Parts = {}
        self._sent: dict[str, str] = {}
        self._news = asyncio.Event()

    def offer(self, found: Parts) -> None:
        """The last look found this."""
        if found != self._found:
            self._found = found
            self._news.set()

    def end(self) -> None:
        """Nothing follows."""
        self.over = True
        self._news.set()

    async def changed(self, seconds: float) -> list[str]:
        """The parts that differ from those sent, as soon as there are any; none after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()
        changed = {part: html for part, html in self._found.items() if self._sent.get(part) != html}
        self._sent |= changed
        return list(changed.values())


class Live:
    """The open pages of this process. Between looks no page holds a database connection."""

    def __init__(
        self,
        database: Database,
        readiness: Readiness,
        backlog: BacklogGauge,
        stopping: asyncio.Event,
        covers: Covers | None = None,
    ) -> None:
        self._database = database
        self._readiness = readiness
        self._backlog = backlog
        self._stopping = stopping
        self._covers = covers or Covers(database)
        self._followers: set[_Follower] = set()
        self._painters: dict[Sight, Paint] = {}
        self._looking: asyncio.Task[None] | None = None

    @property
    def open_pages(self) -> int:
        """How many pages are followed."""
        return len(self._followers)

    async def stream(self, reader: Reader, sight: Sight) -> AsyncIterator[bytes]:
        """Server-sent events: JSON arrays of HTML elements, first all parts, then those that changed.

        Ends when the reader's session is over or the gateway stops. Every `HEARTBEAT_SECONDS` without news an
        empty array tells the page that it is still live: a script is not shown the comments of a stream.
        """
        follower = _Follower(reader, sight)
        self._join(follower)
        try:
            yield format_sse_event(retry=_RETRY_MILLISECONDS)
            while True:
                changed = await follower.changed(HEARTBEAT_SECONDS)
                if follower.over:
                    return
                yield format_sse_event(data_str=orjson.dumps(changed).decode())
        finally:
            self._followers.discard(follower)

    async def close(self) -> None:
        """End every stream."""
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking

    def _join(self, follower: _Follower) -> None:
        self._followers.add(follower)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on())

    async def _look_on(self) -> None:
        """Look every second while a page is open."""
        try:
            while self._followers and not self._stopping.is_set():
                began = time.monotonic()
                await self._look()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(began + LOOK_SECONDS - time.monotonic()):
                        await self._stopping.wait()
        except Exception as error:
            # The pages come back in a second and begin a new look; a defect is in the log each time.
            log.error("the look for the open pages failed", exc_info=error)
        finally:
            self._looking = None
            self._painters = {}
            for follower in self._followers:
                follower.end()

    async def _look(self) -> None:
        followers = list(self._followers)  # a page opened while we look is of the next look
        report = asyncio.create_task(self._readiness.report())
        try:
            async with asyncio.timeout(_LONGEST_LOOK_SECONDS):
                valid, read = await self._read(followers)
        except Exception as error:
            if not is_away(error):
                raise
            told = database_away()
            for follower in followers:
                follower.offer(told)
            return
        running = Running((await report).works("broker"), self._backlog.refused_priorities())
        found = await self._paint(read, running)
        for follower in followers:
            if follower.reader in valid and follower.sight in found:
                follower.offer(found[follower.sight])
            else:
                follower.end()

    async def _paint(self, read: Mapping[Sight, Any], running: Running) -> dict[Sight, Parts]:
        self._painters = {sight: self._painters.get(sight) or sight.painter() for sight in read}
        # In a thread: when much has changed at once, painting takes longer than other requests should wait.
        return {sight: await asyncio.to_thread(paint, read[sight], running) for sight, paint in self._painters.items()}

    async def _read(self, followers: Sequence[_Follower]) -> tuple[set[Reader], dict[Sight, Any]]:
        """The readers whose session is still in force, and one reading for each sight however many pages show it."""
        sights = {follower.sight for follower in followers if self._may_still(follower.sight)}
        async with self._database.transaction(AS_GATEWAY) as connection:
            valid = await in_force(connection, {follower.reader for follower in followers})
            read = {}
            for sight in sights:
                await act(connection, sight.behalf)
                read[sight] = await sight.read(connection)
            return valid, read

    def _may_still(self, sight: Sight) -> bool:
        """Whether all that a sight acts for is covered still: no stream outlasts the cover it was opened under."""
        party, *covered = sight.behalf.parties or ("",)
        return set(covered) <= set(self._covers.of(party, Role.COORDINATOR))
