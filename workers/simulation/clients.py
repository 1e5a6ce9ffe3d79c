"""Outside clients: the bodies that work their inbox over HTTP, as any partner agency's program would.

They know the public contract and nothing else. What they have received is kept in memory only; after a restart they go
on from what their inbox shows as acknowledged.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from workers.simulation.bearer import KeyOrToken
from workers.simulation.bodies import Body, bodies
from workers.simulation.roster import OUTSIDE_CLIENTS
from workers.simulation.timing import real_seconds_left

log = logging.getLogger(__name__)

_IDLE_SECONDS = 0.4
_RECONCILE_SECONDS = 30.0
_PAGE = 100
_BATCH = 50
"""Answers sent at once: with 20 facts each they still fit the gateway's 256 KiB."""
_AGAIN_SECONDS = 1.0
_LONGEST_BACKOFF_SECONDS = 10.0
_SETTLED = frozenset({200, 201, 404, 409, 410})
"""Nothing more can come of an answer with one of these: it is recorded, or it never will be."""


@dataclass(slots=True)
class _Pending:
    """An item that awaits its answer: due at `due` on the loop's clock; `attempt` counts the answers given."""

    item: Mapping[str, Any]
    due: float
    attempt: int = 1


class _Later(Exception):
    """The gateway asks to come back in so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class Client:
    """One body at its inbox: poll, acknowledge, answer when the body would have."""

    def __init__(self, http: httpx.AsyncClient, body: Body, key: str, speed: float) -> None:
        self._http = http
        self._body = body
        self._auth = KeyOrToken(key)
        self._speed = speed
        self._pending: dict[str, _Pending] = {}
        self._reconciled = float("-inf")

    async def work(self) -> None:
        """Serve the inbox until cancelled; a gateway that is away or busy is asked again, less and less often."""
        failures = 0
        while True:
            try:
                busy = await self.round()
                failures = 0
                wait = 0.0 if busy else _IDLE_SECONDS
            except _Later as later:
                wait = later.seconds
            except (httpx.TransportError, httpx.HTTPStatusError, ValueError, KeyError, TypeError) as problem:
                failures += 1
                wait = min(_LONGEST_BACKOFF_SECONDS, 0.2 * 2 ** min(failures, 10))
                log.warning("%s: %s, again in %.1f s", self._body.code, type(problem).__name__, wait)
            await asyncio.sleep(wait)

    async def round(self) -> bool:
        """Poll once and answer what is due; whether there was anything to do. Raises what `work` waits out."""
        if _clock() - self._reconciled > _RECONCILE_SECONDS:
            async for page in self._pages({"state": "acknowledged"}):
                self._receive(page)
            self._reconciled = _clock()
        received = False
        async for page in self._pages({}):
            await self._call("POST", "/v1/inbox/acknowledgements", {"ids": [item["id"] for item in page]})
            self._receive(page)
            received = True
        due = [pending for pending in self._pending.values() if pending.due <= _clock()][:_BATCH]
        if due:
            await self._answer(due)
        return received or bool(due)

    async def _pages(self, query: Mapping[str, str]) -> AsyncIterator[list[Mapping[str, Any]]]:
        cursor: dict[str, str] = {}
        while True:
            page = await self._call("GET", "/v1/inbox", query={"limit": str(_PAGE), **query, **cursor})
            if page["items"]:
                yield page["items"]
            if not page["next"]:
                return
            cursor = {"cursor": page["next"]}

    def _receive(self, items: Iterable[Mapping[str, Any]]) -> None:
        now = datetime.now(UTC)
        for item in items:
            if item["state"] == "cancelled":
                self._pending.pop(item["id"], None)
            elif item["id"] not in self._pending:
                self._pending[item["id"]] = _Pending(item, _clock() + self._seconds(item, now))

    def _seconds(self, item: Mapping[str, Any], received: datetime) -> float:
        life = self._body.answers_after(item["id"], item["reference"], item["priority"], received)
        return real_seconds_left(life, received, received, self._speed)

    async def _answer(self, due: list[_Pending]) -> None:
        ready: list[dict[str, Any]] = []
        for pending in due:
            id_ = pending.item["id"]
            failing = self._body.failing(id_, pending.attempt) if self._speed > 0 else None
            pending.attempt += 1
            pending.due = _clock() + _AGAIN_SECONDS
            if failing == "malformed":
                await self._misspeak(id_)
            elif failing is None:
                ready.append({"id": id_, **self._body.answer(id_, pending.item["referral"])})
        if ready:
            told = await self._call("POST", "/v1/inbox/responses", {"items": ready})
            self._settle(told["items"])

    async def _misspeak(self, id_: str) -> None:
        """Send a reply that is no answer, as this body does now and then; the gateway refuses it."""
        try:
            await self._call("POST", f"/v1/inbox/{id_}/response", self._body.malformed(id_))
        except httpx.HTTPStatusError as refused:
            log.info("%s: a malformed answer was refused with %d", self._body.code, refused.response.status_code)

    def _settle(self, results: Iterable[Mapping[str, Any]]) -> None:
        for result in results:
            if result["status"] in _SETTLED:
                self._pending.pop(result["id"], None)
            else:
                log.error("%s: an answer was refused with %d", self._body.code, result["status"])

    async def _call(self, method: str, path: str, body: Any = None, query: Mapping[str, str] | None = None) -> Any:
        answer = await self._http.request(method, path, json=body, params=query, auth=self._auth)
        if answer.status_code in (429, 503):
            raise _Later(_retry_after(answer))
        answer.raise_for_status()
        return answer.json()


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _retry_after(answer: httpx.Response) -> float:
    given = answer.headers.get("Retry-After", "")
    return min(60.0, float(given)) if given.isascii() and given.isdigit() else 1.0


async def serve(base_url: str, keys: Mapping[str, str], seed: int, speed: float) -> None:
    """Serve the inboxes of the bodies in `keys` (code to API key) until cancelled."""
    registers = bodies(seed, frozenset(keys) & OUTSIDE_CLIENTS)
    timeout = httpx.Timeout(30, connect=5)
    async with httpx.AsyncClient(base_url=base_url, timeout=timeout) as http, asyncio.TaskGroup() as group:
        for code, body in registers.items():
            group.create_task(Client(http, body, keys[code], speed).work(), name=code)


def run(base_url: str, keys: dict[str, str], seed: int, speed: float) -> None:
    """Serve until SIGTERM or SIGINT, then return. `speed` divides life time; 0 is instant."""

    async def until_stopped() -> None:
        serving = asyncio.ensure_future(serve(base_url, keys, seed, speed))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await serving

    asyncio.run(until_stopped())
