"""The database: one engine per process, transactions, and the base of every table."""

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import gaierror

import asyncpg
from sqlalchemy import MetaData
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from app.settings import Settings

Connection = AsyncConnection

_SETTINGS = "gain_settings"

# Classes of SQLSTATE: connection lost; too many connections, disk full; shut down, starting up, cancelled.
_AWAY_CLASSES = {"08", "53", "57"}
_AWAY_STATES = {
    "25006",  # a standby since a fail-over: read only
    "40001",  # serialisation failure
    "40P01",  # deadlock
}
"""Nothing was changed, and the same again a moment later may well succeed."""

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
    """The engine of this process. `transaction()` commits on leaving without an error, rolls back otherwise."""

    def __init__(self, settings: Settings) -> None:
        self._options = {
            "timeout": settings.database_wait_seconds,
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
            connect_args=self._options,
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction on one connection."""
        async with self.engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[Connection]:
        """A connection on which every statement is a transaction of its own: one round trip and not three."""
        async with self.engine.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    async def connect_driver(self) -> asyncpg.Connection:
        """A connection of the driver itself, beside the pool, for LISTEN. Whoever asks for it closes it."""
        _, target = self.engine.dialect.create_connect_args(self.engine.url)
        target.pop("prepared_statement_cache_size", None)  # SQLAlchemy's own, not the driver's
        return await asyncpg.connect(**target, **self._options)

    async def close(self) -> None:
        """Close every connection of the pool."""
        await self.engine.dispose()


def settings_of(connection: Connection) -> Settings:
    """The settings of the `Database` that this connection comes from: whose database it is, and with which keys."""
    found: Settings = connection.engine.get_execution_options()[_SETTINGS]
    return found


def is_away(error: BaseException) -> bool:
    """Whether this error says that the database cannot be reached or has no connection left, rather than a defect."""
    if isinstance(error, PoolTimeout | OperationalError | InterfaceError | ConnectionError | TimeoutError | gaierror):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    state = str(getattr(getattr(error, "orig", error), "sqlstate", None) or "")
    if state[:2] in _AWAY_CLASSES or state in _AWAY_STATES:
        return True
    # asyncpg raises plain OSErrors when it cannot connect: an unreachable host, or a socket that is not there yet.
    return isinstance(error, OSError) and error.errno in _UNREACHABLE
