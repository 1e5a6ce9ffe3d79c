"""The database: one engine per process, transactions, and the base of every table."""

import asyncio
import errno
import re
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import MetaData, text
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from app.settings import Settings

Connection = AsyncConnection

_SETTINGS = "gain_settings"

ACTING = "gain_as_"
"""What the names of the roles begin with that a transaction takes on; the rest is a caller's role, or a part's name."""

_ACT = "SELECT set_config('role', $1, true), set_config('gain.parties', CAST(CAST($2 AS text[]) AS text), true)"

_NAME = re.compile(r"[0-9A-Za-z_-]+")


@dataclass(frozen=True, slots=True)
class Behalf:
    """On whose behalf a transaction acts: the database role it takes on, and the parties whose rows it then reaches.

    What the role may do, and which rows it sees, PostgreSQL itself decides (docs/decisions/0018-row-level-security.md).
    """

    role: str
    parties: tuple[str, ...] = ()


AS_GATEWAY = Behalf(ACTING + "gateway")
"""The gateway's own housekeeping: credentials, presence, reference data, readiness. It reads no referral."""

AS_WORKER = Behalf(ACTING + "worker")
"""Worker and scheduler: every row of what they work on."""

AS_AUDITOR = Behalf(ACTING + "auditor", ("GAIN",))
"""An operator's command that reads the log."""

AS_ADMINISTRATOR = Behalf(ACTING + "administrator", ("GAIN",))
"""An operator's command that manages keys."""

AS_OWNER = Behalf("none")
"""Whoever signed in to the database, for commands that only the tables' owner may give."""


_KEEP_ALIVE = {
    getattr(socket, name): value
    for name, value in {
        "TCP_KEEPIDLE": 10,
        "TCP_KEEPINTVL": 5,
        "TCP_KEEPCNT": 4,
        "TCP_USER_TIMEOUT": 30_000,  # milliseconds: of what was sent and is not acknowledged
    }.items()
    if hasattr(socket, name)  # not every system has all of them
}


class Begun:
    """A transaction of the driver, as SQLAlchemy uses it."""

    def __init__(self, session: asyncpg.Connection, opening: str) -> None:
        self._session = session
        self._opening = opening

    async def start(self) -> None:
        """Begin. Raises the driver's error where this login may not act for whom it is for; nothing is begun then."""
        try:
            await self._send(self._opening)
        except asyncpg.PostgresError:
            if not self._session.is_closed() and self._session.is_in_transaction():
                await self._send("ROLLBACK")
            raise

    async def commit(self) -> None:
        """Make it last."""
        await self._send("COMMIT")

    async def rollback(self) -> None:
        """Undo it."""
        await self._send("ROLLBACK")

    async def _send(self, statement: str) -> None:
        with _answering(self._session):
            await self._session.execute(statement)


class Watched(asyncpg.Connection):  # type: ignore[misc]
    """A connection of the driver that ends within half a minute of its server's host being gone without a word.

    Nobody else would notice for a quarter of an hour what waits for an answer, and never what listens. A server that
    stands still is another matter: its host answers for it.
    """

    def __init__(self, protocol: Any, transport: asyncio.Transport, *rest: Any) -> None:
        super().__init__(protocol, transport, *rest)
        opened = transport.get_extra_info("socket")
        if opened is not None and opened.family in (socket.AF_INET, socket.AF_INET6):
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEP_ALIVE.items():
                opened.setsockopt(socket.IPPROTO_TCP, option, value)


class Session(Watched):
    """A connection of the driver whose next transaction acts for somebody from the statement that begins it.

    So it costs no round trip of its own, as `act` does.
    """

    behalf: Behalf | None = None

    def transaction(self, *, isolation: str | None = None, readonly: bool = False, deferrable: bool = False) -> Begun:
        """The transaction that SQLAlchemy asks for."""
        behalf, self.behalf = self.behalf, None
        modes = [f"ISOLATION LEVEL {isolation.replace('_', ' ')}"] if isolation else []
        modes += ["READ ONLY"] * readonly + ["DEFERRABLE"] * deferrable
        return Begun(self, f"BEGIN {' '.join(modes)}; {_taking_on(behalf) if behalf else ''}")


