"""Bring a database to the newest schema and reference data."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

import migrations
from app.crypto.refusal import Unopenable
from app.crypto.vault import check
from app.db import AS_OWNER, Database
from app.parties import reference as parties
from app.referrals.seal_earlier import seal_earlier
from app.routing import reference as routing
from app.runtime import brief_locks, roles
from app.runtime.refusal import StartRefused
from app.settings import Settings

_LOCK = 0x6761696E  # "gain": whoever migrates holds this PostgreSQL advisory lock
_LOCK_POLL_SECONDS = 0.1


async def migrate(database_url: str, revision: str = "head") -> None:
    """Apply every migration up to `revision` that the database lacks. Two at once are safe: the second waits.

    Each is a transaction of its own, but for what it must commit on its way. Whoever uses a table meanwhile waits for
    a lock of `brief_locks.LOCK_SECONDS` at most. Raises `StartRefused` where roles are missing that this user may not
    make, and where a table stays in use for too long.
    """
    engine = create_async_engine(database_url, poolclass=pool.NullPool, hide_parameters=True)
    try:
        async with engine.connect() as connection:
            await roles.make(await connection.execution_options(isolation_level="AUTOCOMMIT"))
    finally:
        await engine.dispose()
    await brief_locks.again_and_again(partial(_migrate, database_url, revision))


async def prepare(database_url: str, settings: Settings | None = None) -> None:
    """What `gain migrate` does: the newest schema, then this program's reference data; and the logins' passwords.

    Raises `ReferenceDataError`, `StartRefused`.
    """
    await migrate(database_url)
    engine = create_async_engine(database_url, poolclass=pool.NullPool, hide_parameters=True)
    try:
        async with engine.begin() as connection:
            await seed(connection)
            if settings is not None:
                await roles.set_passwords(connection, settings)
    finally:
        await engine.dispose()


async def seal(settings: Settings, told: Callable[[int], None]) -> int:
    """Seal what a version without encryption stored; `told` hears how many rows so far. Returns how many there were.

    Raises `StartRefused` where there is no key for that, or the key ring is not the one of this database.
    """
    database = Database(settings)
    try:
        if settings.has_key_ring():
            async with database.transaction(AS_OWNER) as connection:
                await check(connection)
        return await seal_earlier(database, told)
    except Unopenable as error:
        raise StartRefused(f"{error.why} ({error.ring_key or 'key ring'}): give the ring of this database") from error
    finally:
        await database.close()


async def seed(connection: AsyncConnection) -> None:
    """Load the parties, then the matrix that names them, where newer than what is loaded; in the caller's transaction.

    Raises `ReferenceDataError`.
    """
    await parties.seed(connection)
    await routing.seed(connection)


def configuration() -> Config:
    """Alembic's configuration: the migrations lie in the package `migrations`, in a checkout and in a wheel."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__path__[0])).replace("%", "%%"))
    return config


async def _migrate(database_url: str, revision: str) -> None:
    engine = create_async_engine(database_url, poolclass=pool.NullPool, hide_parameters=True)
    brief_locks.wait_briefly(engine)
    try:
        async with engine.connect() as connection:
            # Of the session, not of a transaction: a migration may need to commit on its way.
            await _lock(connection)
            await connection.run_sync(_upgrade, revision)
            await connection.commit()
    finally:
        await engine.dispose()


async def _lock(connection: AsyncConnection) -> None:
    """Ask again and again: who waits in a statement keeps a snapshot, and a concurrent index would wait for that."""
    while not await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK}):
        await connection.commit()
        await asyncio.sleep(_LOCK_POLL_SECONDS)
    await connection.commit()


def _upgrade(connection: Connection, revision: str) -> None:
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
