"""A migration does not keep the work waiting: what it cannot lock soon it lets go of, and asks for again."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from app.logs import logger
from app.runtime import brief_locks
from app.runtime.migrate import migrate
from app.runtime.refusal import StartRefused
from tests.conftest import _administer, _database

DEADLINE = 30.0


@pytest.fixture
async def before(postgres: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The address of an empty database; whoever migrates it waits for a lock for a moment."""
    monkeypatch.setattr(brief_locks, "LOCK_SECONDS", 0.2)
    monkeypatch.setattr(brief_locks, "PAUSE_SECONDS", 0.2)
    name = f"locks_{os.getpid()}"
    await _administer(postgres, f"CREATE DATABASE {name}")
    url = _database(postgres, name)
    yield url
    await _administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def clients(before: str) -> AsyncIterator[list[asyncpg.Connection]]:
    """Three others at that database."""
    made = [await asyncpg.connect(before.replace("+asyncpg", ""), command_timeout=DEADLINE) for _ in range(3)]
    yield made
    for client in made:
        await client.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not await condition():
            await asyncio.sleep(0.02)


async def version(client: asyncpg.Connection) -> str:
    return str(await client.fetchval("SELECT version_num FROM alembic_version"))


@pytest.mark.parametrize(
    ("since", "table", "mode", "made"),
    [
        ("0003", "dispatch", "ACCESS SHARE", "0003"),  # 0004 drops an index, after some that it builds beside the work
        ("0019", "data_key", "ACCESS SHARE", "0019"),  # 0020 gives it a policy, after a table that is committed by then
        ("0025", "dispatch", "ACCESS SHARE", "0025"),  # 0026 alters it, in its transaction
        ("0025", "data_key", "ROW EXCLUSIVE", "0026"),  # 0028 gives it a trigger
    ],
)
async def test_what_a_migration_waits_for_others_do_not(
    before: str, clients: list[asyncpg.Connection], since: str, table: str, mode: str, made: str
) -> None:
    await migrate(before, since)
    first, second, watching = clients
    holding = first.transaction()
    await holding.start()
    await first.execute(f"LOCK TABLE {table} IN {mode} MODE")

    async def waits() -> bool:
        query = """
            SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
                            WHERE NOT granted AND datname = current_database() AND relation = CAST($1 AS regclass))
        """
        return bool(await watching.fetchval(query, table))

    migrating = asyncio.create_task(migrate(before))
    try:
        await until(waits)
        # Behind the migration in the queue, and past it while the first still holds its lock.
        async with second.transaction():
            await second.execute(f"LOCK TABLE {table} IN {mode} MODE")
            await second.execute("LOCK TABLE dispatch IN ACCESS SHARE MODE")
        assert not migrating.done()
        assert await version(watching) == made, "what was whole before it stays"
        await holding.rollback()
        async with asyncio.timeout(DEADLINE):
            await migrating
    finally:
        migrating.cancel()
    assert await version(watching) not in (since, made)
    assert not await watching.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid")


async def test_a_migration_that_gets_no_lock_says_so_and_goes_on_another_time(
    before: str, clients: list[asyncpg.Connection], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(brief_locks, "TRIES", 2)
    monkeypatch.setattr(brief_locks, "log", logger())  # not one that an earlier test's stderr was bound to
    await migrate(before, "0025")
    writer, _, watching = clients
    async with writer.transaction():
        await writer.execute("LOCK TABLE data_key IN ROW EXCLUSIVE MODE")
        with pytest.raises(StartRefused, match="stayed in use"):
            await migrate(before)
    assert await version(watching) == "0026"
    told = "".join(capsys.readouterr())
    assert told.count("a table that a migration changes is in use") == 2
    await migrate(before)
    assert await version(watching) not in ("0025", "0026")


async def test_an_index_built_beside_the_work_waits_for_it_however_long(
    before: str, clients: list[asyncpg.Connection]
) -> None:
    """It is not begun anew by whoever writes for longer than a lock is waited for, nor left half made."""
    writer, _, watching = clients
    await migrate(before, "0028")
    holding = writer.transaction()
    await holding.start()
    await writer.execute("LOCK TABLE audit_event IN ROW EXCLUSIVE MODE")

    async def building() -> bool:
        query = """
            SELECT count(*) FROM pg_stat_progress_create_index
             WHERE phase LIKE 'waiting%' AND datname = current_database()
        """
        return bool(await watching.fetchval(query))

    migrating = asyncio.create_task(migrate(before))
    try:
        await until(building)
        await asyncio.sleep(3 * brief_locks.LOCK_SECONDS)  # no wait for something: that it may be too long is the point
        assert await building()
        assert not migrating.done()
        await holding.rollback()
        async with asyncio.timeout(DEADLINE):
            await migrating
    finally:
        migrating.cancel()
    assert not await watching.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid")
