"""Pumps at once: each dispatch once, stops, leases, silent bodies, and answers over HTTP meanwhile."""

import asyncio

import httpx
import pytest

from app.db import Database
from app.referrals import delivery
from app.referrals.lifecycle import LEASE_SECONDS
from app.settings import Settings
from tests.acts import actions, rows, submitted
from tests.conftest import HIT, Cast
from tests.workers.bodies import NO_HIT, Body, Stuck, dispatch, fall_due, pump, run
from workers import hand_over

pytestmark = pytest.mark.usefixtures("everything_holds")


async def test_two_pumps_deliver_each_dispatch_once(cast: Cast, database: Database, as_worker: Settings) -> None:
    force = await cast.play("SWP")
    await asyncio.gather(*(submitted(force, addressees=["HMRC", "EA", "DWP"]) for _ in range(30)))
    bodies = {agency: Body(NO_HIT) for agency in ("HMRC", "EA", "DWP")}
    databases = [Database(as_worker) for _ in range(2)]
    await asyncio.gather(*(run(one, **bodies) for one in databases))
    for one in databases:
        await one.close()
    seen = [envelope.dispatch_id for body in bodies.values() for envelope in body.seen]
    assert len(seen) == len(set(seen)) == 90
    [row] = await rows(database, "SELECT count(*) AS number FROM referral WHERE state = 'completed'")
    assert row["number"] == 30
    assert (await actions(database)).count("dispatch.delivered") == 90


async def test_a_stop_hands_the_work_back_at_once(force: httpx.AsyncClient, database: Database) -> None:
    """Another worker takes it up without waiting for the lease, and it is no failure."""
    body, stopping = Stuck(), asyncio.Event()
    working = asyncio.create_task(pump(database, HMRC=body).run(seconds=20, stopping=stopping.is_set))
    await body.called.wait()
    assert (await dispatch(database))["due_in"] > LEASE_SECONDS - 20
    stopping.set()
    async with asyncio.timeout(3):
        await working
    found = await dispatch(database)
    assert found["due_in"] <= 0
    assert (found["state"], found["failures"]) == ("delivered", 0)
    await run(database, HMRC=Body(NO_HIT))
    assert (await dispatch(database))["state"] == "answered"


async def _nothing(_calls: object) -> int:
    return 0


async def test_what_a_dead_worker_held_is_taken_up_after_its_lease(
    force: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = Stuck()
    first = pump(database, HMRC=body)
    working = asyncio.create_task(first.run(seconds=5))
    await body.called.wait()
    monkeypatch.setattr(first, "_take_on", _nothing)  # the dead claim nothing again, and may be heard of once more
    second = Body(NO_HIT)
    await run(database, HMRC=second)
    assert second.seen == [], "its lease lives"
    await fall_due(database)
    await run(database, HMRC=second)
    assert [envelope.attempt for envelope in second.seen] == [2]
    body.free.set()
    await working
    found = await dispatch(database)
    assert (found["state"], found["attempt"]) == ("answered", 2)
    assert await rows(database, "SELECT flag FROM response") == [{"flag": None}]


async def test_a_body_that_never_answers_holds_nobody_else_up(
    cast: Cast, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hand_over, "CALL_SECONDS", 0.5)
    force = await cast.play("SWP")
    for _ in range(3):
        await submitted(force, addressees=["HMRC", "EA"])
    await run(database, HMRC=Stuck(), EA=Body(NO_HIT))
    found = await rows(database, "SELECT agency, state, failures, last_failure FROM dispatch ORDER BY agency")
    assert [(row["agency"], row["state"]) for row in found] == [("EA", "answered")] * 3 + [("HMRC", "delivered")] * 3
    assert {row["failures"] for row in found[3:]} == {1}
    assert all(row["last_failure"].startswith("no answer within") for row in found[3:])


async def test_new_work_is_taken_up_while_slow_calls_are_in_flight(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    await submitted(force, addressees=["HMRC"])
    body = Stuck()
    working = asyncio.create_task(pump(database, HMRC=body, EA=Body(NO_HIT)).run(seconds=10))
    await body.called.wait()
    await submitted(force, addressees=["EA"])
    async with asyncio.timeout(5):
        while not await rows(database, "SELECT 1 FROM dispatch WHERE agency = 'EA' AND state = 'answered'"):
            await asyncio.sleep(0.02)
    body.free.set()
    await working


async def test_agencies_without_an_adapter_are_left_to_their_inboxes(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    await submitted(force, addressees=["HMRC", "EA"])
    await run(database, EA=Body(NO_HIT))
    found = await dispatch(database, "HMRC")
    assert (found["state"], found["due_delivery_at"], found["attempt"]) == ("queued", None, 0)


async def test_what_an_adapter_answered_already_conflicts_with_another_answer_over_http(
    cast: Cast, force: httpx.AsyncClient, database: Database
) -> None:
    await run(database, HMRC=Body(NO_HIT))
    found = await dispatch(database)
    other = await (await cast.play("HMRC")).post(f"/v1/inbox/{found['id']}/response", json=HIT)
    assert other.status_code == 409


async def test_an_answer_over_http_before_the_adapters_stands(
    cast: Cast, force: httpx.AsyncClient, database: Database
) -> None:
    body = Stuck()
    working = asyncio.create_task(run(database, HMRC=body))
    await body.called.wait()
    found = await dispatch(database)
    answered = await (await cast.play("HMRC")).post(f"/v1/inbox/{found['id']}/response", json=HIT)
    assert answered.status_code == 201
    body.free.set()
    await working
    assert (await dispatch(database))["outcome"] == "hit"
    kept = await rows(database, "SELECT outcome, flag FROM response ORDER BY flag NULLS FIRST")
    assert kept == [{"outcome": "hit", "flag": None}, {"outcome": "no_hit", "flag": "conflict"}]


async def test_an_agency_that_an_adapter_now_looks_after_has_its_open_items_taken_up(
    cast: Cast, force: httpx.AsyncClient, database: Database
) -> None:
    """One was acknowledged unread over HTTP: its content leaves with the adapter, and that is a disclosure."""
    await run(database)
    found = await dispatch(database)
    await (await cast.play("HMRC")).post(f"/v1/inbox/{found['id']}/acknowledgement")
    assert await actions(database, "disclosure") == []
    async with database.transaction() as connection:
        await delivery.adopt(connection, ["HMRC"], [])
    await run(database, HMRC=Body(NO_HIT))
    assert await actions(database, "disclosure") == ["dispatch.delivered"]
    assert (await dispatch(database))["state"] == "answered"
    async with database.transaction() as connection:
        assert not await delivery.is_due(connection, ["HMRC"])
        await delivery.release(connection, [])
