"""PostgreSQL 18 as a child process on a data directory."""

import os
import subprocess
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGQUIT
from typing import Self

from app.runtime.binaries import POSTGRES_BIN as BIN
from app.runtime.child import Child, Part, stop_all
from app.runtime.cluster import clear_leftovers, make_cluster
from app.runtime.data_dir import RUN_MARK, DataDir
from app.runtime.private_folder import PrivateFolder
from app.runtime.refusal import StartRefused
from app.runtime.system_user import let_in, let_use, service_user
from app.runtime.waiting import wait_for

_NAME = "gain"  # the superuser and the database
_KEY_FILE = "postgres.password"
_STOP = ((0, SIGINT), (3.0, SIGQUIT), (3.8, SIGKILL))
"""Fast shutdown; then immediate shutdown, from which the next start recovers; SIGKILL only where even that hangs."""

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    # Two cores and a few hundred megabytes, shared with the rest of the system.
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "128MB",
    "random_page_cost": "1.1",
    "jit": "off",
    "wal_compression": "on",
    "wal_buffers": "16MB",
    "min_wal_size": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    # Rows in states are updated all the time: vacuum early, little at a time.
    "autovacuum_naptime": "15s",
    "autovacuum_vacuum_scale_factor": "0.05",
    "autovacuum_analyze_scale_factor": "0.05",
    # An error's message, detail or statement can quote a row: the server log keeps what concerns the server
    # (start, stop, crash, refused connections) and the application logs its own errors without values.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_statement": "none",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_min_duration_statement": "-1",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
_FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "min_wal_size": "32MB"}


class EmbeddedPostgres:
    """PostgreSQL on `data_dir/postgres`, reached through a private socket with a generated password.

    As a context manager it runs for the length of the block. `durable=False` is for tests: data survives a crash of
    the process, not of the machine.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True, run: str = "") -> None:
        self._folder = DataDir(data_dir)
        self._home = self._folder.path
        self._data = self._home / "postgres"
        self._durable = durable
        self._run = run
        self._sockets = PrivateFolder(self._home / "postgres.socket")
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """The database as SQLAlchemy reads it, password included."""
        return f"postgresql+asyncpg://{_NAME}:{self._existing_password()}@/{_NAME}?host={self._socket_folder()}"

    def url_of(self, user: str, password: str) -> str:
        """The database as another user of it signs in; the password is ours to make, of URL-safe characters."""
        return f"postgresql+asyncpg://{user}:{password}@/{_NAME}?host={self._socket_folder()}"

    @property
    def pid(self) -> int:
        """The process id of the server started by `start`."""
        if self._child is None:
            raise RuntimeError("PostgreSQL was not started here")
        return self._child.pid

    def start(self) -> None:
        """Start the server and return when it answers: about a second the first time, less after.

        Raises `StartRefused` where it does not come up.
        """
        self.stop()
        try:
            self.prepare()
            child = self._child = Child(self.part())
            wait_for(self.answers, 30, self.complaint, ended=child.ended)
            self.complete()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server, keep the data."""
        if self._child is not None:
            stop_all([self._child])
        self._child = None
        self._sockets.remove()

    def prepare(self) -> None:
        """Make the password, the cluster and the socket folder, as far as they are missing."""
        self._folder.make()
        let_use(BIN / "postgres")
        let_in(self._data)
        clear_leftovers(self._data)
        scratch = self._sockets.make()
        if self._data.exists():
            self._existing_password()
            return
        password = self._folder.secret(_KEY_FILE)
        make_cluster(self._data, _NAME, password, scratch, sync=self._durable)

    def part(self) -> Part:
        """The server as a part to be supervised. `prepare` comes first, `complete` when it answers."""
        settings = _SETTINGS | (_DURABLE if self._durable else _FORGETFUL)
        options = [f"-c{name}={value}" for name, value in settings.items()]
        return Part(
            name="postgres",
            argv=(str(BIN / "postgres"), "-D", str(self._data), f"-k{self._socket_folder()}", *options),
            env=self._environment(),
            log=self._folder.logs / "postgres.log",
            stop=_STOP,
            storey=0,
            death_signal=SIGINT,
            user=service_user(),
            prepare=lambda: clear_leftovers(self._data),
        )

    def answers(self) -> bool:
        """Whether the server accepts connections."""
        argv = [str(BIN / "pg_isready"), "-q", "-h", str(self._socket_folder()), "-U", _NAME, "-d", "postgres"]
        return subprocess.run(argv, check=False, env=self._environment()).returncode == 0

    def complete(self) -> None:
        """Make the database where it is missing."""
        if self._psql("SELECT 1 FROM pg_database WHERE datname = current_user") != "1":
            self._psql(f"CREATE DATABASE {_NAME}")

    def _socket_folder(self) -> Path:
        if self._sockets.path is None:
            raise RuntimeError("PostgreSQL was not prepared here")
        return self._sockets.path

    def _environment(self) -> dict[str, str]:
        path = os.environ.get("PATH", os.defpath)
        return {"PATH": path, "LC_ALL": "C", "PGCONNECT_TIMEOUT": "5", RUN_MARK: self._run}

    def _existing_password(self) -> str:
        if not (self._home / _KEY_FILE).exists():
            raise StartRefused(f"{_KEY_FILE} is missing from {self._home}: its database cannot be opened without it")
        return self._folder.secret(_KEY_FILE)

    def _psql(self, statement: str) -> str:
        argv = [str(BIN / "psql"), "-XAtq", "-h", str(self._socket_folder()), "-U", _NAME, "-d", "postgres"]
        done = subprocess.run(
            [*argv, "-c", statement],
            check=False,
            capture_output=True,
            text=True,
            env=self._environment() | {"PGPASSWORD": self._existing_password()},
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            raise StartRefused(f"PostgreSQL refuses to serve: {lines[-1]}")
        return done.stdout.strip()

    def complaint(self) -> str:
        """What to say where the server does not come up."""
        return f"PostgreSQL does not start: see {self._folder.logs / 'postgres.log'}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
