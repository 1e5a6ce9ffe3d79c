"""What every request has: an id, an answer whatever happens, security headers, a log line, a measured time."""

import re
import time

import uuid_utils
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import metrics
from app.errors import BAD_REQUEST, INTERNAL, Problem
from app.logs import logger, request_id, tell_request
from app.web import problems
from app.web.content_security import NO_SCRIPT

CLIENT_GONE = 499
"""Logged as the status of a request whose client went away before it was read; nothing is answered."""

_Headers = tuple[tuple[bytes, bytes], ...]
_HEADERS: _Headers = (
    (b"content-security-policy", NO_SCRIPT.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
_NOT_STORED: _Headers = (*_HEADERS, (b"cache-control", b"no-store"))
_HTTPS_ALONE: _Headers = ((b"strict-transport-security", b"max-age=31536000"),)
"""RFC 6797, for a year and this host: what else its domain serves is not ours to say."""
_REVALIDATED: _Headers = (*_HEADERS, (b"cache-control", b"no-cache"))
_NAMES = frozenset(name for name, _ in _NOT_STORED)

# It goes into every line of the log and for ever into the sealed log, so no words: a UUID, 16 to 64 hex digits (ids of
# traces), or a ULID, which begins with the time: 0 for centuries to come; I, L, O, U are none of its 26.
_SANE_ID = re.compile(rb"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|[0-9A-Fa-f]{16,64}|0[0-9A-HJKMNP-TV-Z]{25}")
_QUIET_ROUTES = ("/health", "/metrics")

log = logger()


class Envelope:
    """ASGI middleware around all routes. An error that nobody handled becomes 500, or 503 if the database is away.

    With `https` every answer keeps browsers to it.
    """

    def __init__(self, app: ASGIApp, *, https: bool = False) -> None:
        self.app = app
        self._always = _HTTPS_ALONE if https else ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        token = request_id.set(_id_of(scope))
        try:
            await _Exchange(scope, receive, send, self._always).run(self.app)
        finally:
            request_id.reset(token)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, always: _Headers) -> None:
        self._scope = scope
        self._always = always
        self._receive = receive
        self._send = send
        self._started_at = time.perf_counter()
        self._status = 0

    async def run(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self._receive, self.send)
        except ClientDisconnect:
            self._status = self._status or CLIENT_GONE
        except Exception as error:
            await self._answer_error(error)
        finally:
            self._tell()

    async def send(self, message: Message) -> None:
        """Pass the answer on with the headers that every answer has; what a route has set itself stands."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            own = message.get("headers", ())
            usual = _REVALIDATED if self._scope["path"].startswith("/static/") else _NOT_STORED
            present = _NAMES.intersection([name.lower() for name, _ in own])
            if present:
                usual = tuple(header for header in usual if header[0] not in present)
            message = {
                **message,
                "headers": [*own, *usual, *self._always, (b"x-request-id", request_id.get().encode())],
            }
        await self._send(message)

    async def _answer_error(self, error: Exception) -> None:
        problem = problems.of_error(error)
        tell = log.error if problem.kind is INTERNAL else log.warning
        tell("request failed", problem=problem.kind.slug, exc_info=error)
        if self._status:
            # Half an answer is under way: only breaking the connection off tells the client so.
            raise error
        await problems.answer(problem, self._scope)(self._scope, self._receive, self.send)

    def _tell(self) -> None:
        seconds = time.perf_counter() - self._started_at
        method, route = self._scope["method"], _route(self._scope)
        metrics.request_done(method, route, self._status, seconds)
        facts = {"method": method, "route": route, "status": self._status, "ms": round(seconds * 1000, 2)}
        if slug := self._scope.get(problems.SLUG_IN_SCOPE):
            facts["problem"] = slug
        tell_request(facts, quiet=route.startswith(_QUIET_ROUTES))


def refuse_unread() -> Response:
    """The answer to what the server cannot read as HTTP, which reaches no route; told in the log like any other.

    Call it in the event loop, and close the connection after it.
    """
    id = str(uuid_utils.uuid7())
    token = request_id.set(id)
    try:
        response = problems.answer(Problem(BAD_REQUEST), {})
        tell_request({"route": "unread", "status": BAD_REQUEST.status, "problem": BAD_REQUEST.slug})
    finally:
        request_id.reset(token)
    response.raw_headers += [*_NOT_STORED, (b"x-request-id", id.encode()), (b"connection", b"close")]
    return response


def _id_of(scope: Scope) -> str:
    """The caller's `X-Request-Id` where it is a UUID, hex digits or a ULID, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return str(value, "ascii")
    return str(uuid_utils.uuid7())


def _route(scope: Scope) -> str:
    """The template of the route that answered: a path can hold ids, a query anything."""
    if path := problems.path_template(scope):
        return path
    return str(scope.get("root_path") or "mounted") if "endpoint" in scope else "unmatched"
