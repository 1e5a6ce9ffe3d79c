"""Requests that are held until an inbox changes. None holds a database connection."""

import asyncio
import contextlib
from collections.abc import Callable

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from app.access.keys import in_force
from app.access.principal import Principal
from app.access.tokens import revoked_among
from app.db import AS_GATEWAY, Database, is_away
from app.errors import CREDENTIAL_REQUIRED, TOO_MANY_REQUESTS, UNAVAILABLE, Problem
from app.inbox.versions import Versions
from app.logs import logger

MOST_OF_A_PARTY = 100
MOST = 2_000
"""Requests held at once in one process, of one party and in all; each costs some kilobytes and a socket."""

_RETRY_SECONDS = 5
_LOOK_SECONDS = 1.0  # how often keys and tokens are looked up: a revoked one ends its waits within two seconds

log = logger()


class _Wait:
    """One held request. How it ends first is how it ends: with True (something changed), False or an error."""

    def __init__(self, principal: Principal) -> None:
        self.party = principal.party
        self.credential = principal.credential
        self.token = principal.token
        self.over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def end(self, changed: bool = False) -> None:
        if not self.over.done():
            self.over.set_result(changed)

    def changed(self) -> None:
        self.end(True)

    def fail(self, error: BaseException) -> None:
        if not self.over.done():
            self.over.set_exception(error)


class Waits:
    """The held requests of this process. `stopping` is set when the gateway stops: that ends them all.

    `pool` is the number of database connections the process may have.
    """

    def __init__(self, database: Database, versions: Versions, stopping: asyncio.Event, pool: int) -> None:
        self._database = database
        self._versions = versions
        self._stopping = stopping
        self._held: set[_Wait] = set()
        self._looking: asyncio.Task[None] | None = None
        self.turn = asyncio.Semaphore(max(1, pool // 2))
        """What wakes reads under this: many that wake at once leave half of the pool's connections to others."""

    @property
    def held(self) -> int:
        """How many requests are held."""
        return len(self._held)

    async def change(self, principal: Principal, version: int, seconds: float, receive: Receive) -> bool:
        """Wait until the inbox of the principal's party has another version than this; False where it has not by then.

        Raises `Problem`: 429 or 503 where too many wait, 401 when the key or token is revoked; `ClientDisconnect`.
        `receive` is the request's.
        """
        if self._versions.of(principal.party) != version:
            return True
        if seconds <= 0 or self._stopping.is_set():
            return False
        self._refuse_too_many(principal.party)
        wait = _Wait(principal)
        timer = asyncio.get_running_loop().call_later(seconds, wait.end)
        client = asyncio.create_task(_leave(receive))
        client.add_done_callback(_failing(wait))
        self._join(wait)
        try:
            with self._versions.watched(principal.party, wait.changed):
                return await wait.over
        finally:
            self._held.discard(wait)
            timer.cancel()
            client.cancel()

    async def close(self) -> None:
        """End the look at the keys; the waits themselves are over by then."""
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking

    def _refuse_too_many(self, party: str) -> None:
        if len(self._held) >= MOST:
            raise Problem(UNAVAILABLE, "Too many requests are held; poll without waiting.", retry_after=_RETRY_SECONDS)
        if sum(wait.party == party for wait in self._held) >= MOST_OF_A_PARTY:
            raise Problem(TOO_MANY_REQUESTS, "Too many requests of yours are held.", retry_after=_RETRY_SECONDS)

    def _join(self, wait: _Wait) -> None:
        self._held.add(wait)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on())

    async def _look_on(self) -> None:
        """While requests are held, look every second whether their keys and tokens are in force, for all at once."""
        try:
            while self._held and not self._stopping.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await self._stopping.wait()
                await self._end_revoked()
        except Exception as error:
            # The next request that waits begins a new look; a defect is in the log each time.
            log.error("the look at the keys of held requests failed", exc_info=error)
        finally:
            self._looking = None
            for wait in self._held:
                wait.end()

    async def _end_revoked(self) -> None:
        held = list(self._held)
        if not held:
            return
        try:
            async with self._database.transaction(AS_GATEWAY) as connection:
                valid = await in_force(connection, {wait.credential for wait in held})
                revoked = await revoked_among(connection, {wait.token for wait in held if wait.token is not None})
        except Exception as error:
            if not is_away(error):
                raise
            return  # what wakes now is authenticated anew before it is shown anything
        for wait in held:
            if wait.credential not in valid or wait.token in revoked:
                wait.fail(Problem(CREDENTIAL_REQUIRED))


async def _leave(receive: Receive) -> None:
    """Return when the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _failing(wait: _Wait) -> Callable[[asyncio.Task[None]], None]:
    def end(client: asyncio.Task[None]) -> None:
        if not client.cancelled():
            wait.fail(client.exception() or ClientDisconnect())

    return end
