"""Reference data read often and changed seldom: one copy per process, read again every few seconds."""

import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from app.db import Connection

T = TypeVar("T")


class Snapshot(Generic[T]):
    """The latest `T` that `load` gave, at most `seconds` old.

    It is read again whole, not by a marker: a hundred rows cost about as much, and no writer can forget to set one.
    """

    def __init__(self, load: Callable[[Connection], Awaitable[T]], seconds: float = 5.0) -> None:
        self._load = load
        self._seconds = seconds
        self._value: T | None = None
        self._read_at = 0.0

    def current(self) -> T | None:
        """The value where the copy is young enough, else None: `get` it with a connection."""
        if time.monotonic() - self._read_at < self._seconds:
            return self._value
        return None

    async def get(self, connection: Connection) -> T:
        """The value, read on `connection` where the copy is too old."""
        if (current := self.current()) is not None:
            return current
        read_at = time.monotonic()
        self._value = await self._load(connection)
        self._read_at = read_at
        return self._value

    def forget(self) -> None:
        """Read again at the next `get`."""
        self._value = None
