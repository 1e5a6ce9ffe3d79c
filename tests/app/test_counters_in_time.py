"""The counters as time passes: what is due, what is oldest, and who is silent."""

from datetime import timedelta

import pytest

from app.db import Database
from app.parties.policy import Policy
from app.referrals import lifecycle
from app.referrals.lifecycle import Restart
from app.referrals.timekeeper import Timekeeper
from app.reporting.queues import Health
from tests.acts import NO_HIT, QUESTION, change, dispatched, rows
from tests.app.counters import COORDINATOR, differences, queue
from tests.conftest import Cast, Workers

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
