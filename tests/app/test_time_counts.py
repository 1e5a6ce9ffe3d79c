"""From when an agency's time counts: its inbox, its release, and on from where it stood; whatever delayed that."""

import asyncio
import io
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import structlog

from app.audit.record import Actor
from app.db import Database
from app.logs import logger
from app.parties.codes import Priority
from app.parties.directory import DirectoryCache
from app.parties.policy import Policy
from app.referrals import rounds, timekeeper
from app.referrals.deadlines import working_days_after, working_days_before
from app.referrals.rounds import Reference
from app.referrals.schedule import expiry, steps
from app.referrals.timekeeper import Timekeeper
from app.routing.reference import MatrixCache
from tests.acts import change, eventually, rows, submitted
from tests.conftest import Cast, Workers
from tests.passing import let_pass, pass_time
from workers.recording import WORKER

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
QUESTION = {"outcome": "more_information", "summary": "Who?"}
REFUSE = """
    CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.id = '{id}' THEN RAISE EXCEPTION 'Quillfeather' USING ERRCODE = 'check_violation'; END IF;
        RETURN NEW;
    END $$
"""
GUARD = "CREATE TRIGGER refuse_poison BEFORE UPDATE ON dispatch FOR EACH ROW EXECUTE FUNCTION refuse_poison()"


async def _urgent(cast: Cast, workers: Workers, *addressees: str) -> tuple[httpx.AsyncClient, str, str]:
    """A force, its urgent referral, and the one dispatch of that."""
    force = await cast.play("SWP")
    made = await submitted(force, addressees=list(addressees) or ["HMRC"], priority="urgent")
    await workers.run()
    tracked = (await force.get(f"/v1/referrals/{made['id']}")).json()
    return force, made["id"], tracked["dispatches"][0]["id"]


async def _reply(force: httpx.AsyncClient, referral_id: str, key: str) -> None:
    """The force answers the question; the item returns."""
    said = {"dispatch_id": key, "text": "He."}
    assert (await force.post(f"/v1/referrals/{referral_id}/messages", json=said)).status_code == 200


async def _extend(cast: Cast, database: Database, key: str, hours: int) -> None:
    """A co-ordinator gives so many hours from the inbox on."""
    [row] = await rows(database, "SELECT created_at + make_interval(hours => :hours) AS due FROM dispatch", hours=hours)
    body = {"due_at": row["due"].isoformat()}
    given = await (await cast.play("TARIAN")).post(f"/v1/dispatches/{key}/extend", json=body)
    assert given.status_code == 200, given.text


async def _happened(database: Database) -> list[str]:
    """What the clock did, and the alerts that were raised."""
    logged = await rows(database, "SELECT action FROM audit_event WHERE action LIKE 'dispatch.%' ORDER BY id")
    clock = [row["action"].partition(".")[2] for row in logged]
    alerts = await rows(database, "SELECT kind FROM alert ORDER BY id")
    return [word for word in clock if word in ("chased", "overdue", "expired")] + [row["kind"] for row in alerts]


@pytest.mark.parametrize("kept_back", [5 * HOUR, 28 * HOUR])
async def test_an_urgent_referral_that_was_held_before_anybody_was_asked_gives_all_its_hours(
    cast: Cast, workers: Workers, database: Database, kept_back: timedelta
) -> None:
    """Whatever its age, an agency has four hours from its inbox; then it is overdue, and a day later it ends."""
    force, coordinator = await cast.play("SWP"), await cast.play("TARIAN")
    made = await submitted(force, addressees=["HMRC"], priority="urgent")
    held = await coordinator.post(f"/v1/referrals/{made['id']}/hold", json={"reason": "Check first."})
    assert held.status_code == 200
    await pass_time(database, kept_back)
    assert (await coordinator.post(f"/v1/referrals/{made['id']}/release")).status_code == 200
    await workers.run()
    [given] = await rows(database, "SELECT due_at - created_at AS due, expires_at - created_at AS ends FROM dispatch")
    assert given == {"due": 4 * HOUR, "ends": 28 * HOUR}
    assert await pass_time(database, 29 * MINUTE) == 0
    await pass_time(database, 2 * MINUTE)
    assert await _happened(database) == ["urgent_unacknowledged"]
    await pass_time(database, 2 * HOUR)
    await pass_time(database, 2 * HOUR)
    assert await _happened(database) == ["chased", "overdue", "urgent_unacknowledged"]
    await pass_time(database, 24 * HOUR)
    assert (await _happened(database))[:3] == ["chased", "overdue", "expired"]


