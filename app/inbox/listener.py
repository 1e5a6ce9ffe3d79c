"""Hears of every change of an inbox, on one connection of this process beside the pool.

PostgreSQL tells of a change as it commits (`lifecycle.notify`). Should the word be lost, on its way or because the
connection does not hear, the look for rows of `inbox_change` finds it within `LOOK_SECONDS`. While there is no
connection nothing can be known: then every version moves on at each attempt to get one, and polls read the database.
"""

import asyncio
import contextlib
from typing import Any

from app.db import AS_GATEWAY, Database
from app.inbox.versions import Versions
from app.logs import logger
from app.referrals.lifecycle.notify import CHANNEL, EVERYBODY

LOOK_SECONDS = 2.0
"""The longest that a change stays unheard of while the database answers."""

_ANSWER_SECONDS = 2.0  # a connection that does not answer by then is lost
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 2.0
_KEPT_LOOKS = 60  # rows of `inbox_change` outlive so many looks: two minutes, and at most twice that
_NO_TRANSACTION = 2**63 - 1

# A transaction that had not ended at the last look has a number not below that look's horizon.
_LOOK = """
    SELECT horizon, change.transaction, array_agg(change.agency) AS agencies
      FROM (SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint) AS horizon) AS now
      LEFT JOIN inbox_change AS change ON change.transaction >= $1
     GROUP BY horizon, change.transaction
"""

_DROP = "DELETE FROM inbox_change WHERE transaction < $1"

log = logger()


class Listener:
    """Keeps the versions of one process up to date."""

    def __init__(self, database: Database, versions: Versions) -> None:
        self._database = database
        self._versions = versions
        self._hears = False
        self._looks = 0
        self._droppable = 0

    async def run(self) -> None:
        """Listen until cancelled, connecting again whenever the connection is lost."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._listen()
            except Exception as error:
                if self._hears or pause == _FIRST_PAUSE_SECONDS:
                    log.warning("changes of inboxes are not heard of", exc_info=error)
            pause = _FIRST_PAUSE_SECONDS if self._hears else min(2 * pause, _LONGEST_PAUSE_SECONDS)
            self._hears = False
            self._versions.changed_everywhere()
            self._versions.forget(_NO_TRANSACTION)  # a new connection hears of none of them again
            await asyncio.sleep(pause)

    async def _listen(self) -> None:
        """Listen until the connection is lost. Raises whatever the driver does."""
        connection = await self._database.connect_driver(AS_GATEWAY)
        lost = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _connection: lost.set())
            async with asyncio.timeout(_ANSWER_SECONDS):
                await connection.add_listener(CHANNEL, self._hear)
            horizon = await self._look(connection, _NO_TRANSACTION)
            self._hears = True
            self._versions.changed_everywhere()  # whatever was committed before it listened
            while not await _is_set_within(lost, LOOK_SECONDS):
                horizon = await self._look(connection, horizon)
        finally:
            connection.terminate()

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        number, _, agencies = payload.partition(" ")
        if not number.isdecimal() or agencies == EVERYBODY:
            self._versions.changed_everywhere(int(number) if number.isdecimal() else None)
            return
        self._versions.changed(int(number), agencies.split(","))

    async def _look(self, connection: Any, horizon: int) -> int:
        """Hear of what was committed since the look that had this horizon; returns the horizon of this one."""
        rows = await connection.fetch(_LOOK, horizon, timeout=_ANSWER_SECONDS)
        for row in rows:
            if row["transaction"] is not None:
                self._versions.changed(row["transaction"], row["agencies"])
        following: int = rows[0]["horizon"]
        self._versions.forget(min(horizon, following))
        await self._drop_old(connection, following)
        return following

    async def _drop_old(self, connection: Any, horizon: int) -> None:
        self._looks += 1
        if self._looks % _KEPT_LOOKS:
            return
        await connection.execute(_DROP, self._droppable, timeout=_ANSWER_SECONDS)
        self._droppable = horizon


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
