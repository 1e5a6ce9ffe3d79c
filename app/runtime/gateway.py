"""The gateway as a server process."""

import asyncio
import socket
from typing import Any, cast

import uvicorn
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.supervisors import Multiprocess

from app import logs
from app.runtime.port import take_port
from app.runtime.refusal import StartRefused
from app.settings import Settings
from app.web.envelope import refuse_unread

_GRACE_SECONDS = 4  # requests in flight at a stop; long polls end sooner by themselves


class _WholeAnswer:
    """The transport of one answer: its head waits for the first part of its body, and both leave by one system call.

    uvicorn writes them one after the other, and uvloop sends each write at once: two packets, which wake the client
    twice. A head without a length is not held back, for the first part of a stream may be long in coming.
    """

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle) -> None:
        self._transport = transport
        self._may_wait = cycle.scope["method"] != "HEAD"
        self._cycle = cycle
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send this, with what waits; the first of an answer may wait itself."""
        if self._may_wait and self._cycle.response_started:  # what comes before is "100 Continue"
            self._may_wait = False
            if b"\r\ncontent-length: " in data:
                self._head = data
                return
        self._transport.write(self._head + data if self._head else data)
        self._head = b""

    def close(self) -> None:
        """Send what waits and close the connection."""
        if self._head:
            self.write(b"")
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection is being closed."""
        return self._transport.is_closing()


class Connection(HttpToolsProtocol):
    """A connection that sends answers whole, refuses as the application does, and tells that when the server stops.

    Nothing else tells: the lifespan ends only after the requests in flight, and an open event stream is one for ever.
    """

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        cycle.transport = cast("asyncio.Transport", _WholeAnswer(self.transport, cycle))
        super()._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read as HTTP with a problem document, and close. `msg` was for the log."""
        refusal = refuse_unread()
        head = b"".join(b"%b: %b\r\n" % header for header in refusal.raw_headers)
        self.transport.write(b"".join((STATUS_LINE[400], head, b"\r\n", refusal.body)))
        self.transport.close()

    def shutdown(self) -> None:
        """Called for every connection as soon as a stop is asked for."""
        app = cast("dict[str, Any]", self.scope or {}).get("app")  # none before the first request
        if app is not None:
            app.state.stopping.set()
        super().shutdown()


def serve(settings: Settings, processes: int, listen_fd: int | None = None) -> None:
    """Serve until SIGTERM or SIGINT, on the socket of `listen_fd` or on the settings' host and port.

    Raises `StartRefused` where the port cannot be had or the application does not start.
    """
    logs.configure("gateway", settings.log_level)
    listener = socket.socket(fileno=listen_fd) if listen_fd is not None else take_port(settings.host, settings.port)
    config = uvicorn.Config(
        "app.main:create_app",
        factory=True,
        workers=processes,
        loop="uvloop",
        http=Connection,
        lifespan="on",
        log_config=None,  # our own logs are configured already
        access_log=False,  # the application logs requests, without what URLs may hold
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    if processes > 1:
        listener.set_inheritable(True)
        Multiprocess(config, sockets=[listener]).run()
        return
    server = uvicorn.Server(config)
    server.run(sockets=[listener])
    if not server.started:
        raise StartRefused("the gateway does not start: its log says why")
