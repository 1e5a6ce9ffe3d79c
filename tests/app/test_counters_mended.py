"""Counters that are compared, mended and made by a migration, and read at the same cost whatever is stored."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from uuid_utils.compat import uuid7

from app.access.policy import Role
from app.access.principal import behalf_of
from app.db import Database, act
from app.referrals.states import DispatchState
from app.reporting import counters
from app.reporting.queues import _OF_ALL, _OF_REGION
from app.runtime.migrate import migrate
from app.settings import Settings
from tests.acts import change, dispatched, eventually, rows
from tests.app.counters import OPEN, counted, differences, queue
from tests.conftest import SECRET, Cast, Workers, _administer, _database
from workers.counting import Counting

# Reconciliation


async def test_a_corrupted_counter_is_mended_and_told(cast: Cast, workers: Workers, database: Database) -> None:
    await dispatched(cast, workers, "HMRC", "EA", count=3)
    async with database.transaction() as connection:
        assert await counters.reconcile(connection) == []
    await change(database, "UPDATE queue_count SET queued = queued + 5, answered = 2 WHERE agency = 'HMRC'")
    assert await differences(database)
    async with database.transaction() as connection:
        [mended] = await counters.reconcile(connection)
    assert (mended.agency, mended.region) == ("HMRC", "TARIAN")
    assert mended.by["queued"] % 5 == 0
    assert set(mended.by) == {"queued", "answered"}
    assert await differences(database) == []


async def test_the_scheduler_compares_as_soon_as_it_leads_and_adds_up(
    cast: Cast, workers: Workers, database: Database
) -> None:
    await dispatched(cast, workers, "HMRC", count=3)
    await change(database, "DELETE FROM queue_count")
    await change(
        database,
        """
        INSERT INTO queue_count
        SELECT 'EA', NULL, current_date, 1, 0, 0, 0, 0, 0, 0, 0 FROM generate_series(1, 1001)
        """,
    )
    counting = Counting(database)

    async def mended() -> bool:
        await counting.tick()
        return not await differences(database)

    await eventually(mended)
    await counting.close()
    assert (await queue(database))["queued"] == 3
    [kept] = await rows(database, "SELECT count(*) AS rows FROM queue_count")
    assert kept["rows"] <= 3


# The migration, on data


@pytest.fixture
async def before(postgres: str) -> AsyncIterator[Database]:
    """A database as it was before there were counters, with dispatches in every state."""
    name = f"before_{uuid7().hex}"
    await _administer(postgres, f"CREATE DATABASE {name}")
    url = _database(postgres, name)
    await migrate(url, "0003")
    database = Database(Settings(database_url=url, secret=SecretStr(SECRET)))
    async with database.engine.connect() as connection:
        await connection.execute(text("SET session_replication_role = replica"))
        await connection.execute(
            text("""
                INSERT INTO dispatch (id, referral_id, agency, state, priority, region, rule, release, reason, due_at,
                                      expires_at, overdue_at, failures, closed_at)
                SELECT gen_random_uuid(), gen_random_uuid(), (ARRAY['HMRC', 'EA', 'BF'])[1 + n % 3], state, n % 3,
                       (ARRAY['TARIAN', 'TITAN', NULL])[1 + n / 3 % 3], 'named', 1, 'of a test', now(), now(),
                       CASE WHEN n % 5 = 0 THEN now() END, n % 4,
                       CASE WHEN NOT state = ANY(:open) THEN now() - n % 3 * interval '1 day' END
                  FROM generate_series(1, 200) AS n
                 CROSS JOIN unnest(CAST(:states AS text[])) AS state
            """),
            {"states": [state.value for state in DispatchState], "open": OPEN},
        )
        await connection.commit()
        await connection.invalidate()
    yield database
    await database.close()
    await _administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


async def test_the_migration_counts_what_is_there_while_others_write(before: Database) -> None:
    """The program of before goes on writing; nothing is missed and nothing counted twice."""
    ended = asyncio.Event()

    async def write() -> int:
        done = 0
        while not ended.is_set() and done < 80:  # however long it takes, some stay as they are
            await change(
                before,
                """
                UPDATE dispatch SET state = 'acknowledged'
                 WHERE id = ANY(ARRAY(SELECT id FROM dispatch WHERE state = 'delivered' LIMIT 1 FOR UPDATE SKIP LOCKED))
                """,
            )
            done += 1
        return done

    url = before.engine.url.render_as_string(hide_password=False)
    writing = [asyncio.create_task(write()) for _ in range(2)]
    await asyncio.gather(migrate(url), migrate(url))  # a second that starts at the same moment waits
    ended.set()
    assert sum(await asyncio.gather(*writing)) > 0
    assert await differences(before) == []
    async with before.transaction() as connection:
        figures = await counted(connection)
        assert (figures["held"], figures["queued"]) == (200, 200)
        # The writers may have taken all that was delivered by then.
        assert all(number for figure, number in figures.items() if figure != "delivered")
        assert await counters.reconcile(connection) == []


async def test_the_cost_of_the_queues_does_not_grow_with_what_is_stored(database: Database) -> None:
    """No plan reads the dispatches through; an index gives the few that are asked for."""
    async with database.engine.connect() as connection:
        await connection.execute(text("SET session_replication_role = replica"))
        await connection.execute(
            text("""
                INSERT INTO dispatch (id, referral_id, agency, state, priority, region, rule, release, reason, due_at,
                                      expires_at, queued_at, closed_at)
                SELECT gen_random_uuid(), gen_random_uuid(), (ARRAY['HMRC', 'EA', 'BF'])[1 + n % 3],
                       CASE WHEN n % 10 = 0 THEN 'queued' ELSE 'answered' END, 2, 'TARIAN', 'named', 1, 'of a test',
                       now(), now(), now(), CASE WHEN n % 10 > 0 THEN now() END
                  FROM generate_series(1, 20000) AS n
            """)
        )
        await counters.reconcile(connection)
        await connection.execute(text("ANALYZE dispatch"))
        of_region = _OF_REGION.text.replace(":region", "'TARIAN'")
        for role, statement in ((Role.NATIONAL, _OF_ALL.text), (Role.COORDINATOR, of_region)):
            await act(connection, behalf_of(role, ["TARIAN"]))
            plan = "\n".join(row[0] for row in await connection.execute(text(f"EXPLAIN {statement}")))
            assert "ix_dispatch_waiting" in plan
            assert "Seq Scan on dispatch" not in plan
            assert "Bitmap" not in plan
        await connection.rollback()
        await connection.invalidate()
