"""A worker hands over at once what it fans out, takes no more than it has room for, and overtakes nobody."""

import asyncio
from typing import Any

import pytest

from app.db import Database
from app.referrals import lifecycle
from app.referrals.fan_out import FanOut
from app.referrals.lifecycle import LEASE_SECONDS, HandOver, Slot
from app.referrals.taking import Taking
from tests import invariants
from tests.acts import actions, change, eventually, rows, submitted
from tests.conftest import Cast
from tests.workers.bodies import GAIN, NO_HIT, Body, Stuck, pump, run
from workers import pump as pumps

_STANDING = """
    SELECT id, agency, state, attempt, failures, delivered_at = created_at AS at_once,
           extract(epoch FROM due_delivery_at - now()) AS due_in
      FROM dispatch ORDER BY created_at, agency
"""


async def fanned_out(database: Database, most: int = 10, **slots: int) -> list[HandOver]:
    """What a worker with so many slots has taken of all that waits."""
    taking = Taking(dict(slots), most)
    await FanOut().run(database, GAIN, list(slots), taking=taking)
    return taking.taken


@pytest.fixture(autouse=True)
async def everything_holds(database: Database) -> Any:
    """After every test."""
    yield
    async with database.transaction() as connection:
        await invariants.check(connection)


async def test_what_is_fanned_out_is_begun_without_being_claimed(cast: Cast, database: Database) -> None:
    await submitted(await cast.play("SWP"), addressees=["HMRC", "EA"])
    body = Body(NO_HIT)
    await run(database, HMRC=body, EA=body)
    found = await rows(database, _STANDING)
    assert [(row["state"], row["attempt"], row["at_once"]) for row in found] == [("answered", 1, True)] * 2
    assert {(seen.agency, seen.attempt, seen.round) for seen in body.seen} == {("HMRC", 1, 1), ("EA", 1, 1)}
    assert all(seen.referral["subject"]["family_name"] == "Quill" for seen in body.seen)
    logged = await actions(database)
    assert logged.index("referral.dispatched") < logged.index("dispatch.delivered")
    assert logged.count("dispatch.delivered") == 2


async def test_what_is_taken_is_leased_and_falls_due_again_if_its_worker_dies(cast: Cast, database: Database) -> None:
    await submitted(await cast.play("SWP"), addressees=["HMRC"])
    [item] = await fanned_out(database, HMRC=1)
    [found] = await rows(database, _STANDING)
    assert (item.id, item.attempt, item.failures) == (found["id"], 1, 1)
    assert (found["state"], found["attempt"], found["failures"]) == ("delivered", 1, 1)
    assert LEASE_SECONDS - 20 < found["due_in"] <= LEASE_SECONDS
    await change(database, "UPDATE dispatch SET due_delivery_at = now()")
    second = Body(NO_HIT)
    await run(database, HMRC=second)
    assert [envelope.attempt for envelope in second.seen] == [2]


async def test_no_more_is_taken_than_an_agency_has_room_for(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    for _ in range(3):
        await submitted(force, addressees=["HMRC", "EA"])
    taken = await fanned_out(database, HMRC=1, EA=2)
    assert sorted(item.agency for item in taken) == ["EA", "EA", "HMRC"]
    found = await rows(database, _STANDING)
    assert sorted(row["state"] for row in found) == ["delivered"] * 3 + ["queued"] * 3
    assert all(row["due_in"] <= 0 for row in found if row["state"] == "queued"), "the others are due"
    assert (await actions(database)).count("dispatch.delivered") == 3


async def test_an_agency_with_others_due_gets_those_first(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    await submitted(force, addressees=["HMRC"])
    assert await fanned_out(database, HMRC=0) == []
    await submitted(force, addressees=["HMRC", "EA"])
    taken = await fanned_out(database, HMRC=5, EA=5)
    assert [item.agency for item in taken] == ["EA"]
    async with database.transaction() as connection:
        claimed = await lifecycle.hand_over(connection, GAIN, [Slot("HMRC", 5)], 5)
    assert [item.attempt for item in claimed] == [1, 1]


async def test_what_cannot_be_opened_is_not_disclosed_by_being_made(cast: Cast, database: Database) -> None:
    await submitted(await cast.play("SWP"), addressees=["HMRC"])
    await change(database, "UPDATE data_key SET wrapped = decode(repeat('00', 60), 'hex')")
    assert await fanned_out(database, HMRC=5) == []
    [found] = await rows(database, _STANDING)
    assert (found["state"], found["attempt"]) == ("queued", 0)
    assert "dispatch.delivered" not in await actions(database)


async def test_who_asks_a_pump_that_waits_for_a_slow_agency_is_served_at_once(
    cast: Cast, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks by itself in an hour only: that the other agency is called is the asking's doing."""
    monkeypatch.setattr(pumps, "_LOOK_SECONDS", 3_600.0)
    force = await cast.play("SWP")
    await submitted(force, addressees=["HMRC"])
    slow, well = Stuck(), Body(NO_HIT)
    resting = pump(database, HMRC=slow, EA=well)
    working = asyncio.create_task(resting.run(seconds=3_600))
    await slow.called.wait()
    await submitted(force, addressees=["EA"])
    async with asyncio.timeout(30):
        await resting.ask()
    assert len(well.seen) == 1

    async def is_recorded() -> bool:
        return bool(await rows(database, "SELECT 1 FROM dispatch WHERE agency = 'EA' AND state = 'answered'"))

    await eventually(is_recorded, 30)
    slow.free.set()
    async with asyncio.timeout(30):
        await working
