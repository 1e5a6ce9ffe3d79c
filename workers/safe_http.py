"""An HTTP client for addresses that others name: it connects to checked addresses only, and keeps an answer's head.

It does one thing, a POST whose answer's body nobody looks into, for a third of what a general client costs. Answers are
parsed by llhttp and bounded; redirects are not followed, cookies and proxies not known.
"""

import asyncio
import contextlib
import socket
import ssl
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Self, cast
from urllib.parse import urlsplit

import httptools
import httpx

from app.parties.hosts import ApprovedHosts

CONNECT_SECONDS = 5.0
ANSWER_BYTES = 1024 * 1024
"""The most that is read of an answer, its head included, as it comes: nothing is ever decompressed."""

_BODY_SECONDS = 1.0  # how long the rest of an answer may take: it is read only so that its connection may serve again
_IDLE_SECONDS = 4.0  # less than common servers keep a connection: a POST on one that is closing would fail
_RESOLVED_SECONDS = 10.0

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host, for a connection to this port. Raises `OSError`."""


class CallFailed(Exception):
    """There is no answer; the text says why in words of ours, for an error's own may quote the other side."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to post to: a URL in its parts."""

    tls: bool
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> Self:
        """The parts of a URL that was checked against the approved hosts."""
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(tls, parts.hostname or "", parts.port or (443 if tls else 80), path)

    @property
    def authority(self) -> str:
        """The value of `Host`."""
        return self.host if self.port == (443 if self.tls else 80) else f"{self.host}:{self.port}"


@dataclass(slots=True)
class Answer:
    """The head of an answer. `headers` are by name in lower case, the last of each."""

    status: int
    headers: dict[str, str]


class SafeClient:
    """Posts to approved hosts, keeping connections for a while. For a process's life; use it in one loop.

    `SSL_CERT_FILE` names other certificate authorities than the usual ones.
    """

    def __init__(self, hosts: ApprovedHosts, resolve: Resolve | None = None) -> None:
        self._hosts = hosts
        self._resolve = resolve or _resolve
        self._tls = httpx.create_ssl_context()
        self._idle: defaultdict[Target, list[_Connection]] = defaultdict(list)
        self._known: dict[str, tuple[float, list[str]]] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def post(self, target: Target, headers: Mapping[str, str], body: bytes, seconds: float) -> Answer:
        """The answer's head. Raises `CallFailed`, and `TimeoutError` where it does not come within so many seconds."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {target.path} HTTP/1.1\r\nhost: {target.authority}\r\n{lines}content-length: {len(body)}\r\n\r\n"
        until = asyncio.get_running_loop().time() + seconds
        async with asyncio.timeout_at(until):
            connection = self._kept(target) or await self._connect(target)
            try:
                answer = await connection.exchange(head.encode("ascii") + body)
            except BaseException:
                connection.abort()
                raise
        await connection.end(until)
        if connection.may_serve_again:
            connection.rest()
            self._idle[target].append(connection)
        return answer

    async def close(self) -> None:
        """Close what is kept."""
        for kept in self._idle.values():
            for connection in kept:
                connection.abort()
        self._idle.clear()

    def _kept(self, target: Target) -> "_Connection | None":
        kept = self._idle[target]
        while kept:
            connection = kept.pop()  # the one used last: the others may fall idle
            if connection.wake():
                return connection
        return None

    async def _connect(self, target: Target) -> "_Connection":
        """A connection to one of the addresses that were checked, which the name does not choose again."""
        error: Exception | None = None
        for address in await self._addresses(target):
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await self._connect_to(address, target)
            except OSError as failure:  # TimeoutError and SSLError are some
                error = failure
        raise CallFailed("the endpoint cannot be reached") from error

    async def _connect_to(self, address: str, target: Target) -> "_Connection":
        loop = asyncio.get_running_loop()
        tls: ssl.SSLContext | None = self._tls if target.tls else None
        name = target.host if target.tls else None
        _, connection = await loop.create_connection(_Connection, address, target.port, ssl=tls, server_hostname=name)
        return connection

    async def _addresses(self, target: Target) -> list[str]:
        """The addresses of an approved host. Raises `CallFailed` where any one of them is not permitted."""
        async with self._asking[target.host]:
            now = asyncio.get_running_loop().time()
            until, found = self._known.get(target.host, (0.0, []))
            if now >= until:
                try:
                    found = await self._resolve(target.host, target.port)
                except OSError as error:
                    raise CallFailed("the endpoint cannot be reached") from error
                self._known[target.host] = (now + _RESOLVED_SECONDS, found)
        if not found or not all(self._hosts.permits(target.host, address) for address in found):
            raise CallFailed("its name leads to an address that is not allowed")
        return found


async def _resolve(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))


class _Connection(asyncio.Protocol):
    """One connection, for one exchange at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Answer] | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._lost = False
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._received = 0
        self._status = 0
        self._headers: dict[str, str] = {}
        self._over = asyncio.Event()
        self.may_serve_again = False
        """Whether the last answer was whole, and the server keeps the connection."""

    async def exchange(self, request: bytes) -> Answer:
        """Send a request and wait for the head of its answer."""
        self._begin()
        self._answer = self._loop.create_future()
        self._transport.write(request)
        return await self._answer

    async def end(self, until: float) -> None:
        """Let the answer come to its end, within a moment and by then, so that this may serve again; or close it."""
        try:
            if not self._over.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(min(until, self._loop.time() + _BODY_SECONDS)):
                        await self._over.wait()
        finally:
            if not self.may_serve_again:
                self.abort()

    def rest(self) -> None:
        """Be closed in a while, unless woken."""
        self._resting = self._loop.call_later(_IDLE_SECONDS, self.abort)

    def wake(self) -> bool:
        """Whether it may serve again still."""
        if self._resting is not None:
            self._resting.cancel()
        return not self._lost and not self._transport.is_closing()

    def abort(self) -> None:
        """Close it, whatever is under way."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._over.set()
        self._fail("the endpoint's answer is broken off")

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > ANSWER_BYTES:
            self._break_off("the endpoint's answer is larger than 1 MiB")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._break_off("the endpoint's answer is malformed")

    # Called by the parser

    def on_message_begin(self) -> None:
        if self._over.is_set():
            raise CallFailed("the endpoint answers twice")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status >= 200 and self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(self._status, self._headers))

    def on_message_complete(self) -> None:
        if self._status < 200:  # another answer follows (RFC 9110, section 15.2)
            self._status, self._headers = 0, {}
            return
        self._over.set()
        self.may_serve_again = self._parser.should_keep_alive()

    def _break_off(self, reason: str) -> None:
        self._fail(reason)
        self.may_serve_again = False
        self.abort()

    def _fail(self, reason: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(CallFailed(reason))