async def test_a_dispatch_that_was_made_after_it_was_due_is_overdue_and_ends(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """As rows are that an earlier version made."""
    await _urgent(cast, workers)
    late = "UPDATE dispatch SET due_at = created_at - interval '1 hour', next_check_at = created_at"
    await change(database, late)
    await pass_time(database, MINUTE)
    assert "overdue" in await _happened(database)
    await change(database, "UPDATE dispatch SET expires_at = created_at - interval '1 minute', next_check_at = now()")
    await pass_time(database, MINUTE)
    assert "expired" in await _happened(database)


@pytest.mark.parametrize("whole", [True, False], ids=["the referral was held", "its policy wants a release"])
async def test_what_is_released_later_is_alerted_half_an_hour_after_and_chased(
    cast: Cast, workers: Workers, database: Database, whole: bool
) -> None:
    """Its time counts from the release."""
    _, referral_id, key = await _urgent(cast, workers, "HMRC" if whole else "SMARTWATER")
    coordinator = await cast.play("TARIAN")
    if whole:
        await coordinator.post(f"/v1/referrals/{referral_id}/hold", json={"reason": "Check first."})
    assert await pass_time(database, 3 * HOUR) == 0
    place = f"/v1/referrals/{referral_id}/release" if whole else f"/v1/dispatches/{key}/release"
    assert (await coordinator.post(place)).status_code == 200
    assert await pass_time(database, 29 * MINUTE) == 0
    await pass_time(database, 2 * MINUTE)
    assert await _happened(database) == ["urgent_unacknowledged"]
    await pass_time(database, 2 * HOUR)
    await pass_time(database, 2 * HOUR)
    assert await _happened(database) == ["chased", "overdue", "urgent_unacknowledged"]


async def test_a_question_puts_the_alert_and_the_chase_off_and_loses_neither(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """Asked after ten minutes, answered a day later: twenty minutes are left to the alert."""
    force, referral_id, key = await _urgent(cast, workers)
    agency = await cast.play("HMRC")
    await pass_time(database, 10 * MINUTE)
    assert (await agency.post(f"/v1/inbox/{key}/response", json=QUESTION)).status_code == 201
    assert await pass_time(database, 24 * HOUR) == 0
    await _reply(force, referral_id, key)
    assert await pass_time(database, 19 * MINUTE) == 0
    await pass_time(database, 2 * MINUTE)
    assert await _happened(database) == ["urgent_unacknowledged"]
    await pass_time(database, 2 * HOUR)
    assert await _happened(database) == ["chased", "urgent_unacknowledged"]
    await pass_time(database, 2 * HOUR)
    assert await _happened(database) == ["chased", "overdue", "urgent_unacknowledged"]


async def test_no_agency_that_acknowledged_is_to_be_telephoned_after_its_question(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """It has said that it has the item; the answer to its question takes that from nobody."""
    force, referral_id, key = await _urgent(cast, workers)
    agency = await cast.play("HMRC")
    assert (await agency.post(f"/v1/inbox/{key}/acknowledgement")).status_code == 200
    assert (await agency.post(f"/v1/inbox/{key}/response", json=QUESTION)).status_code == 201
    await _reply(force, referral_id, key)
    await pass_time(database, 31 * MINUTE)
    assert await _happened(database) == []


@pytest.mark.parametrize(("passed", "end"), [(5 * HOUR, "overdue"), (29 * HOUR, "expired")])
async def test_a_question_that_was_quicker_than_the_clock_stops_it_for_ever_no_more(
    cast: Cast, workers: Workers, database: Database, passed: timedelta, end: str
) -> None:
    """Its end had passed, and nobody had looked: after the reply it is asked at once."""
    force, referral_id, key = await _urgent(cast, workers)
    agency = await cast.play("HMRC")
    await let_pass(database, passed)
    assert (await agency.post(f"/v1/inbox/{key}/response", json=QUESTION)).status_code == 201
    await _reply(force, referral_id, key)
    await pass_time(database, MINUTE)
    assert end in await _happened(database)


async def test_more_time_given_before_the_clock_looked_loses_no_alert(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """The half hour was over; the co-ordinator extended before the timekeeper came."""
    _, _, key = await _urgent(cast, workers)
    await let_pass(database, 31 * MINUTE)
    await _extend(cast, database, key, 10)
    await pass_time(database, timedelta(0))
    assert await _happened(database) == ["urgent_unacknowledged"]


async def test_more_time_keeps_what_is_still_to_come(cast: Cast, workers: Workers, database: Database) -> None:
    """Ten hours instead of four: the alert at its time, the chase at half of the new one."""
    _, _, key = await _urgent(cast, workers)
    await _extend(cast, database, key, 10)
    await pass_time(database, 31 * MINUTE)
    assert await _happened(database) == ["urgent_unacknowledged"]
    assert await pass_time(database, 4 * HOUR) == 0
    await pass_time(database, HOUR)
    assert await _happened(database) == ["chased", "urgent_unacknowledged"]
    await pass_time(database, 5 * HOUR)
    assert await _happened(database) == ["chased", "overdue", "urgent_unacknowledged"]


async def test_more_time_keeps_the_chase_a_working_day_before_the_end(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """Where half the time is over, that is what the clock asks next."""
    force, coordinator = await cast.play("SWP"), await cast.play("TARIAN")
    await submitted(force, addressees=["HMRC"], priority="routine")
    await workers.run()
    [row] = await rows(database, "SELECT id, now() AS now FROM dispatch")
    days = Policy().working_days
    due = working_days_after(row["now"], 3, days) + HOUR
    given = await coordinator.post(f"/v1/dispatches/{row['id']}/extend", json={"due_at": due.isoformat()})
    assert given.status_code == 200, given.text
    [row] = await rows(database, "SELECT due_at, expires_at, next_check_at FROM dispatch")
    assert row["due_at"] == due
    assert row["expires_at"] == expiry(due, Priority.ROUTINE, Policy())
    assert row["next_check_at"] == working_days_before(due, 1, days)


@pytest.mark.parametrize("until", ["9999-12-31T00:00:00Z", "2226-01-01T00:00:00Z", "2020-01-05T10:00:00Z"])
async def test_more_time_is_given_within_the_calendar(cast: Cast, workers: Workers, until: str) -> None:
    """Neither what has passed, nor what nobody lives to see."""
    _, _, key = await _urgent(cast, workers)
    refused = await (await cast.play("TARIAN")).post(f"/v1/dispatches/{key}/extend", json={"due_at": until})
    assert refused.status_code == 422, refused.text
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/due_at"]


async def test_a_body_that_is_added_while_the_referral_is_released_goes_out_with_it(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """The release waits for whoever has the referral, and then sees the new body's dispatch too."""
    _, referral_id, _ = await _urgent(cast, workers)
    coordinator = await cast.play("TARIAN")
    await coordinator.post(f"/v1/referrals/{referral_id}/hold", json={"reason": "Check first."})

    async def waits() -> bool:
        waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        return bool(await rows(database, waiting))

    async with database.transaction() as connection:
        directory, matrix = await DirectoryCache().get(connection), await MatrixCache().get(connection)
        reference = Reference(directory, matrix, simulated=False)
        await rounds.add_addressees(connection, Actor("TARIAN", "other"), UUID(referral_id), ["EA"], reference)
        releasing = asyncio.create_task(coordinator.post(f"/v1/referrals/{referral_id}/release"))
        await eventually(waits, seconds=30)
    released = await releasing
    assert released.status_code == 200, released.text
    assert {one["agency"]: one["state"] for one in released.json()["dispatches"]} == {"HMRC": "queued", "EA": "queued"}


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is logged."""
    written = io.StringIO()
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(written),
        cache_logger_on_first_use=False,
    )
    monkeypatch.setattr(timekeeper, "log", logger())
    return written


@pytest.mark.parametrize("refused_by", ["the database", "our own reading of it"])
async def test_a_dispatch_that_cannot_be_dealt_with_stops_no_other_clock(
    cast: Cast, workers: Workers, database: Database, log: io.StringIO, monkeypatch: pytest.MonkeyPatch, refused_by: str
) -> None:
    """It is told by its id alone, looked at again later, and dealt with once that goes."""
    force = await cast.play("SWP")
    for _ in range(5):
        await submitted(force, addressees=["HMRC"], priority="urgent")
    await workers.run()
    await pass_time(database, MINUTE)
    await change(database, "UPDATE dispatch SET due_at = now() - interval '1 minute', next_check_at = now()")
    found = await rows(database, "SELECT id FROM dispatch ORDER BY number")
    poison = found[2]["id"]
    if refused_by == "the database":
        await change(database, REFUSE.format(id=poison))
        await change(database, GUARD)
    else:
        monkeypatch.setattr(timekeeper, "steps", _failing_at(steps, await _due(database, poison)))

    keeping = Timekeeper()
    assert await keeping.run(database, WORKER) == 5
    assert await keeping.run(database, WORKER) == 0, "it goes on with what is left, and not for ever with that one"
    assert await _overdue(database) == {row["id"] for row in found} - {poison}
    assert str(poison) in log.getvalue()
    assert "Quill" not in log.getvalue()

    if refused_by == "the database":
        await change(database, "DROP FUNCTION refuse_poison CASCADE")
    else:
        monkeypatch.undo()
    keeping._put_off[poison] = 0.0  # its wait is over
    await keeping.run(database, WORKER)
    assert await _overdue(database) == {row["id"] for row in found}


def _failing_at(rule: Any, due: datetime) -> Any:
    """The rule, but that it knows nothing of what is due then."""

    def failing(given: Any, *rest: Any) -> Any:
        if given.due == due:
            raise KeyError("HMRC")
        return rule(given, *rest)

    return failing


async def _due(database: Database, key: UUID) -> datetime:
    await change(database, "UPDATE dispatch SET due_at = due_at - interval '1 second' WHERE id = :id", id=key)
    [row] = await rows(database, "SELECT due_at FROM dispatch WHERE id = :id", id=key)
    found: datetime = row["due_at"]
    return found


async def _overdue(database: Database) -> set[UUID]:
    return {row["id"] for row in await rows(database, "SELECT id FROM dispatch WHERE overdue_at IS NOT NULL")}
