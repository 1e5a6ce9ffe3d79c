"""A referral that cannot be fanned out stops nobody else, is tried a few times, and then shows on the page."""

import asyncio
import os
import signal
import subprocess
import sys
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from app.audit.record import Actor
from app.db import Database
from app.referrals import fan_out, fan_out_tries
from app.referrals.fan_out import LATE_SECONDS, FanOut
from app.referrals.fan_out_tries import MOST_TRIES
from app.settings import Settings
from tests.acts import Document, change, rows, submitted
from tests.browser import signed_in
from tests.conftest import Cast
from tests.invariants import check

WORKER = Actor("GAIN", "worker")
BATCH = 100
REFUSE = """
    CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.{column} = '{id}' THEN RAISE EXCEPTION 'Quillfeather' USING ERRCODE = 'check_violation'; END IF;
        RETURN NEW;
    END $$
"""
GUARD = "CREATE TRIGGER refuse_poison BEFORE {what} ON {table} FOR EACH ROW {when} EXECUTE FUNCTION refuse_poison()"
STANDING = "SELECT id, state, reason FROM referral ORDER BY id"


async def offered(cast: Cast, number: int) -> tuple[httpx.AsyncClient, list[UUID]]:
    """South Wales, and the referrals it has just made."""
    force = await cast.play("SWP")
    made = await asyncio.gather(*(submitted(force, addressees=["HMRC"]) for _ in range(number)))
    return force, sorted(UUID(one["id"]) for one in made)


async def refuse(database: Database, poison: UUID) -> None:
    """The database refuses every dispatch of this referral."""
    await change(database, REFUSE.format(column="referral_id", id=poison))
    await change(database, GUARD.format(what="INSERT", table="dispatch", when=""))


async def heal(database: Database) -> None:
    await change(database, "DROP FUNCTION refuse_poison CASCADE")


async def run(database: Database) -> None:
    """What a worker does while it finds something."""
    worker = FanOut()
    while await worker.run(database, WORKER, [], BATCH):
        pass


async def standing(database: Database) -> dict[UUID, Document]:
    return {row["id"]: row for row in await rows(database, STANDING)}


async def time_passes(database: Database) -> None:
    """The next try of whatever failed has come."""
    await change(database, "UPDATE fan_out_try SET next_at = now() WHERE next_at IS NOT NULL")


async def until_held(database: Database, poison: UUID) -> None:
    for _ in range(MOST_TRIES + 2):
        if (await standing(database))[poison]["state"] == "held":
            return
        await time_passes(database)
        await run(database)
    raise AssertionError("it is tried for ever")


async def test_one_that_fails_lets_the_ninety_nine_of_its_batch_through_at_once(cast: Cast, database: Database) -> None:
    _, ids = await offered(cast, BATCH)
    poison = ids[50]
    await refuse(database, poison)
    await run(database)
    found = await standing(database)
    assert {found[key]["state"] for key in ids if key != poison} == {"in_progress"}
    assert found[poison]["state"] == "accepted"
    [kept] = await rows(database, "SELECT referral_id, tries, failure, next_at > now() AS later FROM fan_out_try")
    assert (kept["referral_id"], kept["tries"], kept["later"]) == (poison, 2, True)
    assert "Quill" not in kept["failure"]
    _, more = await offered(cast, 3)
    await run(database)
    found = await standing(database)
    assert {found[key]["state"] for key in more} == {"in_progress"}, "and those that come after"
    assert not await waits(database)
    async with database.transaction() as connection:
        await check(connection)


async def waits(database: Database) -> bool:
    async with database.transaction() as connection:
        return await fan_out.is_waiting(connection)


async def test_after_its_tries_it_shows_on_the_page_until_a_release_tries_again(cast: Cast, database: Database) -> None:
    force, [poison] = await offered(cast, 1)
    await refuse(database, poison)
    await run(database)
    await until_held(database, poison)
    assert not await waits(database)
    kept = (await force.get(f"/v1/referrals/{poison}")).json()
    assert kept["state"] == "held"
    assert kept["reason"] == "It could not be sent out. Release it to try again, or reject it."
    coordinator = await cast.play("TARIAN")
    assert "1 referral could not be sent out to anybody" in await page(cast)
    # Released while the cause is still there it is tried as often again.
    assert (await coordinator.post(f"/v1/referrals/{poison}/release")).json()["state"] == "accepted"
    assert "could not be sent out" not in await page(cast)
    await run(database)
    await until_held(database, poison)
    await heal(database)
    assert (await coordinator.post(f"/v1/referrals/{poison}/release")).status_code == 200
    await run(database)
    assert (await standing(database))[poison]["state"] == "in_progress"
    assert await rows(database, "SELECT * FROM fan_out_try") == []
    assert "could not be sent out" not in await page(cast)
    async with database.transaction() as connection:
        await check(connection)


