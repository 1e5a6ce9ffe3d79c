"""The body guard: no request body is larger or slower than its limit, and a refusal can always be read.

An answer given while the client is still sending would reset its connection and be lost, so the guard first drains what
is under way, within bounds (contract: 8 MiB or 5 s). It acts when the application asks for the body, so whatever the
application refuses without reading (a missing credential) is refused first.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """What a body may take: `size` bytes and, from first to last byte, `seconds`."""

    size: int
    seconds: float = 20.0


DRAIN = BodyLimit(size=8 * 1024 * 1024, seconds=5.0)


class BodyGuard:
    """ASGI middleware: 413 over the limit, 408 past the time, 400 for a length that is no number.

    `larger` gives the limit of single paths that take more, such as an upload. The refusals are Starlette
    `HTTPException`s raised where the application reads the body; nothing is buffered here.
    """

    def __init__(
        self, app: ASGIApp, limit: BodyLimit, *, larger: Mapping[str, BodyLimit] | None = None, drain: BodyLimit = DRAIN
    ) -> None:
        self.app = app
        self.limit = limit
        self.larger = larger or {}
        self.drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request behind the guard."""
        if scope["type"] != "http" or not _announces_body(scope):
            await self.app(scope, receive, send)
            return
        limit = self.larger.get(scope["path"], self.limit)
        body = _GuardedBody(scope, receive, send, limit, self.drain)
        await self.app(scope, body.receive, body.send)


class _GuardedBody:
    """The body of one request, and the answer to it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: BodyLimit, drain: BodyLimit) -> None:
        self._receive = receive
        self._send = send
        self._limit = limit
        self._drain_limit = drain
        self._declared = _header(scope, b"content-length")
        # Reading would tell such a client to send the body; answered unread, it never sends it.
        self._waits_for_word = _header(scope, b"expect").lower() == b"100-continue"
        self._seen = 0
        self._deadline = 0.0
        self._late = False
        self._complete = False
        self._answering = False

    async def receive(self) -> Message:
        """The next part of the body; raises `HTTPException` with 400, 408 or 413."""
        if self._complete or self._answering:
            return await self._receive()
        self._check_declared()
        message = await self._next()
        if self._seen > self._limit.size:
            raise HTTPException(413)
        return message

    async def send(self, message: Message) -> None:
        """Pass the answer on, once the client is able to read it."""
        if message["type"] == "http.response.start" and not self._answering:
            self._answering = True
            if not self._complete:
                await self._drain()
            if not self._complete:
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await self._send(message)

    def _check_declared(self) -> None:
        if not self._declared:
            return
        # int() would also take a sign, spaces and underscores. Twenty digits are more than any file has bytes.
        if not self._declared.isdigit() or len(self._declared) > 20:
            raise HTTPException(400)
        if int(self._declared) > self._limit.size:
            raise HTTPException(413)

    async def _next(self) -> Message:
        loop = asyncio.get_running_loop()
        self._deadline = self._deadline or loop.time() + self._limit.seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            self._late = True
            raise HTTPException(408) from None
        self._note(message)
        return message

    def _note(self, message: Message) -> None:
        self._waits_for_word = False
        self._seen += len(message.get("body", b""))
        # A client that went away sends no more either.
        self._complete = not message.get("more_body", False)

    async def _drain(self) -> None:
        """Read and forget what the client still sends."""
        if self._late or self._waits_for_word:
            return
        end = self._seen + self._drain_limit.size
        try:
            async with asyncio.timeout(self._drain_limit.seconds):
                while not self._complete and self._seen < end:
                    self._note(await self._receive())
        except TimeoutError:
            self._late = True


def _announces_body(scope: Scope) -> bool:
    """Whether a body may follow (RFC 9112 section 6); later versions of HTTP need not say so."""
    if not scope.get("http_version", "1.1").startswith("1"):
        return True
    return _header(scope, b"content-length") not in (b"", b"0") or _header(scope, b"transfer-encoding") != b""


def _header(scope: Scope, name: bytes) -> bytes:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""