@contextmanager
def _answering(session: asyncpg.Connection) -> Iterator[None]:
    """End the connection at once where a statement gets no answer in time: one to undo it would get none either."""
    try:
        yield
    except TimeoutError:
        session.terminate()
        raise


def _taking_on(behalf: Behalf) -> str:
    """The statements that do it for one transaction. Raises `ValueError` for a name that is none."""
    for name in (behalf.role, *behalf.parties):
        if not _NAME.fullmatch(name):
            raise ValueError("not the name of a role or party")
    parties = ",".join(f'"{party}"' for party in behalf.parties)
    return f"SET LOCAL ROLE {behalf.role}; SET LOCAL gain.parties = '{{{parties}}}'"


# Classes of SQLSTATE: connection lost; too many connections, disk full; shut down, starting up, cancelled.
_AWAY_CLASSES = {"08", "53", "57"}
_AWAY_STATES = {
    "25006",  # a standby since a fail-over: read only
    "40001",  # serialisation failure
    "40P01",  # deadlock
}
"""Nothing was changed, and the same again a moment later may well succeed."""

_REFUSED_STATES = {
    "42501",  # the right to it was taken away
    "42P01",  # there is no such table
}
_LOG = ("audit_event", "audit_salt")

_UNREACHABLE = {errno.ENOENT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}


class Base(DeclarativeBase):
    """Base of all tables; the naming convention keeps migrations and metadata comparable."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Database:
    """The engine of this process. `transaction(…)` commits on leaving without an error, rolls back otherwise.

    A statement that has no answer after `answer_seconds` raises `TimeoutError`; None waits for as long as it takes.
    """

    def __init__(self, settings: Settings, answer_seconds: float | None = None) -> None:
        self.settings = settings
        self._options = {
            "timeout": settings.database_wait_seconds,
            "command_timeout": answer_seconds,
            "server_settings": {
                "application_name": "gain",
                "jit": "off",
                "timezone": "UTC",
                # Nothing of ours waits for anything but the database within a transaction: who does is hung.
                "idle_in_transaction_session_timeout": "30s",
            },
        }
        self.engine: AsyncEngine = create_async_engine(
            settings.database_url,
            pool_size=settings.database_pool,
            max_overflow=0,
            pool_timeout=settings.database_wait_seconds,
            pool_pre_ping=False,
            hide_parameters=True,
            execution_options={_SETTINGS: settings},
            connect_args={**self._options, "connection_class": Session},
        )

    @asynccontextmanager
    async def transaction(self, behalf: Behalf | None = None) -> AsyncIterator[Connection]:
        """One transaction on one connection. Without a `behalf` the program's own logins reach no table at all."""
        async with self.engine.connect() as connection:
            session = _session(connection)
            session.behalf = behalf
            try:
                async with connection.begin():
                    with _answering(session):
                        yield connection
            except BaseException as error:
                if session.is_closed() or not isinstance(error, Exception):
                    await connection.invalidate()  # in the middle of a statement, perhaps: nobody gets it next
                raise
            finally:
                session.behalf = None  # where no statement was sent, and so no transaction begun

    @asynccontextmanager
    async def driver(self, behalf: Behalf) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the pool as the driver has it: every statement on it is a transaction, by one round trip.

        It acts on this behalf until it is given back. Raises what the driver does; `is_away` knows that too.
        """
        async with self.engine.connect() as connection:
            driver: asyncpg.Connection = (await connection.get_raw_connection()).driver_connection
            try:
                with _answering(driver):
                    await driver.execute(f"SET ROLE {behalf.role}")
                    yield driver
                    if not driver.is_closed():
                        await driver.execute("RESET ROLE; RESET gain.parties")
            except BaseException as error:
                told = as_lost(driver, error) if isinstance(error, Exception) else error
                await connection.invalidate()  # whoever gets it next must not act on this behalf
                raise told  # noqa: B904  it has its own cause
            if driver.is_closed():
                await connection.invalidate()

    async def connect_driver(self, behalf: Behalf) -> asyncpg.Connection:
        """A connection of the driver itself, beside the pool, for LISTEN. Whoever asks for it closes it."""
        _, target = self.engine.dialect.create_connect_args(self.engine.url)
        target.pop("prepared_statement_cache_size", None)  # SQLAlchemy's own, not the driver's
        connection: asyncpg.Connection = await asyncpg.connect(**target, **self._options, connection_class=Watched)
        try:
            await connection.execute(f"SET ROLE {behalf.role}")
        except BaseException:  # also of whoever is stopped while it waits: nobody else could close it
            connection.terminate()
            raise
        return connection

    async def close(self) -> None:
        """Close every connection of the pool."""
        await self.engine.dispose()


def _session(connection: Connection) -> Session:
    """The driver's connection."""
    found: Session = connection.sync_connection.connection.driver_connection  # type: ignore[union-attr,assignment]
    return found


