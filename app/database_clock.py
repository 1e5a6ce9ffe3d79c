"""The database's clock, for what is reckoned in a process before the database is asked: its own clock may be wrong."""

import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from app import clock
from app.db import Connection

_NOW = text("SELECT clock_timestamp()")


class DatabaseClock:
    """The database's time as it was last seen, carried on by the machine's steady clock. One for each process.

    It is off by no more than half the round trip of a look, and by what the two clocks drift apart between looks.
    """

    def __init__(self) -> None:
        self._seen: tuple[datetime, float] | None = None

    @property
    def is_known(self) -> bool:
        """Whether anybody has looked yet."""
        return self._seen is not None

    async def look(self, connection: Connection) -> None:
        """Ask the database."""
        asked = time.monotonic()
        at: datetime = (await connection.execute(_NOW)).scalar_one()
        self._seen = at.astimezone(UTC), (asked + time.monotonic()) / 2

    async def keep(self, connection: Connection, seconds: float) -> None:
        """Ask the database where the last look is so many seconds old."""
        if self._seen is None or time.monotonic() - self._seen[1] >= seconds:
            await self.look(connection)

    def now(self) -> datetime:
        """The current time in UTC; before the first look by the process's own clock."""
        if self._seen is None:
            return clock.now()
        at, when = self._seen
        return at + timedelta(seconds=time.monotonic() - when)
