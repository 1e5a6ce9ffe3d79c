"""The gateway as a server process."""

import socket
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from app import logs
from app.runtime.port import take_port
from app.runtime.refusal import StartRefused
from app.settings import Settings

_GRACE_SECONDS = 4  # requests in flight at a stop; long polls end sooner by themselves


class Connection(HttpToolsProtocol):
    """A connection that tells the application when the server stops.

    Nothing else does: the lifespan ends only after the requests in flight, and an open event stream is one for ever.
    """

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
