"""The counters of the queues: always what the rows add up to, whoever writes, whatever is rolled back."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from uuid_utils.compat import uuid7

from app.access.policy import Role
from app.access.principal import behalf_of
from app.audit.record import Actor
from app.db import Connection, Database, act
from app.parties.policy import Policy
from app.referrals import lifecycle
from app.referrals.lifecycle import Restart
from app.referrals.states import DISPATCH_MOVES, DispatchState
from app.referrals.timekeeper import Timekeeper
from app.reporting import counters
from app.reporting.queues import _OF_ALL, _OF_REGION, Health, observed
from app.runtime.migrate import migrate
from app.settings import Settings
from tests.acts import NO_HIT, QUESTION, change, dispatched, eventually, inbox, rows
from tests.conftest import SECRET, Cast, Workers, _administer, _database
from tests.invariants import INVARIANTS
from workers.counting import Counting

EXACT = INVARIANTS["I10 the counters are what the rows add up to"]
OPEN = ["held", "queued", "delivered", "acknowledged", "query"]
COORDINATOR = Actor("TARIAN", "test")

_MADE = text("""
    INSERT INTO dispatch (id, referral_id, agency, state, priority, region, rule, release, reason, due_at, expires_at,
                          queued_at)
    SELECT id, :referral, agency, :state, 2, region, 'named', 1, 'of a test', now() + interval '1 day',
           now() + interval '2 days', now()
      FROM unnest(CAST(:ids AS uuid[]), CAST(:agencies AS text[]), CAST(:regions AS text[]))
           AS given (id, agency, region)
""")
_MOVED = text("""
    UPDATE dispatch SET state = :state, closed_at = CASE WHEN :closes THEN now() END,
                        overdue_at = CASE WHEN :overdue THEN now() END, failures = :failures
     WHERE id = ANY(CAST(:ids AS uuid[])) AND state = :was
""")


async def differences(database: Database) -> list[dict[str, Any]]:
    """Where the counters are not what the rows add up to."""
    return await rows(database, EXACT, open=OPEN)


async def queue(database: Database, agency: str = "HMRC", region: str | None = "TARIAN") -> dict[str, Any]:
    """An agency's figures, as a co-ordinator of the region gets them."""
    async with database.transaction() as connection:
        return next(row for row in await observed(connection, region) if row["agency"] == agency)


async def counted(connection: Connection) -> dict[str, int]:
    """The sum of each counter."""
    sums = ", ".join(f"sum({figure}) AS {figure}" for figure in counters.FIGURES)
    row = (await connection.execute(text(f"SELECT {sums} FROM queue_count"))).one()  # noqa: S608
    return {figure: int(number or 0) for figure, number in row._mapping.items()}


class Writer:
    """Makes dispatches and moves them about, many in a statement, several statements in a transaction."""

    AGENCIES = ("HMRC", "EA", "BF", "DWP")
    REGIONS = ("TARIAN", "TITAN", None)

    def __init__(self, database: Database, seed: int) -> None:
        self._database = database
        self._random = random.Random(seed)
        self._states: dict[UUID, DispatchState] = {}

    async def write(self, transactions: int) -> None:
        for _ in range(transactions):
            before = dict(self._states)
            async with self._database.engine.connect() as connection:
                for _ in range(self._random.randint(1, 4)):
                    await (self._make(connection) if self._random.random() < 0.4 else self._move(connection))
                if self._random.random() < 0.3:
                    await connection.rollback()
                    self._states = before
                else:
                    await connection.commit()

    async def _make(self, connection: Connection) -> None:
        ids = [uuid7() for _ in range(self._random.randint(1, 30))]
        state = self._random.choice([DispatchState.HELD, DispatchState.QUEUED])
        await connection.execute(
            _MADE,
            {
                "ids": ids,
                "state": state.value,
                "referral": await connection.scalar(text("SELECT id FROM referral LIMIT 1")),
                "agencies": self._random.choices(self.AGENCIES, k=len(ids)),
                "regions": self._random.choices(self.REGIONS, k=len(ids)),
            },
        )
        self._states |= dict.fromkeys(ids, state)

    async def _move(self, connection: Connection) -> None:
        was = self._random.choice(sorted({*self._states.values(), DispatchState.QUEUED}))
        state = self._random.choice(sorted(DISPATCH_MOVES[was]) or [was])
        ids = [key for key, current in self._states.items() if current is was and self._random.random() < 0.3]
        closes = not DISPATCH_MOVES[state]
        parameters: dict[str, Any] = {"state": state.value, "was": was.value, "ids": ids, "closes": closes}
        parameters |= {"overdue": self._random.random() < 0.3, "failures": self._random.randint(0, 3)}
        await connection.execute(_MOVED, parameters)
        self._states |= dict.fromkeys(ids, state)


@pytest.fixture
async def writers(database: Database) -> list[Writer]:
    """Writers that get into nobody's way but, if they could, through the counters."""
    await change(
        database,
        """
        INSERT INTO referral (id, reference, originator, state, priority, crime_types, content, created_by, respond_by)
        VALUES (gen_random_uuid(), 'GAIN-2026-000001', 'SWP', 'accepted', 2, '{}', '', 'test', now())
        """,
    )
    # One open dispatch for a referral and agency is another rule's business; so is the number of the round.
    await change(database, "DROP INDEX uq_dispatch_open")
    await change(database, "ALTER TABLE dispatch DROP CONSTRAINT uq_dispatch_referral_id_agency_round")
    return [Writer(database, seed) for seed in range(5)]


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


