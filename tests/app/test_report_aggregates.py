"""What the reports count: always what the rows add up to, whoever writes, whatever is rolled back, added up or not."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from uuid_utils.compat import uuid7

from app.db import Connection, Database
from app.parties import directory as directories
from app.referrals.codes import DeclineReason
from app.referrals.states import DISPATCH_MOVES, FINAL, DispatchState
from app.reporting import aggregates, reports
from app.reporting.histogram import bucket
from app.reporting.period import Period, period
from app.reporting.reports import Report, Scope
from tests.acts import NO_HIT, change, dispatched, inbox, rows
from tests.conftest import Cast, Workers
from tests.invariants import INVARIANTS
from workers.reporting import Reporting

EXACT = INVARIANTS["I12 the reports count what the rows add up to"]
SUMS = INVARIANTS["I12 what the reports have of everywhere is the sum of the regions"]

_MADE = text("""
    INSERT INTO dispatch (id, referral_id, agency, state, priority, region, rule, release, reason, due_at, expires_at,
                          queued_at)
    SELECT id, :referral, agency, 'queued', 2, region, 'named', 1, 'of a test', now() + interval '1 day',
           now() + interval '2 days', CAST(:at AS timestamptz) - make_interval(secs => took)
      FROM unnest(CAST(:ids AS uuid[]), CAST(:agencies AS text[]), CAST(:regions AS text[]),
                  CAST(:took AS float8[])) AS given (id, agency, region, took)
""")
_MOVED = text("""
    UPDATE dispatch
       SET state = :state, closed_at = CASE WHEN :closes THEN CAST(:at AS timestamptz) END,
           answered_at = CASE WHEN :state IN ('answered', 'declined') THEN CAST(:at AS timestamptz) END,
           outcome = CASE :state WHEN 'answered' THEN CAST(:outcome AS text) WHEN 'declined' THEN 'declined' END,
           decline_reason = CASE :state WHEN 'declined' THEN CAST(:decline_reason AS text) END,
           delivered_at = coalesce(delivered_at, CASE WHEN :state = 'delivered' THEN now() END),
           acknowledged_at = coalesce(acknowledged_at, CASE WHEN :state = 'acknowledged' THEN now() END),
           queried_at = CASE WHEN :state = 'query' THEN now() END
     WHERE id = ANY(CAST(:ids AS uuid[])) AND state = :was
""")
_REFERRED = text("""
    INSERT INTO referral (id, reference, originator, region, state, priority, crime_types, content, created_by,
                          respond_by, created_at)
    SELECT gen_random_uuid(), next_reference(), originator, region, 'accepted', 2, '{}', '', 'test', now(), at
      FROM unnest(CAST(:originators AS text[]), CAST(:regions AS text[]), CAST(:times AS timestamptz[]))
           AS given (originator, region, at)
""")


async def differences(database: Database) -> list[dict[str, Any]]:
    """Where the figures are not what the rows add up to."""
    return [*await rows(database, EXACT, final=sorted(FINAL)), *await rows(database, SUMS)]


class Writer:
    """Makes referrals and dispatches and moves them about, in any month of a year, and rolls some of it back."""

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
                    await self._random.choices([self._refer, self._make, self._move], [1, 2, 6])[0](connection)
                if self._random.random() < 0.3:
                    await connection.rollback()
                    self._states = before
                else:
                    await connection.commit()

    def _at(self) -> datetime:
        """Some time; around the changes of summer time and of months too."""
        whole = datetime(2026, self._random.randint(1, 11), self._random.choice([1, 25, 28]), tzinfo=UTC)
        return whole + timedelta(hours=self._random.choice([0, 0, 22, 23]), minutes=self._random.randint(0, 59))

    async def _refer(self, connection: Connection) -> None:
        number = self._random.randint(1, 9)
        await connection.execute(
            _REFERRED,
            {
                "originators": self._random.choices(["SWP", "GMP", "HMRC"], k=number),
                "regions": self._random.choices(self.REGIONS, k=number),
                "times": [self._at() for _ in range(number)],
            },
        )

    async def _make(self, connection: Connection) -> None:
        ids = [uuid7() for _ in range(self._random.randint(1, 30))]
        await connection.execute(
            _MADE,
            {
                "ids": ids,
                "referral": await connection.scalar(text("SELECT id FROM referral LIMIT 1")),
                "agencies": self._random.choices(self.AGENCIES, k=len(ids)),
                "regions": self._random.choices(self.REGIONS, k=len(ids)),
                "took": [self._random.choice([0.2, 1, 64, 2 ** self._random.uniform(0, 25)]) for _ in ids],
                "at": self._at(),
            },
        )
        self._states |= dict.fromkeys(ids, DispatchState.QUEUED)

    async def _move(self, connection: Connection) -> None:
        was = self._random.choice(sorted({*self._states.values(), DispatchState.QUEUED}))
        state = self._random.choice(sorted(DISPATCH_MOVES[was]) or [was])
        ids = [key for key, current in self._states.items() if current is was and self._random.random() < 0.4]
        parameters: dict[str, Any] = {
            "state": state.value,
            "was": was.value,
            "ids": ids,
            "closes": not DISPATCH_MOVES[state],
            "at": self._at(),
            "outcome": self._random.choice(["hit", "no_hit"]),
            "decline_reason": self._random.choice([*DeclineReason, None]),
        }
        await connection.execute(_MOVED, parameters)
        self._states |= dict.fromkeys(ids, state)


@pytest.fixture
async def writers(database: Database) -> list[Writer]:
    """Writers that get into nobody's way but, if they could, through the aggregates."""
    async with database.transaction() as connection:
        await connection.execute(
            _REFERRED, {"originators": ["SWP"], "regions": ["TARIAN"], "times": [datetime(2026, 3, 1, tzinfo=UTC)]}
        )
    # One open dispatch for a referral and agency is another rule's business; so is the number of the round.
    await change(database, "DROP INDEX uq_dispatch_open")
    await change(database, "ALTER TABLE dispatch DROP CONSTRAINT uq_dispatch_referral_id_agency_round")
    return [Writer(database, seed) for seed in range(4)]


