"""Sealing: every committed event gets its place in the tree, once, however its commit fell among the others."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.audit import prove, seal
from app.audit.record import Actor, Event, Operation, record
from app.audit.seal import LOCK
from app.audit.tree import EMPTY_ROOT, root_of
from app.db import Connection, Database
from tests.acts import change, rows

SOMEBODY = Actor("SWP", "a key", "request-1")


async def log(connection: Connection, *actions: str) -> None:
    """Write events."""
    await record(connection, SOMEBODY, [Event(Operation.CONSULTATION, action) for action in actions])


async def logged(database: Database, *actions: str) -> None:
    """Write events and commit them."""
    async with database.transaction() as connection:
        await log(connection, *actions)


async def sealed(database: Database, batch: int = seal.BATCH) -> int | None:
    """Seal one batch."""
    async with database.transaction() as connection:
        return await seal.seal(connection, batch)


async def in_order(database: Database) -> list[str]:
    """The actions of the log's entries, in the order of the tree, which must be whole."""
    found = await rows(
        database,
        "SELECT sequence, action FROM audit_entry LEFT JOIN audit_event ON id = event_id ORDER BY sequence",
    )
    assert [row["sequence"] for row in found] == list(range(len(found)))
    return [row["action"] for row in found]


async def test_events_get_their_places_in_order_and_once(database: Database) -> None:
    await logged(database, "a", "b", "c")
    assert await sealed(database) == 3
    assert await sealed(database) == 0
    await logged(database, "d")
    assert await sealed(database) == 1
    assert await in_order(database) == ["a", "b", "c", "d"]


async def test_what_commits_late_is_sealed_late_and_nothing_is_missed(database: Database) -> None:
    async with database.engine.connect() as slow:
        await log(slow, "slow one", "slow two")
        await logged(database, "quick")
        assert await sealed(database) == 1
        assert await sealed(database) == 0
        await logged(database, "quicker")
        assert await sealed(database) == 1
        await slow.commit()
    assert await sealed(database) == 2
    assert await in_order(database) == ["quick", "quicker", "slow one", "slow two"]


async def test_what_is_rolled_back_is_given_up_and_looked_for_no_more(database: Database) -> None:
    async with database.engine.connect() as failing:
        await log(failing, "never")
        await logged(database, "quick")
        await sealed(database)
        [head] = await rows(database, "SELECT holes::text, cardinality(lockers) AS lockers FROM audit_head")
        assert (head["holes"], head["lockers"]) == ("{[1,2)}", 1)
        await failing.rollback()
    await sealed(database)
    [head] = await rows(database, "SELECT holes::text, cardinality(lockers) AS lockers FROM audit_head")
    assert (head["holes"], head["lockers"]) == ("{}", 0)


async def test_a_transaction_that_began_before_others_ended_keeps_its_hole_open(database: Database) -> None:
    """Two overlapping ones: the hole of the second is not given up when the first has ended."""
    async with database.engine.connect() as first, database.engine.connect() as second:
        await log(first, "first")
        await logged(database, "quick")
        await sealed(database)
        await log(second, "second")
        await first.rollback()
        await logged(database, "quicker")
        for _ in range(3):
            await sealed(database)
        [head] = await rows(database, "SELECT holes::text FROM audit_head")
        assert head["holes"] == "{[3,4)}"
        await second.commit()
    assert await sealed(database) == 1
    assert await in_order(database) == ["quick", "quicker", "second"]


