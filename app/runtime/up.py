"""`gain up`: the whole system as one process tree on a data directory."""

import http.client
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from socket import AF_INET6, socket

from app.runtime.child import POLITE, Ladder, Part
from app.runtime.data_dir import RUN_MARK, DataDir, held
from app.runtime.embedded import EmbeddedPostgres, EmbeddedValkey
from app.runtime.port import take_port
from app.runtime.roles import LOGINS, Login
from app.runtime.supervisor import Stopped, Supervisor

_SERVICE_SECONDS = 120.0  # PostgreSQL may have up to 2 GB of its log to recover from
_GATEWAY_SECONDS = 60.0
_REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # nosec B104  # noqa: S104 - we look there, we do not bind there


@dataclass(frozen=True, slots=True)
class Command:
    """One of our own commands as a part. The gateway is the one that `serves`: it is given the listening socket.

    It signs in to the embedded database as its `login`; without one as the owner of all that is in it, or, where it
    needs no `database`, not at all.
    """

    name: str
    argv: tuple[str, ...]
    stop: Ladder = POLITE
    serves: bool = False
    login: Login | None = None
    database: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: `first` one after another to their end, then `parts` side by side, all with `environment`.

    `GAIN_DATABASE_URL` and `GAIN_BROKER_URL` in the environment replace the embedded servers (`none`: no broker).
    """

    first: tuple[Command, ...]
    parts: tuple[Command, ...]
    environment: Mapping[str, str]


def up(
    data_dir: Path, host: str, port: int, plan: Plan, *, say: Callable[[str], None], ready: Callable[[str], None]
) -> None:
    """Run the system until a stop is asked for. `ready` is called once, with the URL, when the gateway can serve.

    Raises `StartRefused` where the system cannot start. In every case nothing is left running afterwards.
    """
    supervisor = Supervisor(say)
    with (
        supervisor.signals(),
        take_port(host, port) as listener,
        held(data_dir, "up") as folder,
        _System(folder, supervisor, plan, listener) as system,
    ):
        try:
            system.start(ready)
            supervisor.run()
        except Stopped:
            pass
        say("stopping")


class _System:
    """The processes of one `gain up`; leaving the block stops them."""

    def __init__(self, folder: DataDir, supervisor: Supervisor, plan: Plan, listener: socket) -> None:
        self._folder = folder
        self._supervisor = supervisor
        self._plan = plan
        self._listener = listener
        self._run = secrets.token_hex(16)
        self._environment = dict(plan.environment)
        self._services: list[EmbeddedPostgres | EmbeddedValkey] = []
        self._logins: dict[str, str] = {}

    def __enter__(self) -> "_System":
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._supervisor.stop()
        finally:
            for service in self._services:
                service.stop()

    def start(self, ready: Callable[[str], None]) -> None:
        """Start everything in order and call `ready` with the gateway's URL."""
        self._folder.write_state(kind="up", run=self._run)
        self._prepare_environment()
        self._start_services()
        for command in self._plan.first:
            self._supervisor.complete(self._part(command))
        self._folder.write_state(kind="up", run=self._run, database_url=self._environment["GAIN_DATABASE_URL"])
        for command in self._plan.parts:
            self._supervisor.start(self._part(command))
        gateway = next(command for command in self._plan.parts if command.serves)
        self._supervisor.wait(gateway.name, self._serves, _GATEWAY_SECONDS)
        ready(self._url())

    def _prepare_environment(self) -> None:
        environment = self._environment
        if not environment.get("GAIN_SECRET") and not environment.get("GAIN_SECRET_FILE"):
            self._folder.secret("secret")
            environment["GAIN_SECRET_FILE"] = str(self._folder.path / "secret")
        if not environment.get("GAIN_KEY_RING") and not environment.get("GAIN_KEY_RING_FILE"):
            environment["GAIN_KEY_RING_FILE"] = str(self._folder.key_ring())
        environment |= {
            RUN_MARK: self._run,
            "GAIN_DATA_DIR": str(self._folder.path),
            "GAIN_PORT": str(self._address()[1]),
            "GAIN_GATEWAY_URL": self._url(),
        }

    def _start_services(self) -> None:
        postgres = None if self._environment.get("GAIN_DATABASE_URL") else self._start_postgres()
        valkey = None if self._environment.get("GAIN_BROKER_URL") else self._start_valkey()
        if postgres is not None:
            self._supervisor.wait("postgres", postgres.answers, _SERVICE_SECONDS)
            postgres.complete()
        if valkey is not None:
            self._supervisor.wait("valkey", valkey.answers, _SERVICE_SECONDS)

    def _start_postgres(self) -> EmbeddedPostgres:
        postgres = EmbeddedPostgres(self._folder.path, run=self._run)
        self._services.append(postgres)
        postgres.prepare()
        self._environment["GAIN_DATABASE_URL"] = postgres.url
        for login in LOGINS:
            password = self._folder.secret(f"{login.name}.password")
            self._environment[login.variable] = str(self._folder.path / f"{login.name}.password")
            self._logins[login.name] = postgres.url_of(login.name, password)
        self._supervisor.start(postgres.part())
        return postgres

    def _start_valkey(self) -> EmbeddedValkey:
        valkey = EmbeddedValkey(self._folder.path, run=self._run)
        self._services.append(valkey)
        valkey.prepare()
        self._environment["GAIN_BROKER_URL"] = valkey.url
        self._supervisor.start(valkey.part())
        return valkey

    def _part(self, command: Command) -> Part:
        environment = dict(self._environment)
        if command.login is not None and command.login.name in self._logins:
            environment["GAIN_DATABASE_URL"] = self._logins[command.login.name]
        if not command.database:
            del environment["GAIN_DATABASE_URL"]
        if command.serves:
            environment["GAIN_LISTEN_FD"] = str(self._listener.fileno())
        return Part(
            name=command.name,
            argv=command.argv,
            env=environment,
            log=self._folder.logs / f"{command.name}.log",
            stop=command.stop,
            pass_fds=(self._listener.fileno(),) if command.serves else (),
        )

    def _address(self) -> tuple[str, int]:
        """Where we reach the gateway ourselves."""
        host, port = self._listener.getsockname()[:2]
        return _REACHED_AT.get(host, host), port

    def _url(self) -> str:
        host, port = self._address()
        return f"http://[{host}]:{port}" if self._listener.family == AF_INET6 else f"http://{host}:{port}"

    def _serves(self) -> bool:
        """Whether the gateway says that it is ready."""
        connection = http.client.HTTPConnection(*self._address(), timeout=1)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
