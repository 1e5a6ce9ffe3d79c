"""The stage: real PostgreSQL with fsync on, real Valkey, and the processes that play on it, each started from here."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import asyncpg
import orjson
import psutil
from pydantic import SecretStr
from sqlalchemy import make_url

from app.access import keys as api_keys
from app.access.policy import Role
from app.crypto.keys import Keys
from app.db import Database
from app.runtime.child import POLITE, WORKER, Child, Ladder, Part, stop_all
from app.runtime.embedded import EmbeddedPostgres, EmbeddedValkey
from app.runtime.migrate import prepare
from app.runtime.plan import child_environment, gain_command
from app.settings import Settings
from benchmarks.load import Outcome, Spec
from benchmarks.measure import Effort

SECRET = "a secret for benchmarks that is long enough to be one"  # noqa: S105  of servers that last minutes
RING = "ring-of-benchmarks:" + "A" * 43
UNBOUNDED: dict[str, str] = {"GAIN_BACKLOG_REFERRALS": "1000000000", "GAIN_BACKLOG_SECONDS": "1e9"}
"""Variables of gateways beside which nobody fans out: the backlog must not be what bounds the figure."""

_TEMPLATE = "gain_template"
_READY_SECONDS = 60.0
_BUSY = 0.8
"""A generator that takes more of a core than this may be what limits the figure."""


@dataclass(frozen=True, slots=True)
class Servers:
    """Processes that serve the same application, one on each port."""

    ports: list[int]
    children: list[Child]


class Stage:
    """What figures run on. As a context manager it holds the servers for the length of the block."""

    def __init__(self, folder: Path, effort: Effort) -> None:
        self.folder = folder
        self.effort = effort
        self.notes: list[str] = []
        """What a reader of the table must know, said once each."""
        self._postgres = EmbeddedPostgres(folder, durable=True)
        self._valkey = EmbeddedValkey(folder)

    def __enter__(self) -> Self:
        self._postgres.start()
        self._valkey.start()
        asyncio.run(self._make_template())
        return self

    def __exit__(self, *_: object) -> None:
        self._valkey.stop()
        self._postgres.stop()

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    async def _make_template(self) -> None:
        if await self._has(_TEMPLATE):
            return
        await self._administer(f"CREATE DATABASE {_TEMPLATE}")
        await prepare(self.url(_TEMPLATE))

    # Databases

    @property
    def broker_url(self) -> str:
        return self._valkey.url

    async def database(self, name: str, template: str = _TEMPLATE) -> str:
        """The URL of a fresh database of this name, migrated and seeded."""
        await self._administer(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await self._administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def url(self, name: str) -> str:
        """The URL of a database that is there."""
        return make_url(self._postgres.url).set(database=name).render_as_string(hide_password=False)

    async def holds(self, name: str, referrals: int) -> bool:
        """Whether a database of this name is there with at least so many referrals."""
        if not await self._has(name):
            return False
        connection = await self.connect(self.url(name))
        found = await connection.fetchval("SELECT count(*) FROM referral")
        await connection.close()
        return bool(found >= referrals)

    def settings(self, url: str) -> Settings:
        """The settings of a process on this database."""
        return Settings(
            database_url=url,
            broker_url=self.broker_url,
            secret=SecretStr(SECRET),
            key_ring=SecretStr(RING),
            data_dir=self.folder,
            port=0,
        )

    async def connect(self, url: str) -> asyncpg.Connection:
        """A connection of the driver."""
        return await asyncpg.connect(driver_url(url), server_settings={"jit": "off"})

    async def key(self, url: str, party: str, role: Role | None = None) -> str:
        """A new API key of a party."""
        database = Database(self.settings(url))
        async with database.transaction() as connection:
            issued = await api_keys.issue(connection, Keys(SECRET.encode()), party, role)
        await database.close()
        return issued

    async def checkpoint(self) -> None:
        """Write out what earlier loads left dirty, so that no round pays for the one before."""
        await self._administer("CHECKPOINT")

    async def work_off(self, url: str) -> None:
        """Have all that was accepted count as fanned out, as it would be beside workers by now.

        A gateway looks every second how much waits, up to its bound. What `UNBOUNDED` ones had taken in earlier rounds
        was a hundred thousand, several times what the usual bound lets wait, and looking at that cost a tenth of the
        rate and half of the p99.
        """
        connection = await self.connect(url)
        await connection.execute("SET session_replication_role = replica")  # no trigger: it is not to count elsewhere
        await connection.execute("UPDATE referral SET state = 'in_progress' WHERE state = 'accepted'")
        await connection.execute("VACUUM referral")
        await connection.close()

    async def _has(self, name: str) -> bool:
        connection = await self.connect(self.url("postgres"))
        found = await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name)
        await connection.close()
        return bool(found)

    async def _administer(self, statement: str) -> None:
        connection = await self.connect(self.url("postgres"))
        await connection.execute(statement)
        await connection.close()

    # Processes

    def processor(self, children: Sequence[Child]) -> tuple[float, float]:
        """Seconds that these processes, and that PostgreSQL's, have taken of the processor so far."""
        serving = psutil.Process(self._postgres.pid).children()
        return _processor([psutil.Process(child.pid) for child in children]), _processor(serving)

    @asynccontextmanager
    async def gateways(self, url: str, count: int = 2, **variables: str) -> AsyncIterator[Servers]:
        """Gateway processes as `gain serve` runs them, each on a port of its own, so that all get the same load."""
        async with self._servers("gateway", count, lambda _: gain_command("serve"), url, variables) as found:
            yield found

    @asynccontextmanager
    async def baseline(self, application: str, url: str, count: int = 2) -> AsyncIterator[Servers]:
        """Processes that serve an application of `benchmarks.baselines`, under the same server as the gateway."""

        def argv(port: int) -> tuple[str, ...]:
            options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
            return (sys.executable, "-m", "uvicorn", *options, "--port", str(port), application)

        async with self._servers("baseline", count, argv, url, {}) as found:
            yield found

    @asynccontextmanager
    async def _servers(
        self,
        name: str,
        count: int,
        argv: Callable[[int], tuple[str, ...]],
        url: str,
        variables: dict[str, str],
    ) -> AsyncIterator[Servers]:
        children: list[Child] = []
        try:
            ports = await asyncio.gather(*(self._served(name, argv, url, variables, children) for _ in range(count)))
            yield Servers(ports, children)
        finally:
            stop_all(children)

    async def _served(
        self,
        name: str,
        argv: Callable[[int], tuple[str, ...]],
        url: str,
        variables: dict[str, str],
        children: list[Child],
    ) -> int:
        """The port of a process that serves, which is added to `children`."""
        for _ in range(3):
            port = free_port()
            child = self._child(name, argv(port), url, variables | {"GAIN_PORT": str(port)})
            children.append(child)
            await eventually(lambda: child.ended() or _accepts(port), _READY_SECONDS)  # noqa: B023  awaited here
            if not child.ended():
                return port
            children.remove(child)  # somebody else may have taken the port meanwhile
        raise RuntimeError(f"{name} does not start: see {self.folder / 'logs' / name}.log")

    @contextmanager
    def process(
        self, name: str, argv: tuple[str, ...], url: str, stop: Ladder = POLITE, **variables: str
    ) -> Iterator[Child]:
        """Any other process, such as a worker."""
        child = self._child(name, argv, url, variables, stop)
        try:
            yield child
        finally:
            stop_all([child])

    @contextmanager
    def worker(self, url: str, processes: int = 2, **variables: str) -> Iterator[Child]:
        """A Celery worker whose agencies answer at once (`benchmarks.agencies`)."""
        argv = (sys.executable, "-m", "benchmarks.agencies", "worker")
        with self.process("worker", argv, url, WORKER, GAIN_WORKER_PROCESSES=str(processes), **variables) as child:
            yield child

    @contextmanager
    def scheduler(self, url: str) -> Iterator[Child]:
        """A scheduler, which seals the log, keeps the time and folds the counters; it knows the same agencies."""
        argv = (sys.executable, "-m", "benchmarks.agencies", "scheduler")
        with self.process("scheduler", argv, url) as child:
            yield child

    def _child(
        self, name: str, argv: tuple[str, ...], url: str, variables: dict[str, str], stop: Ladder = POLITE
    ) -> Child:
        environment = {name: value for name, value in child_environment().items() if not name.startswith("GAIN_")}
        environment |= {
            "GAIN_DATABASE_URL": url,
            "GAIN_BROKER_URL": self.broker_url,
            "GAIN_SECRET": SECRET,
            "GAIN_KEY_RING": RING,
            "GAIN_DATA_DIR": str(self.folder),
            **variables,
        }
        return Child(Part(name, argv, environment, self.folder / "logs" / f"{name}.log", stop=stop))

    # Load

    async def warm(self, servers: Servers, requests: Sequence[bytes], expect: Sequence[int] = (200, 201)) -> None:
        """Have servers import, connect and cache what only a first request makes them."""
        await self.load(servers.ports, requests, 16, seconds=1.0, warm_seconds=0.0, expect=expect)

    async def load(
        self,
        ports: Sequence[int],
        requests: Sequence[bytes],
        connections: int,
        *,
        seconds: float | None = None,
        warm_seconds: float | None = None,
        rate: float | None = None,
        once: bool = False,
        expect: Sequence[int] = (200, 201),
    ) -> Outcome:
        """Run the generator. Raises `AssertionError` where an answer has another status than `expect`."""
        file = self.folder / "requests.json"
        file.write_bytes(orjson.dumps([raw.decode("latin-1") for raw in requests]))
        spec = Spec(
            ports=list(ports),
            connections=connections,
            requests=str(file),
            seconds=self.effort.seconds if seconds is None else seconds,
            warm_seconds=self.effort.warm_seconds if warm_seconds is None else warm_seconds,
            rate=rate,
            once=once,
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.load", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        written, _ = await process.communicate(orjson.dumps(asdict(spec)))
        assert process.returncode == 0, "the load generator failed: its error stands above"
        outcome = Outcome(**orjson.loads(written))
        unexpected = {status for status in outcome.statuses if int(status) not in expect}
        assert not unexpected, f"unexpected answers: {outcome.statuses}; see {self.folder / 'logs'}"
        if outcome.busy > _BUSY:
            self.note(
                f"A generator took {outcome.busy:.0%} of a core: it may limit a figure of {outcome.per_second:,.0f}/s."
            )
        return outcome

    @asynccontextmanager
    async def saturated(
        self, servers: Servers, requests: Sequence[bytes], connections: int, expect: Sequence[int] = (200, 201)
    ) -> AsyncIterator[None]:
        """A block beside which these servers are asked all that they can take."""
        ended = asyncio.Event()

        async def load() -> None:
            while not ended.is_set():
                await self.load(servers.ports, requests, connections, seconds=2.0, warm_seconds=0.0, expect=expect)

        loading = asyncio.create_task(load())
        try:
            yield
        finally:
            ended.set()
            await loading


def driver_url(url: str) -> str:
    """SQLAlchemy's URL as the driver reads it."""
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)


def memory(children: Sequence[Child]) -> str:
    """Resident memory of these processes and what they started, in MiB."""
    sizes = []
    for child in children:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(child.pid)
            sizes += [each.memory_info().rss for each in (process, *process.children(recursive=True))]
    return " + ".join(f"{size / 2**20:.0f}" for size in sizes) + " MiB"


def _processor(processes: Sequence[psutil.Process]) -> float:
    used = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            used += times.user + times.system
    return used


async def eventually(condition: Callable[[], bool | Awaitable[bool]], seconds: float, pause: float = 0.02) -> None:
    """Return when the condition holds. Raises `TimeoutError` after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        holds = condition()
        if await holds if isinstance(holds, Awaitable) else holds:
            return
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come about in time")
        await asyncio.sleep(pause)


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return connection.recv(12).startswith(b"HTTP/1.1")
    return False


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def machine() -> str:
    """What it was measured on."""
    gigabytes = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {gigabytes:.0f} GiB, Python {sys.version.split()[0]}, load {load:.1f} at start"
