"""Reference data read often and changed seldom: one copy per process, read again every few seconds."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from app.db import AS_GATEWAY, Connection, Database

T = TypeVar("T")


class Snapshot(Generic[T]):
    """The latest `T` that `load` gave, at most `seconds` old, and a moment more while it is read again.

    It is read again whole, not by a marker: a hundred rows cost about as much, and no writer can forget to set one.
    """

    def __init__(self, load: Callable[[Connection], Awaitable[T]], seconds: float = 5.0) -> None:
        self._load = load
        self._seconds = seconds
        self._value: T | None = None
        self._read_at = 0.0
        self._reading: asyncio.Task[T] | None = None

    def current(self) -> T | None:
        """The value where the copy is young enough, else None: `get` it with a connection, or `read` it."""
        if time.monotonic() - self._read_at < self._seconds:
            return self._value
        return None

    async def get(self, connection: Connection) -> T:
        """The value, read on `connection` where the copy is too old."""
        if (current := self.current()) is not None:
            return current
        read_at = time.monotonic()
        value = await self._load(connection)
        self._value, self._read_at = value, read_at
        return value

    async def read(self, database: Database) -> T:
        """The value, for a caller without a connection. However many ask, it is read once for all, or fails for all.

        Meanwhile those who came later get the value as it was; where there was none, they wait too.
        """
        if (current := self.current()) is not None:
            return current
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(database))
        elif self._value is not None:
            return self._value
        return await asyncio.shield(self._reading)  # one caller that goes away takes it from nobody

    async def _read(self, database: Database) -> T:
        try:
            async with database.transaction(AS_GATEWAY) as connection:
                return await self.get(connection)
        finally:
            self._reading = None

    def forget(self) -> None:
        """Read again at the next `get`."""
        self._value = None
