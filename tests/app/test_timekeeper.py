"""The clock of a dispatch, on the database: chased, alerted, overdue, expired. Time is moved by moving the rows."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.db import Database
from tests.acts import change
from tests.conftest import HIT, Cast, Workers, referral
from tests.passing import pass_time


async def _dispatched(cast: Cast, workers: Workers, **changes: Any) -> UUID:
    force = await cast.play("SWP")
    accepted = (await force.post("/v1/referrals", json=referral(addressees=["HMRC"], **changes))).json()
    await workers.run()
    tracked = (await force.get(f"/v1/referrals/{accepted['id']}")).json()
    return UUID(tracked["dispatches"][0]["id"])


async def _log(database: Database, key: UUID) -> list[str]:
    async with database.transaction() as connection:
        rows = await connection.execute(
            text("SELECT action FROM audit_event WHERE dispatch_id = :id ORDER BY id"), {"id": key}
        )
        return [row.action for row in rows]


async def _alerts(database: Database) -> list[str]:
    async with database.transaction() as connection:
        rows = await connection.execute(text("SELECT kind FROM alert WHERE settled_at IS NULL ORDER BY id"))
        return [row.kind for row in rows]


async def test_an_urgent_dispatch_is_alerted_chased_overdue_and_expires(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """Each at its time, once."""
    key = await _dispatched(cast, workers, priority="urgent")
    assert await pass_time(database, timedelta(minutes=29)) == 0
    assert await pass_time(database, timedelta(minutes=2)) == 1
    assert await _alerts(database) == ["urgent_unacknowledged"]
    await pass_time(database, timedelta(hours=2))
    await pass_time(database, timedelta(hours=2))
    assert await pass_time(database, timedelta(minutes=1)) == 0
    await pass_time(database, timedelta(hours=24))
    assert await _log(database, key) == ["dispatch.alerted", "dispatch.chased", "dispatch.overdue", "dispatch.expired"]
    assert await _alerts(database) == ["expired"]


async def test_an_alert_stays_in_the_timeline_when_it_is_settled(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """Raised once, told once; the force and its co-ordinator see it, and what it was about."""
    key = await _dispatched(cast, workers, priority="urgent")
    for _ in range(2):
        await pass_time(database, timedelta(minutes=31))
        await change(database, "UPDATE dispatch SET clock_from = NULL, created_at = now(), next_check_at = now()")
    await (await cast.play("HMRC")).post(f"/v1/inbox/{key}/acknowledgement")
    assert await _alerts(database) == []
    for party in ("SWP", "TARIAN"):
        client = await cast.play(party)
        [found] = (await client.get("/v1/referrals")).json()["items"]
        events = (await client.get(f"/v1/referrals/{found['id']}/events")).json()["items"]
        [alerted] = [one for one in events if one["event"] == "dispatch.alerted"]
        assert (alerted["agency"], alerted["detail"]) == ("HMRC", {"kind": "urgent_unacknowledged"})


async def test_an_acknowledged_dispatch_raises_no_alert(cast: Cast, workers: Workers, database: Database) -> None:
    """Somebody has said that they have it."""
    key = await _dispatched(cast, workers, priority="urgent")
    agency = await cast.play("HMRC")
    await agency.post(f"/v1/inbox/{key}/acknowledgement")
    await pass_time(database, timedelta(minutes=31))
    assert await _alerts(database) == []


async def test_acknowledging_settles_the_alert(cast: Cast, workers: Workers, database: Database) -> None:
    """The page shows what still needs somebody."""
    key = await _dispatched(cast, workers, priority="urgent")
    await pass_time(database, timedelta(minutes=31))
    await (await cast.play("HMRC")).post(f"/v1/inbox/{key}/acknowledgement")
    assert await _alerts(database) == []


async def test_a_late_answer_is_refused_kept_and_shown_to_the_coordinator(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """All steps missed at once end in one expiry."""
    key = await _dispatched(cast, workers)
    await pass_time(database, timedelta(days=60))
    agency, coordinator = await cast.play("HMRC"), await cast.play("TARIAN")
    assert (await agency.post(f"/v1/inbox/{key}/response", json=HIT)).status_code == 410
    assert await _alerts(database) == ["expired", "late_answer"]
    assert (await coordinator.post(f"/v1/dispatches/{key}/redeliver")).status_code == 200
    assert await _alerts(database) == []


async def test_the_clock_stands_while_the_agency_waits_for_an_answer(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """A question of ten weeks costs the agency nothing."""
    key = await _dispatched(cast, workers)
    agency, force = await cast.play("HMRC"), await cast.play("SWP")
    await agency.post(f"/v1/inbox/{key}/response", json={"outcome": "more_information", "summary": "Who?"})
    assert await pass_time(database, timedelta(days=70)) == 0
    [tracked] = (await force.get("/v1/referrals")).json()["items"]
    await force.post(f"/v1/referrals/{tracked['id']}/messages", json={"dispatch_id": str(key), "text": "He."})
    assert await pass_time(database, timedelta(0)) == 0
    [again] = (await force.get("/v1/referrals")).json()["items"]
    assert again["dispatches"][0]["state"] == "delivered"


async def test_a_second_different_answer_is_shown_to_the_coordinator(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """The first stands; somebody must look."""
    key = await _dispatched(cast, workers)
    agency = await cast.play("HMRC")
    await agency.post(f"/v1/inbox/{key}/response", json=HIT)
    assert (await agency.post(f"/v1/inbox/{key}/response", json={"outcome": "no_hit"})).status_code == 409
    assert await _alerts(database) == ["conflicting_answer"]
