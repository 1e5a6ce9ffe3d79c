"""The gateway stops, whatever its helpers are in the middle of."""

import asyncio

import asyncpg
import pytest
from sqlalchemy import text

from app.db import AS_OWNER, Behalf, Database
from app.main import _end
from app.settings import Settings
from tests.acts import eventually


async def test_a_helper_that_takes_a_cancellation_for_an_error_still_ends() -> None:
    """As redis-py does with one that meets it in the middle of an exchange."""
    swallowed = 0

    async def helper() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    running = asyncio.create_task(helper())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await _end(running)
    assert swallowed == 3


async def test_what_a_helper_failed_with_is_told_at_the_end() -> None:
    async def helper() -> None:
        raise LookupError

    running = asyncio.create_task(helper())
    await asyncio.sleep(0)
    with pytest.raises(LookupError):
        await _end(running)


async def test_a_connection_on_which_nobody_may_act_is_not_left_open(
    configuration: Settings, database: Database
) -> None:
    """Neither is one that is stopped before it may: both leave by the same way."""
    gateway = Database(configuration)
    with pytest.raises(asyncpg.PostgresError):
        await gateway.connect_driver(Behalf("gain_nobody"))
    await gateway.close()

    async def closed() -> bool:
        async with database.transaction(AS_OWNER) as connection:
            others = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return not (await connection.execute(text(others))).scalar_one()

    await eventually(closed)