@pytest.mark.parametrize("batch", [1, 7, 1000])
async def test_many_writers_at_once_lose_nothing_whatever_the_batch(database: Database, batch: int) -> None:
    done = asyncio.Event()

    async def write(writer: int) -> list[str]:
        kept = []
        for number in range(25):
            names = [f"{writer}.{number}.{part}" for part in range(3)]
            async with database.engine.connect() as connection:
                await log(connection, *names)
                if (writer + number) % 5:
                    await connection.commit()
                    kept += names
        return kept

    async def keep_sealing() -> None:
        while not done.is_set():
            await sealed(database, batch)

    sealer = asyncio.create_task(keep_sealing())
    written = await asyncio.gather(*(write(writer) for writer in range(6)))
    done.set()
    await sealer
    while await sealed(database, batch):
        pass
    assert sorted(await in_order(database)) == sorted(name for names in written for name in names)
    [head] = await rows(database, "SELECT size, holes::text FROM audit_head")
    await sealed(database)
    [head] = await rows(database, "SELECT size, holes::text FROM audit_head")
    assert head["holes"] == "{}"


async def test_one_seals_at_a_time(database: Database) -> None:
    await logged(database, "a")
    async with database.transaction() as other:
        await other.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        assert await sealed(database) is None
    assert await sealed(database) == 1


async def _tree(database: Database) -> tuple[int, list[bytes]]:
    found = await rows(database, "SELECT leaf FROM audit_entry ORDER BY sequence")
    return len(found), [row["leaf"] for row in found]


async def test_what_is_stored_gives_every_root_and_proof(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(
            text("""INSERT INTO audit_event (operation, action, party, actor)
                    SELECT 'consultation', 'filler.' || n, 'SWP', 'x' FROM generate_series(1, 1500) AS n""")
        )
    while await sealed(database, 400):
        pass
    size, leaves = await _tree(database)
    assert size == 1500
    async with database.transaction() as connection:
        assert await prove.tree_size(connection) == size
        for end in (1, 2, 255, 256, 257, 1024, 1500):
            assert await prove.root(connection, end) == root_of(leaves[:end])
        assert await prove.root(connection, 0) == EMPTY_ROOT
        for end in (1, 256, 1111, 1500):
            for index in {0, end // 2, end - 1}:
                await _proves(connection, leaves, index, end)


async def _proves(connection: Connection, leaves: Sequence[bytes], index: int, size: int) -> None:
    from app.audit.tree import verify_consistency, verify_inclusion

    root = root_of(leaves[:size])
    path = await prove.inclusion(connection, index, size)
    assert verify_inclusion(leaves[index], index, size, path, root)
    steps = await prove.consistency(connection, index + 1, size)
    assert verify_consistency(index + 1, size, root_of(leaves[: index + 1]), root, steps)


async def test_a_number_that_readers_disagree_on_does_not_stop_the_log(database: Database) -> None:
    await change(
        database,
        "INSERT INTO audit_event (operation, action, party, actor, detail) "
        "VALUES ('consultation', 'odd', 'SWP', 'x', '{\"number\": 123456789012345678901234567890}')",
    )
    assert await sealed(database) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET event_id = 7",
        "DELETE FROM audit_entry",
        "TRUNCATE audit_node",
        "DELETE FROM audit_checkpoint",
        "DELETE FROM audit_head",
        "INSERT INTO audit_head DEFAULT VALUES",
        "INSERT INTO audit_head (single) VALUES (false)",
        "UPDATE audit_head SET size = size - 1",
        "UPDATE audit_head SET pruned = 99",
        "DELETE FROM audit_event WHERE id = 1",
        "SELECT set_config('gain.pruning', 'on', true); DELETE FROM audit_event WHERE id = 1",
    ],
)
async def test_the_sealed_log_only_ever_grows(database: Database, statement: str) -> None:
    await logged(database, "a")
    await sealed(database)
    *before, last = statement.split(";")
    async with database.engine.connect() as connection:
        for part in before:
            await connection.execute(text(part))
        with pytest.raises(DBAPIError):
            await connection.execute(text(last))


async def test_a_log_that_was_there_before_the_tree_is_sealed_whole(database: Database) -> None:
    """As after the migration of a broker in use: the head begins at nothing, the events are many."""
    await logged(database, *(f"old.{number}" for number in range(30)))
    batches = 0
    while await sealed(database, 7):
        batches += 1
    assert batches == 5
    assert await in_order(database) == [f"old.{number}" for number in range(30)]