async def act(connection: Connection, behalf: Behalf) -> None:
    """Act on somebody's behalf from here to the end of the caller's transaction, or until somebody else's."""
    await connection.exec_driver_sql(_ACT, (behalf.role, list(behalf.parties)))


@dataclass(frozen=True, slots=True)
class Numbered:
    """A statement for the driver: `$1` stands where `text()` has `:name`; `order` names the parameters in turn."""

    statement: str
    order: tuple[str, ...]

    @classmethod
    def of(cls, statement: str) -> "Numbered":
        """Of a statement as `text()` takes it."""
        compiled = text(statement).compile(dialect=asyncpg_dialect())  # type: ignore[no-untyped-call]
        return cls(str(compiled), tuple(compiled.positiontup or ()))

    async def fetch(self, driver: asyncpg.Connection, parameters: Mapping[str, Any]) -> list[Any]:
        """Its rows. Raises the driver's errors."""
        rows: list[Any] = await driver.fetch(self.statement, *[parameters[name] for name in self.order])
        return rows

    async def within(self, connection: Connection, parameters: Mapping[str, Any]) -> list[Any]:
        """The same in a caller's transaction, past SQLAlchemy, which takes longer than many a statement does.

        Raises the driver's errors, and `ConnectionError` where the connection was lost by it.
        """
        session = _session(connection)
        try:
            await _begin(connection)
            return await self.fetch(session, parameters)
        except Exception as error:
            told = as_lost(session, error)
            if session.is_closed():
                await connection.invalidate()  # there is nothing left to roll back
            if told is error:
                raise
            raise told  # noqa: B904  it has its own cause


async def _begin(connection: Connection) -> None:
    """Begin the caller's transaction as its first statement would, so that SQLAlchemy ends it as any other."""
    if not connection.in_transaction():
        await connection.begin()
    adapted: Any = connection.sync_connection.connection.dbapi_connection  # type: ignore[union-attr]
    if adapted._transaction is None:
        await adapted._start_transaction()


def settings_of(connection: Connection) -> Settings:
    """The settings of the `Database` that this connection comes from: whose database it is, and with which keys."""
    found: Settings = connection.engine.get_execution_options()[_SETTINGS]
    return found


_AWAY = (
    *(PoolTimeout, OperationalError, InterfaceError, ConnectionError, TimeoutError, socket.gaierror),
    asyncpg.InterfaceError,  # the driver's word for a connection that is lost
)


def as_lost(driver: asyncpg.Connection, error: Exception) -> Exception:
    """The error of a statement, or `ConnectionError` (from it) where the connection was lost by it.

    What the driver raises as its server goes has many names; that the connection is closed says what all of them mean.
    """
    if not driver.is_closed() or is_away(error):
        return error
    lost = ConnectionError("the connection to the database was lost")
    lost.__cause__ = error
    return lost


def is_away(error: BaseException) -> bool:
    """Whether the database cannot be reached, has no connection left or cannot write its log, rather than a defect."""
    if isinstance(error, _AWAY):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if isinstance(error, RuntimeError) and str(error).endswith("the handler is closed"):
        return True  # uvloop's, for what is written to a connection that has just been lost
    told = getattr(error, "orig", None) or error
    state = str(getattr(told, "sqlstate", None) or "")
    if state[:2] in _AWAY_CLASSES or state in _AWAY_STATES:
        return True
    if state in _REFUSED_STATES and any(table in str(told) for table in _LOG):  # its message alone says which table
        return True
    # asyncpg raises plain OSErrors when it cannot connect: an unreachable host, or a socket that is not there yet.
    return isinstance(error, OSError) and error.errno in _UNREACHABLE