async def test_many_writers_at_once_never_wait_for_a_figure_and_none_is_wrong(
    database: Database, writers: list[Writer]
) -> None:
    """Added up and compared all the while. A deadlock would raise."""
    writing = asyncio.gather(*(writer.write(60) for writer in writers))
    mended = []
    while not writing.done():
        await aggregates.fold(database, most=0)
        async with database.transaction() as connection:
            mended += await aggregates.reconcile(connection)
        assert await differences(database) == []
    await writing
    assert mended == []
    assert await differences(database) == []
    figures = {row["figure"] for row in await rows(database, "SELECT DISTINCT figure FROM report_month")}
    ends = {"hit", "no_hit", "declined", "expired", "undeliverable", "cancelled", "answer_time"}
    assert figures == {"submitted"} | ends  # every figure was put to the test


async def test_the_reports_are_the_plain_group_by_over_the_rows(database: Database, writers: list[Writer]) -> None:
    """Of a year and of a quarter, of all and of one region; a median is within a bucket of the true one."""
    await asyncio.gather(*(writer.write(60) for writer in writers))
    await aggregates.fold(database, most=0)
    await writers[0].write(10)  # some is added up, some not
    async with database.transaction() as connection:
        directory = await directories.load(connection)
        for over in (period("2026-01", "2026-11", datetime.now(UTC)), period("2026-03", "2026-05", datetime.now(UTC))):
            for region in (None, "TARIAN"):
                made = await reports.referrals(connection, directory, Scope(region), over)
                assert {one.party: one.referrals for one in made if one.referrals} == await _submitted(
                    connection, region, over
                )
                answers = await reports.agencies(connection, directory, Scope(region), over)
                truth = await _ended(connection, region, over)
                for one in answers:
                    counted = truth.get(one.agency, {"ended": 0, "hits": 0, "declined": 0, "median": None})
                    assert one.answers.ended == counted["ended"]
                    assert one.answers.hits == counted["hits"]
                    assert sum(one.answers.declined.values()) == counted["declined"]
                    median = one.answers.median_seconds
                    if counted["median"] is None:
                        assert median is None
                    else:
                        true = min(max(1.0, counted["median"]), 2**24)
                        assert median == pytest.approx(true, rel=0.0906, abs=0.51)


async def _submitted(connection: Connection, region: str | None, over: Period) -> dict[str, int]:
    found = await connection.execute(
        text("""
            SELECT originator, count(*) AS number FROM referral
             WHERE CAST(date_trunc('month', created_at, 'Europe/London') AT TIME ZONE 'Europe/London' AS date)
                   BETWEEN :first AND :last AND (CAST(:region AS text) IS NULL OR region = :region)
             GROUP BY originator
        """),
        {"first": over.first, "last": over.last, "region": region},
    )
    return {row.originator: row.number for row in found}


async def _ended(connection: Connection, region: str | None, over: Period) -> dict[str, dict[str, Any]]:
    found = await connection.execute(
        text("""
            SELECT agency, count(*) AS ended, count(*) FILTER (WHERE outcome = 'hit') AS hits,
                   count(*) FILTER (WHERE state = 'declined') AS declined,
                   percentile_disc(0.5) WITHIN GROUP (ORDER BY date_part('epoch', answered_at - queued_at)) AS median
              FROM dispatch
             WHERE CAST(date_trunc('month', closed_at, 'Europe/London') AT TIME ZONE 'Europe/London' AS date)
                   BETWEEN :first AND :last AND (CAST(:region AS text) IS NULL OR region = :region)
             GROUP BY agency
        """),
        {"first": over.first, "last": over.last, "region": region},
    )
    return {row.agency: dict(row._mapping) for row in found}


