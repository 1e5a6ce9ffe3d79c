"""The database refuses what came of one hand-over: its neighbours are recorded, and that one is given up at last."""

import asyncio
import io
from typing import Any
from uuid import UUID

import pytest
import structlog

from app.crypto.keys import Keys
from app.db import Database
from app.logs import logger
from app.referrals.delivery import MOST_TRIES
from tests import invariants
from tests.acts import Document, change, rows, submitted
from tests.conftest import HIT, SECRET, Cast
from workers import recording
from workers.adapters.contract import Adapter, Answered, Delivered, Envelope, Result, TransportError
from workers.pump import Pump
from workers.recording import UNRECORDED

NEIGHBOURS = 6
REFUSE = """
    CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.{column} = '{id}' THEN
            RAISE EXCEPTION 'Quillfeather may not be stored' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END $$
"""
GUARD = "CREATE TRIGGER refuse_poison BEFORE {what} ON {table} FOR EACH ROW {when} EXECUTE FUNCTION refuse_poison()"


class Answering(Adapter):
    """Answers at once."""

    in_flight = 100

    async def deliver(self, envelope: Envelope) -> Result:
        return Answered(HIT)


class Telling(Adapter):
    """Tells at once."""

    answers = False
    in_flight = 100

    async def deliver(self, envelope: Envelope) -> Result:
        return Delivered()


class Failing(Adapter):
    """Fails for good at once."""

    in_flight = 100

    async def deliver(self, envelope: Envelope) -> Result:
        raise TransportError("the line is dead", permanent=True)


async def run(database: Database, **adapters: Adapter) -> None:
    async with asyncio.timeout(20):
        await Pump(database, Keys(SECRET.encode()), adapters).run(seconds=5)


async def poisoned(
    cast: Cast, database: Database, table: str, what: str, condition: str = "", column: str = "dispatch_id"
) -> UUID:
    """Referrals to HMRC, fanned out; the database refuses `what` is done to the dispatch that is returned."""
    force = await cast.play("SWP")
    for _ in range(NEIGHBOURS + 1):
        await submitted(force, addressees=["HMRC"])
    await run(database)
    found = await rows(database, "SELECT id FROM dispatch ORDER BY number")
    poison: UUID = found[NEIGHBOURS // 2]["id"]
    await change(database, REFUSE.format(column=column, id=poison))
    await change(database, GUARD.format(table=table, what=what, when=condition))
    # As the scheduler does for an agency that has got an adapter.
    await change(database, "UPDATE dispatch SET due_delivery_at = now()")
    return poison


async def standing(database: Database) -> dict[UUID, Document]:
    return {row["id"]: row for row in await rows(database, "SELECT * FROM dispatch ORDER BY number")}


async def tries_until_the_end(database: Database, poison: UUID, **adapters: Adapter) -> int:
    """How many more tries it takes until nothing of it is due any more."""
    for number in range(2 * MOST_TRIES):
        if (await standing(database))[poison]["due_delivery_at"] is None:
            return number
        await change(database, "UPDATE dispatch SET due_delivery_at = now() WHERE due_delivery_at IS NOT NULL")
        await run(database, **adapters)
    raise AssertionError("it goes on for ever")


@pytest.fixture(autouse=True)
async def everything_holds(database: Database) -> Any:
    """After every test."""
    yield
    async with database.transaction() as connection:
        await invariants.check(connection)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is logged."""
    written = io.StringIO()
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(written),
        cache_logger_on_first_use=False,
    )
    # A logger of its own: the module's may have been bound for good by a test before.
    monkeypatch.setattr(recording, "log", logger())
    return written


async def test_an_answer_the_database_refuses_costs_its_neighbours_nothing_and_is_given_up_at_last(
    cast: Cast, database: Database, log: io.StringIO
) -> None:
    poison = await poisoned(cast, database, "response", "INSERT")
    await run(database, HMRC=Answering())
    found = await standing(database)
    assert [row["state"] for key, row in found.items() if key != poison] == ["answered"] * NEIGHBOURS
    assert {row["attempt"] for row in found.values()} == {1}, "nobody is asked twice"
    spoilt = found[poison]
    assert (spoilt["state"], spoilt["failures"], spoilt["last_failure"]) == ("delivered", 1, UNRECORDED)
    assert await tries_until_the_end(database, poison, HMRC=Answering()) == MOST_TRIES - 1
    assert (await standing(database))[poison]["state"] == "undeliverable"
    [alert] = await rows(database, "SELECT * FROM alert WHERE settled_at IS NULL")
    assert (alert["kind"], alert["dispatch_id"]) == ("undeliverable", poison)
    assert str(poison) in log.getvalue()
    assert "23514" in log.getvalue()
    assert "Quill" not in log.getvalue()


async def test_a_notice_whose_success_cannot_be_recorded_costs_its_neighbours_nothing(
    cast: Cast, database: Database
) -> None:
    poison = await poisoned(
        cast, database, "dispatch", "UPDATE", "WHEN (OLD.failures > 0 AND NEW.failures = 0)", column="id"
    )
    await run(database, HMRC=Telling())
    found = await standing(database)
    assert all(row["due_delivery_at"] is None for key, row in found.items() if key != poison)
    assert found[poison]["last_failure"] == UNRECORDED
    await tries_until_the_end(database, poison, HMRC=Telling())
    [alert] = await rows(database, "SELECT * FROM alert WHERE settled_at IS NULL")
    assert (alert["kind"], alert["dispatch_id"]) == ("notice_failed", poison)
    assert (await standing(database))[poison]["state"] == "queued", "it waits in its agency's inbox"


async def test_one_that_cannot_even_be_given_up_is_left_to_its_agencys_inbox_and_shown(
    cast: Cast, database: Database
) -> None:
    poison = await poisoned(cast, database, "dispatch", "UPDATE OF state", "WHEN (NEW.state = 'undeliverable')", "id")
    await run(database, HMRC=Failing())
    found = await standing(database)
    assert [row["state"] for key, row in found.items() if key != poison] == ["undeliverable"] * NEIGHBOURS
    assert (found[poison]["state"], found[poison]["due_delivery_at"]) == ("delivered", None)
    [alert] = await rows(database, "SELECT kind FROM alert WHERE dispatch_id = :id AND settled_at IS NULL", id=poison)
    assert alert["kind"] == "notice_failed"


async def test_hand_overs_are_handed_back_though_the_database_refuses_one(cast: Cast, database: Database) -> None:
    poison = await poisoned(
        cast, database, "dispatch", "UPDATE", "WHEN (OLD.failures > 0 AND NEW.failures = 0)", column="id"
    )

    class Stuck(Adapter):
        in_flight = 100
        called = 0

        async def deliver(self, envelope: Envelope) -> Result:
            self.called += 1
            await asyncio.sleep(3600)
            raise AssertionError

    body = Stuck()
    async with asyncio.timeout(10):
        pump = Pump(database, Keys(SECRET.encode()), {"HMRC": body})
        await pump.run(seconds=30, stopping=lambda: body.called > NEIGHBOURS)
    found = await rows(database, "SELECT id, failures, due_delivery_at <= now() AS due FROM dispatch")
    assert {row["id"] for row in found if row["due"]} == {row["id"] for row in found} - {poison}
    assert [row["failures"] for row in found if row["id"] == poison] == [1], "its lease ends, and the try counts"
