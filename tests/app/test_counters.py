"""The counters of the queues: always what the rows add up to, whoever writes, whatever is rolled back."""

import asyncio

from sqlalchemy import text

from app.db import Database
from app.reporting import counters
from tests.acts import NO_HIT, change, dispatched, inbox, rows
from tests.app.counters import OPEN, Writer, counted, differences, queue, writers
from tests.conftest import Cast, Workers

__all__ = ["writers"]


async def test_many_writers_at_once_never_wait_for_a_counter_and_none_is_wrong(
    database: Database, writers: list[Writer]
) -> None:
    """Folded and reconciled all the while. A deadlock would raise."""
    writing = asyncio.gather(*(writer.write(40) for writer in writers))
    mended = []
    while not writing.done():
        await counters.fold(database, most=0)
        async with database.transaction() as connection:
            mended += await counters.reconcile(connection)
        assert await differences(database) == []
    await writing
    assert mended == []
    assert await differences(database) == []
    async with database.transaction() as connection:
        assert all((await counted(connection)).values())  # every figure was put to the test


async def test_two_transactions_that_change_the_same_queues_in_opposite_order_both_commit(
    database: Database, writers: list[Writer]
) -> None:
    """Where rows of counters were updated, one of the two would be the victim of a deadlock."""
    await asyncio.gather(*(writer.write(3) for writer in writers[:2]))
    async with database.engine.connect() as one, database.engine.connect() as other:
        for first, second in (("HMRC", "EA"), ("EA", "HMRC")):
            for connection, agency in ((one, first), (other, second)):
                await connection.execute(
                    text("""
                        INSERT INTO dispatch (id, referral_id, agency, state, priority, rule, release, reason, due_at,
                                              expires_at)
                        SELECT gen_random_uuid(), id, :agency, 'held', 2, 'named', 1, 'of a test', now(), now()
                          FROM referral LIMIT 1
                    """),
                    {"agency": agency},
                )
        await one.commit()
        await other.commit()
    assert await differences(database) == []


async def test_what_is_rolled_back_was_never_counted(cast: Cast, workers: Workers, database: Database) -> None:
    await dispatched(cast, workers, "HMRC", count=3)
    before = await queue(database)
    async with database.engine.connect() as connection:
        await connection.execute(text("UPDATE dispatch SET state = 'delivered'"))
        assert (await counted(connection))["delivered"] == 3
        await connection.rollback()
    after = await queue(database)
    assert {name: after[name] for name in OPEN} == {name: before[name] for name in OPEN}
    assert await differences(database) == []


async def test_whoever_writes_is_counted(cast: Cast, workers: Workers, database: Database) -> None:
    """A statement by hand too: no verb can forget it."""
    await dispatched(cast, workers, "HMRC", "EA", count=3)
    for statement in (
        "UPDATE dispatch SET state = 'delivered' WHERE agency = 'HMRC'",
        "UPDATE dispatch SET failures = 2 WHERE agency = 'EA'",
        "UPDATE dispatch SET region = NULL WHERE agency = 'HMRC'",
        "UPDATE dispatch SET region = 'TITAN', overdue_at = now() WHERE agency = 'EA'",
        "UPDATE dispatch SET state = 'answered', closed_at = now() WHERE agency = 'HMRC'",
        "DELETE FROM dispatch WHERE agency = 'EA'",
    ):
        await change(database, statement)
        assert await differences(database) == []
    assert (await queue(database, region=None))["answered_today"] == 3


async def test_adding_up_changes_no_figure(cast: Cast, workers: Workers, database: Database) -> None:
    await dispatched(cast, workers, "HMRC", "EA", "SMARTWATER", count=3)
    agency = await cast.play("HMRC")
    [first, *_] = await inbox(agency)
    await agency.post(f"/v1/inbox/{first['id']}/response", json=NO_HIT)
    before = await queue(database)
    assert (before["delivered"], before["answered_today"]) == (2, 1)
    assert await counters.fold(database, most=0)
    after = await queue(database)
    told = [*OPEN, "overdue", "failing", "urgent", "answered_today", "health", "oldest"]
    assert [after[name] for name in told] == [before[name] for name in told]
    assert await differences(database) == []
    [kept] = await rows(database, "SELECT count(*) AS rows FROM queue_count")
    assert kept["rows"] == 3  # one an agency


async def test_the_counters_take_no_more_room_however_much_is_written(database: Database) -> None:
    sizes = []
    for _ in range(6):
        await change(
            database,
            """
            INSERT INTO queue_count
            SELECT 'HMRC', 'TARIAN', current_date, n % 2 * 2 - 1, 0, 0, 0, 0, 0, 0, 0 FROM generate_series(1, 5000) AS n
            """,
        )
        assert await counters.fold(database)
        [size] = await rows(database, "SELECT pg_relation_size('queue_count') AS bytes, count(*) FROM queue_count")
        assert size["count"] == 0
        sizes.append(size["bytes"])
    assert sizes[-1] <= sizes[0] * 1.1


async def test_few_rows_are_left_as_they_are(cast: Cast, workers: Workers, database: Database) -> None:
    await dispatched(cast, workers, "HMRC", count=3)
    assert not await counters.fold(database)


async def test_what_was_answered_yesterday_is_not_todays(cast: Cast, workers: Workers, database: Database) -> None:
    await dispatched(cast, workers, "HMRC")
    agency = await cast.play("HMRC")
    [item] = await inbox(agency)
    await agency.post(f"/v1/inbox/{item['id']}/response", json=NO_HIT)
    assert (await queue(database))["answered_today"] == 1
    await change(database, "UPDATE dispatch SET closed_at = closed_at - interval '1 day'")
    assert (await queue(database))["answered_today"] == 0
    assert await differences(database) == []
    await counters.fold(database, most=0)
    assert await rows(database, "SELECT * FROM queue_count") == []