# What is due, and what is oldest


async def _pass(database: Database, passed: timedelta) -> None:
    columns = ("created_at", "queued_at", "due_at", "expires_at", "next_check_at", "queried_at", "clock_from")
    moved = ", ".join(f"{column} = {column} - CAST(:passed AS interval)" for column in columns)
    await change(database, f"UPDATE dispatch SET {moved}", passed=passed)  # noqa: S608


async def _keep_time(database: Database) -> None:
    await Timekeeper().run(database, COORDINATOR)


async def test_overdue_is_told_from_the_moment_it_is_due_whoever_keeps_time(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """Before it is marked, and no differently after."""
    await dispatched(cast, workers, "HMRC", count=2, priority="urgent")
    assert (await queue(database))["overdue"] == 0
    await _pass(database, timedelta(hours=5))
    unmarked = await queue(database)
    await _keep_time(database)
    marked = await queue(database)
    assert unmarked["overdue"] == marked["overdue"] == 2
    assert unmarked["oldest_due"] == marked["oldest_due"] is not None
    assert (await queue(database, region="TITAN"))["overdue"] == 0
    [sums] = await rows(database, "SELECT sum(overdue) AS overdue FROM queue_count")
    assert sums["overdue"] == 2


async def test_more_time_a_question_or_a_hold_ends_being_overdue(
    cast: Cast, workers: Workers, database: Database
) -> None:
    await dispatched(cast, workers, "HMRC", count=4, priority="urgent")
    await _pass(database, timedelta(hours=5))
    await _keep_time(database)
    agency, force = await cast.play("HMRC"), await cast.play("SWP")
    extended, asked, answered, held = await rows(database, "SELECT id, referral_id, now() AS now FROM dispatch")
    later = extended["now"] + timedelta(days=1)
    async with database.transaction() as connection:
        assert await lifecycle.extend(connection, COORDINATOR, extended["id"], later, Policy())
        assert await lifecycle.hold(connection, COORDINATOR, held["referral_id"], "wait")
    await agency.post(f"/v1/inbox/{asked['id']}/response", json=QUESTION)
    await agency.post(f"/v1/inbox/{answered['id']}/response", json=NO_HIT)
    assert (await queue(database))["overdue"] == 0
    assert await differences(database) == []

    await force.post(
        f"/v1/referrals/{asked['referral_id']}/messages", json={"dispatch_id": str(asked["id"]), "text": "He."}
    )
    async with database.transaction() as connection:
        restart = Restart(later, later, later, adapter=False)
        assert await lifecycle.release(connection, COORDINATOR, held["referral_id"], lambda _: restart)
    assert (await queue(database))["overdue"] == 1  # its time was over before it asked; the other has a new time
    assert await differences(database) == []


async def test_the_oldest_is_the_oldest_of_any_state_and_of_the_region(
    cast: Cast, workers: Workers, database: Database
) -> None:
    await dispatched(cast, workers, "HMRC", count=3)
    first, second, third = await rows(database, "SELECT id FROM dispatch ORDER BY number")
    for key, state, days in ((first["id"], "acknowledged", 3), (second["id"], "queued", 2), (third["id"], "query", 4)):
        await change(
            database,
            "UPDATE dispatch SET state = :state, created_at = now() - CAST(:age AS interval) WHERE id = :id",
            id=key,
            state=state,
            age=timedelta(days=days),
        )
    await change(database, "UPDATE dispatch SET region = NULL WHERE id = :id", id=third["id"])
    day = 24 * 3600
    assert (await queue(database))["oldest_age_seconds"] == pytest.approx(3 * day, abs=60)
    assert (await queue(database, region=None))["oldest_age_seconds"] == pytest.approx(4 * day, abs=60)
    assert (await queue(database, region="TITAN"))["oldest_age_seconds"] is None


async def test_an_agency_is_silent_once_something_was_unseen_for_an_hour(
    cast: Cast, workers: Workers, database: Database
) -> None:
    await dispatched(cast, workers, "HMRC", priority="urgent")
    assert (await queue(database))["health"] is Health.OK
    await _pass(database, timedelta(minutes=59))
    assert ((await queue(database))["health"], (await queue(database))["urgent"]) == (Health.OK, 1)
    await _pass(database, timedelta(minutes=2))
    assert (await queue(database))["health"] is Health.SILENT
    await change(database, "UPDATE dispatch SET queued_at = now()")  # it was held back from the agency until now
    assert ((await queue(database))["health"], (await queue(database))["urgent"]) == (Health.OK, 0)
    await change(database, "UPDATE dispatch SET queued_at = created_at")
    assert (await queue(database))["health"] is Health.SILENT
    await change(database, "INSERT INTO agency_seen VALUES ('HMRC', now())")
    assert (await queue(database))["health"] is Health.OK  # it looks into its inbox


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
