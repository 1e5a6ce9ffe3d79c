"""Runs the migrations: on the connection that `app.runtime.migrate` gives, or for the alembic command on its own.

Each in a transaction of its own: no lock of one is held through the next, and whatever ends a run leaves whole ones.
"""

import asyncio

from alembic import context
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from app.schema import metadata
from app.settings import settings


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=metadata, compare_server_default=True, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()


async def _run_alone() -> None:
    """For `alembic revision --autogenerate` and its like, on the database of `GAIN_DATABASE_URL`."""
    engine = create_async_engine(settings().database_url, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(_run)
        await connection.commit()
    await engine.dispose()


def _run_offline() -> None:
    """Print the SQL instead of running it (`alembic upgrade head --sql`)."""
    context.configure(
        dialect_name="postgresql", target_metadata=metadata, literal_binds=True, transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if context.is_offline_mode():
    _run_offline()
elif given is not None:
    _run(given)
else:
    asyncio.run(_run_alone())
