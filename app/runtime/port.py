"""The gateway's port: taken before anything starts, kept while the gateway is restarted."""

import socket

from app.runtime.refusal import StartRefused


def take_port(host: str, port: int) -> socket.socket:
    """A socket bound to `host` and `port` (0: a free one), for the gateway to listen on.

    We hold it for as long as we run, so a gateway that is restarted finds its port free and callers wait in its queue
    instead of being refused. Raises `StartRefused` where it cannot be had.
    """
    taken = None
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        taken = socket.socket(family, kind)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
    except OSError as error:
        if taken is not None:
            taken.close()
        raise StartRefused(f"cannot listen on {host} port {port}: {error.strerror}; give another --port") from error
    return taken