async def test_the_program_and_the_trigger_put_an_answer_time_into_the_same_bucket(
    database: Database, writers: list[Writer]
) -> None:
    await asyncio.gather(*(writer.write(40) for writer in writers))
    times = await rows(
        database,
        "SELECT date_part('epoch', answered_at - queued_at) AS took FROM dispatch WHERE answered_at IS NOT NULL",
    )
    assert len(times) > 50
    expected: dict[str, int] = {}
    for row in times:
        place = str(bucket(row["took"]))
        expected[place] = expected.get(place, 0) + 1
    await aggregates.fold(database, most=0)
    kept = await rows(
        database,
        "SELECT detail, CAST(sum(number) AS integer) AS number FROM report_month"
        " WHERE figure = 'answer_time' AND region <> '*'"
        " GROUP BY detail",
    )
    assert {row["detail"]: row["number"] for row in kept} == expected


async def test_whoever_writes_is_counted(cast: Cast, workers: Workers, database: Database) -> None:
    """A statement by hand too: no verb can forget it."""
    await dispatched(cast, workers, "HMRC", "EA", count=3)
    for statement in (
        "UPDATE dispatch SET state = 'answered', outcome = 'hit', answered_at = now(), closed_at = now()"
        " WHERE agency = 'HMRC'",
        "UPDATE dispatch SET closed_at = closed_at - interval '40 days' WHERE agency = 'HMRC'",
        "UPDATE dispatch SET region = 'TITAN' WHERE agency = 'HMRC'",
        "UPDATE dispatch SET closed_at = NULL WHERE agency = 'HMRC'",
        "UPDATE dispatch SET state = 'expired', closed_at = now() WHERE agency = 'EA'",
        "DELETE FROM dispatch WHERE agency = 'EA'",
    ):
        await change(database, statement)
        assert await differences(database) == []


async def test_what_was_there_before_is_counted_by_the_first_comparison(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """As after the migration of a broker that has run for years; and what was counted wrong is set right."""
    await dispatched(cast, workers, "HMRC", "EA", count=3)
    agency = await cast.play("HMRC")
    for item in await inbox(agency):
        await agency.post(f"/v1/inbox/{item['id']}/response", json=NO_HIT)
    await change(database, "DELETE FROM report_change")
    await change(database, "INSERT INTO report_month VALUES ('referrals', '2020-01-01', '', 'KNT', 'submitted', '', 7)")
    assert await differences(database) != []
    reporting = Reporting(database)
    await reporting.tick()
    assert reporting._reconciling is not None
    await reporting._reconciling
    await reporting.close()
    assert await differences(database) == []
    async with database.transaction() as connection:
        assert (await reports.figures(connection, "TARIAN"))["HMRC"].no_hits == 3
        assert await reports.figures(connection, "TITAN") == {}


async def test_adding_up_changes_no_figure_and_leaves_no_row_to_add_up(
    cast: Cast, workers: Workers, database: Database
) -> None:
    await dispatched(cast, workers, "HMRC", count=2)
    agency = await cast.play("HMRC")
    first, second = await inbox(agency)
    await agency.post(f"/v1/inbox/{first['id']}/response", json=NO_HIT)
    await agency.post(
        f"/v1/inbox/{second['id']}/response", json={"outcome": "declined", "decline_reason": "no_lawful_gateway"}
    )

    async def told() -> object:
        async with database.transaction() as connection:
            over = period(None, None, datetime.now(UTC))
            return [
                await reports.facts(connection, report, Scope("TARIAN"), over, monthly=True) for report in Report
            ], await reports.hourly(connection, "TARIAN")

    def in_order(found: Any) -> object:
        return [sorted(map(str, of_report)) for of_report in found[0]], found[1]

    before = await told()
    assert await aggregates.fold(database, most=0)
    assert in_order(await told()) == in_order(before)
    assert not await rows(database, "SELECT 1 FROM report_change")
    assert not await aggregates.fold(database)
    async with database.transaction() as connection:
        [answers] = (await reports.figures(connection, None)).values()
        assert (answers.no_hits, answers.declined) == (1, {"no_lawful_gateway": 1})
        assert answers.median_seconds is not None
        assert (await reports.hourly(connection, None))["HMRC"] == [*[0] * 23, 2]


async def test_the_hours_of_yesterday_are_forgotten(database: Database) -> None:
    await change(database, "INSERT INTO report_hour VALUES (now() - interval '25 hours', 'HMRC', 'TARIAN', 5)")
    await change(
        database,
        "INSERT INTO report_change (report, hour, party, region, figure, detail, bucket, number) VALUES"
        " ('agencies', date_trunc('hour', now()) - interval '23 hours', 'EA', 'TARIAN', 'hit', '', 40, 2)",
    )
    async with database.transaction() as connection:
        assert await reports.hourly(connection, "TARIAN") == {"EA": [2, *[0] * 23]}
    await aggregates.fold(database, most=0)
    async with database.transaction() as connection:
        assert await reports.hourly(connection, "TARIAN") == {"EA": [2, *[0] * 23]}
    assert len(await rows(database, "SELECT 1 FROM report_hour")) == 1