async def page(cast: Cast) -> str:
    """The first page, as the co-ordinator of the region sees it."""
    browser = await signed_in(cast, "TARIAN")
    answer = await browser.get("/")
    assert answer.status_code == 200
    return answer.text


async def test_one_that_cannot_even_be_held_stops_and_shows(cast: Cast, database: Database) -> None:
    _, [poison, other] = await offered(cast, 2)
    await change(database, REFUSE.format(column="id", id=poison))
    await change(database, GUARD.format(what="UPDATE", table="referral", when=""))
    await run(database)
    assert (await standing(database))[other]["state"] == "in_progress"
    for _ in range(MOST_TRIES):
        await time_passes(database)
        await run(database)
    assert not await waits(database)
    assert "1 referral could not be sent out to anybody" in await page(cast)


async def test_a_rule_that_names_no_party_stops_only_the_referrals_it_applies_to(
    cast: Cast, database: Database
) -> None:
    """Reference data that is read well and still cannot be followed."""
    force = await cast.play("SWP")
    spoilt = await submitted(force, addressees=None, crime_types=["waste_crime"])
    fine = await submitted(force, addressees=["HMRC"], crime_types=["drug_trafficking"])
    await change(database, "ALTER TABLE routing_rule DROP CONSTRAINT fk_routing_rule_agency")
    await change(database, "UPDATE routing_rule SET agency = 'NOBODY' WHERE crime_type = 'waste_crime'")
    await run(database)
    found = await standing(database)
    assert found[UUID(fine["id"])]["state"] == "in_progress"
    await until_held(database, UUID(spoilt["id"]))


async def test_a_backlog_goes_through_in_batches_and_leaves_no_marks(cast: Cast, database: Database) -> None:
    _, ids = await offered(cast, 12)
    await change(database, "UPDATE referral SET updated_at = now() - interval '1 hour'")
    worker = FanOut()
    assert await worker.run(database, WORKER, [], BATCH) == len(ids)
    assert {row["state"] for row in (await standing(database)).values()} == {"in_progress"}
    assert await rows(database, "SELECT * FROM fan_out_try") == []


DYING = """
import asyncio, os, signal, sys
from app.audit.record import Actor
from app.db import Database
from app.referrals import fan_out
from app.settings import Settings

whole = fan_out._dispatches

def deadly(referral, means):
    if str(referral.id) == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(referral, means)

fan_out._dispatches = deadly

async def main():
    database, worker = Database(Settings()), fan_out.FanOut()
    while await worker.run(database, Actor("GAIN", "worker"), [], 100):
        pass
    await database.close()

asyncio.run(main())
"""


async def test_one_that_kills_its_worker_again_and_again_stops_and_shows(
    cast: Cast, database: Database, as_worker: Settings
) -> None:
    _, ids = await offered(cast, 8)
    poison = ids[3]
    environment = {**os.environ, "GAIN_DATABASE_URL": as_worker.database_url}
    died = 0
    for _ in range(3 * MOST_TRIES):
        worker = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", DYING, str(poison)], env=environment, capture_output=True
        )
        died += worker.returncode == -signal.SIGKILL
        assert worker.returncode in (0, -signal.SIGKILL), worker.stderr.decode()
        if (await standing(database))[poison]["state"] == "held":
            break
        # The time after which a batch is suspected, then the leases of those that were being tried.
        await change(
            database, "UPDATE referral SET updated_at = updated_at - make_interval(secs => :late)", late=LATE_SECONDS
        )
        await time_passes(database)
    found = await standing(database)
    assert found[poison]["state"] == "held"
    assert {found[key]["state"] for key in ids if key != poison} == {"in_progress"}
    assert died == 1 + MOST_TRIES, "once unnoticed, and then as often as it may"


async def test_of_two_workers_one_tries_what_failed(cast: Cast, database: Database) -> None:
    _, ids = await offered(cast, 2)
    async with database.transaction() as connection:
        await fan_out_tries.fail(connection, ids, "Defect")
    async with database.transaction() as one, database.transaction() as other:
        found = [await fan_out_tries.take(one), await fan_out_tries.take(other), await fan_out_tries.take(one)]
    assert {taken.referral_id for taken in found if taken} == set(ids)
    assert found[2] is None


@pytest.fixture(autouse=True)
async def undisturbed(database: Database) -> None:
    """A database with the reference data and nothing else."""
    async with database.transaction() as connection:
        assert not await connection.scalar(text("SELECT count(*) FROM referral"))
