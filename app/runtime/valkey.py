"""Valkey as a child process: the broker of wake-ups, which keeps nothing."""

import os
import secrets
import socket
from pathlib import Path
from typing import Self

from app.runtime.binaries import get_binary_path
from app.runtime.child import Child, Part, stop_all
from app.runtime.data_dir import RUN_MARK, DataDir
from app.runtime.private_folder import PrivateFolder
from app.runtime.system_user import let_use, own, service_user
from app.runtime.waiting import wait_for

_CONFIGURATION = """\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
dir {folder}
daemonize no
loglevel notice
save ""
appendonly no
maxmemory 128mb
maxmemory-policy noeviction
databases 1
tcp-backlog 128
"""


class EmbeddedValkey:
    """Valkey on a free loopback port with a password of its own, made anew at each start; nothing is written to disk.

    (A port and not a socket: `redis://` is the one form that Celery, kombu and redis-py all read alike.)
    As a context manager it runs for the length of the block.
    """

    def __init__(self, data_dir: Path, *, run: str = "") -> None:
        self._folder = DataDir(data_dir)
        self._run = run
        self._private = PrivateFolder(self._folder.path / "valkey.private")
        self._password = secrets.token_urlsafe(32)
        self._port = 0
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """The broker's URL, password included."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int:
        """The process id of the server started by `start`."""
        if self._child is None:
            raise RuntimeError("Valkey was not started here")
        return self._child.pid

    def start(self) -> None:
        """Start the server and return when it answers. Raises `StartRefused` where it does not come up."""
        self.stop()
        try:
            self.prepare()
            child = self._child = Child(self.part())
            wait_for(self.answers, 10, self.complaint, ended=child.ended)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server; what it held is gone."""
        if self._child is not None:
            stop_all([self._child])
        self._child = None
        self._private.remove()

    def prepare(self) -> None:
        """Choose the port and write the configuration, which holds the password."""
        self._folder.make()
        let_use(get_binary_path())
        folder = self._private.make()
        self._port = _free_port()
        path = folder / "valkey.conf"
        path.touch(0o600)
        text = _CONFIGURATION.format(port=self._port, password=self._password, folder=folder)
        path.write_text(text, encoding="utf-8")
        own(path, 0o600)

    def part(self) -> Part:
        """The server as a part to be supervised. `prepare` comes first."""
        if self._private.path is None:
            raise RuntimeError("Valkey was not prepared here")
        return Part(
            name="valkey",
            argv=(str(get_binary_path()), str(self._private.path / "valkey.conf")),
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", RUN_MARK: self._run},
            log=self._folder.logs / "valkey.log",
            storey=0,
            user=service_user(),
        )

    def answers(self) -> bool:
        """Whether the server answers a PING under our password."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\n") < 2 and (more := connection.recv(64)):
                    answer += more
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"

    def complaint(self) -> str:
        """What to say where the server does not come up."""
        return f"Valkey does not start: see {self._folder.logs / 'valkey.log'}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
