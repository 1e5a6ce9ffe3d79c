"""Agencies get no more notices than they take, each one once, and a silent one holds nobody up."""

import asyncio
import time
from datetime import timedelta

import pytest

from app.crypto.keys import Keys
from app.db import Connection, Database
from app.referrals import circuits as paused
from app.referrals.circuits import Pause
from app.referrals.delivery import MOST_TRIES
from tests.app.test_referral_to_answer import submitted
from tests.conftest import SECRET, Cast, Workers
from tests.workers.noticing import DISPATCHES, Opened, change, make_due, pushed_to, rows, written_to
from tests.workers.outside import OK, Agency, Post, answer
from workers.adapters.push import DEADLINE_SECONDS
from workers.circuits import FAILURES, CircuitState
from workers.pump import Pump


async def test_no_more_notices_a_day_than_the_agency_takes_but_every_urgent_one(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    await change(database, """UPDATE party SET policy = policy || '{"notices_per_day": 3}' WHERE code = 'HMRC'""")
    force = await cast.play("SWP")
    async with Agency(OK).running() as agency:
        await pushed_to(database, agency.url)
        for number in range(8):
            await submitted(force, addressees=["HMRC"], client_reference=f"SWP/{number}")
        await workers.run(channels())
        assert len(agency.calls) == 3
        for number in range(4):
            await submitted(force, addressees=["HMRC"], priority="urgent", client_reference=f"SWP/urgent/{number}")
        await workers.run(channels())
        assert len(agency.calls) == 7
        inbox = (await (await cast.play("HMRC")).get("/v1/inbox")).json()["items"]
        assert len(inbox) == 12
        await change(database, "UPDATE notice_count SET day = day - 1")
        await workers.run(channels())
    # What it has read meanwhile needs no notice on the next day.
    assert len(agency.calls) == 7
    assert await rows(database, "SELECT id FROM dispatch WHERE due_delivery_at IS NOT NULL") == []


async def test_an_agency_gets_no_more_pushes_a_minute_than_set(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    force = await cast.play("SWP")
    async with Agency(OK).running() as agency:
        await pushed_to(database, agency.url)
        for _ in range(5):
            await submitted(force, addressees=["HMRC"])
        await workers.run(channels(notices_per_minute=2))
        assert len(agency.calls) in (2, 4)  # the minute may turn meanwhile
        await change(database, "UPDATE notice_count SET minute = minute - 1")
        await workers.run(channels(notices_per_minute=100))
        assert len(agency.calls) == 5


async def test_what_comes_within_a_minute_goes_in_one_more_message(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    force = await cast.play("SWP")
    async with Post().running() as post:
        await written_to(database)
        opened = channels(smtp_url=f"smtp://127.0.0.1:{post.port}")
        await submitted(force, addressees=["HMRC"])
        await workers.run(opened)
        for _ in range(12):
            await submitted(force, addressees=["HMRC"])
        await workers.run(opened)
        await change(database, "UPDATE notice_count SET minute = minute - 1")
        await workers.run(opened)
    assert [message["Subject"] for message in post.messages][-1] == "GAIN: 12 referrals wait in your inbox"
    assert len(post.messages) == 2


async def test_two_workers_tell_each_item_once(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    force = await cast.play("SWP")
    async with Agency(OK).running() as agency:
        await pushed_to(database, agency.url)
        for _ in range(30):
            await submitted(force, addressees=["HMRC"])
        await asyncio.gather(*(workers.run(channels()) for _ in range(3)))
        await workers.run(channels())
    assert len(agency.calls) == 30
    assert len({call.headers["webhook-id"] for call in agency.calls}) == 30


async def test_what_a_killed_worker_held_is_told_by_another(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    async def silence(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with Agency(silence).running() as agency:
        await pushed_to(database, agency.url)
        await submitted(await cast.play("SWP"), addressees=["HMRC"])
        killed = asyncio.create_task(workers.run(channels()))
        async with asyncio.timeout(10):
            while not agency.calls:
                await asyncio.sleep(0.01)
        killed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await killed
        agency.behaves = OK
        await make_due(database)  # the lease has ended, or was handed back
        await workers.run(channels())
    assert len({call.headers["webhook-id"] for call in agency.calls}) == 1
    [dispatch] = await rows(database, DISPATCHES)
    assert dispatch.due_delivery_at is None


async def test_a_silent_agency_fills_only_its_own_slots(cast: Cast, database: Database, channels: Opened) -> None:
    async def silence(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    force, pump = await cast.play("SWP"), Pump(database, Keys(SECRET.encode()), channels(agency_in_flight=5))
    async with Agency(silence).running() as silent, Agency(OK).running() as other:
        await pushed_to(database, silent.url, "HMRC")
        await pushed_to(database, other.url, "DWP")
        for _ in range(12):
            await submitted(force, addressees=["HMRC", "DWP"])
        stopping = asyncio.Event()
        running = asyncio.create_task(pump.run(20, stopping.is_set))
        async with asyncio.timeout(10):
            while len(other.calls) < 12 or len(silent.calls) < 5:
                await asyncio.sleep(0.01)
        assert len(silent.calls) == 5
        stopping.set()
        await running


async def test_when_a_worker_must_end_a_silent_agency_does_not_hold_it_up(
    cast: Cast, database: Database, channels: Opened
) -> None:
    async def silence(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    pump = Pump(database, Keys(SECRET.encode()), channels())
    async with Agency(silence).running() as agency:
        await pushed_to(database, agency.url)
        await submitted(await cast.play("SWP"), addressees=["HMRC"])
        started = asyncio.get_running_loop().time()
        await pump.run(seconds=0.5)
        assert asyncio.get_running_loop().time() - started < DEADLINE_SECONDS / 2
    assert len(agency.calls) == 1
    [dispatch] = await rows(database, DISPATCHES)
    assert dispatch.due_delivery_at is not None
    assert dispatch.failures == 0


async def test_an_agency_that_fails_is_left_alone_and_what_waits_uses_up_no_try(
    cast: Cast, database: Database, channels: Opened
) -> None:
    force, pump = await cast.play("SWP"), Pump(database, Keys(SECRET.encode()), channels(agency_in_flight=1))
    async with Agency(answer("500 Broken")).running() as agency:
        await pushed_to(database, agency.url)
        for _ in range(12):
            await submitted(force, addressees=["HMRC"])
        await pump.run(5)
    assert len(agency.calls) == FAILURES
    assert pump.circuits.states() == {"HMRC": CircuitState.OPEN}
    assert len(await rows(database, "SELECT id FROM dispatch WHERE attempt = 0")) == 12 - FAILURES


async def test_an_agency_that_asks_for_time_is_left_alone_and_not_only_about_the_one_item(
    cast: Cast, database: Database, channels: Opened
) -> None:
    force, pump = await cast.play("SWP"), Pump(database, Keys(SECRET.encode()), channels(agency_in_flight=1))
    async with Agency(answer("429 Too Many Requests", Retry_After="3000")).running() as agency:
        await pushed_to(database, agency.url)
        for _ in range(4):
            await submitted(force, addressees=["HMRC"])
        await pump.run(5)
        assert len(agency.calls) == 1
        assert pump.circuits.states() == {"HMRC": CircuitState.OPEN}
    assert len(await rows(database, "SELECT id FROM dispatch WHERE attempt = 0")) == 3
    [pause] = await rows(database, "SELECT failures, next_at - now() AS left FROM circuit")
    assert pause.failures == 1
    assert timedelta(seconds=2900) < pause.left <= timedelta(seconds=3600)


async def test_an_agency_that_asks_for_no_time_is_called_about_the_next_item(
    cast: Cast, database: Database, channels: Opened
) -> None:
    force, pump = await cast.play("SWP"), Pump(database, Keys(SECRET.encode()), channels(agency_in_flight=1))
    async with Agency(answer("503 Unavailable", Retry_After="0")).running() as agency:
        await pushed_to(database, agency.url)
        await submitted(force, addressees=["HMRC"])
        await pump.run(5)
    assert len(agency.calls) == 1
    assert pump.circuits.states() == {}


async def test_an_item_that_needs_no_call_does_not_set_many_loose_on_an_agency_that_is_away(
    cast: Cast, database: Database, channels: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has no tries left, one was read meanwhile: the call that finds out is the third's."""
    force, pump = await cast.play("SWP"), Pump(database, Keys(SECRET.encode()), channels())
    async with Agency(answer("500 Broken")).running() as agency:
        await pushed_to(database, agency.url)
        for _ in range(FAILURES):
            await submitted(force, addressees=["HMRC"])
        await pump.run(5)
        assert (len(agency.calls), pump.circuits.states()) == (FAILURES, {"HMRC": CircuitState.OPEN})
        for _ in range(12):
            await submitted(force, addressees=["HMRC"])
        await pump.run(5)
        await change(database, "UPDATE dispatch SET due_delivery_at = now()")
        await change(
            database,
            "UPDATE dispatch SET due_delivery_at = now() - interval '1 hour', failures = :most"
            " WHERE number = (SELECT min(number) FROM dispatch)",
            most=MOST_TRIES,
        )
        await change(
            database,
            "UPDATE dispatch SET due_delivery_at = now() - interval '1 hour', state = 'delivered'"
            " WHERE number = (SELECT max(number) FROM dispatch)",
        )
        later = time.monotonic() + 60
        monkeypatch.setattr(pump.circuits, "_now", lambda: later)  # the time of the next try
        async with asyncio.timeout(30):
            while pump.circuits.states() != {"HMRC": CircuitState.OPEN}:
                await pump.run(5)
    assert len(agency.calls) == FAILURES + 1
    assert len(await rows(database, "SELECT id FROM dispatch WHERE due_delivery_at IS NULL")) == 2
    assert len(await rows(database, "SELECT id FROM alert WHERE kind = 'notice_failed'")) == 1


async def test_a_circuit_that_closes_while_it_is_being_shown_as_open_is_not_shown_so_for_long(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    pump, write = Pump(database, Keys(SECRET.encode()), {}), paused.write

    async def and_meanwhile(connection: Connection, process: str, pauses: list[Pause]) -> None:
        pump.circuits.forget("HMRC")
        await write(connection, process, pauses)

    pump.circuits.note("HMRC", failed=True, leave_alone=3_600)
    monkeypatch.setattr(paused, "write", and_meanwhile)
    await pump.run(1)
    assert await rows(database, "SELECT agency FROM circuit") == [("HMRC",)]
    await pump.run(1)
    assert await rows(database, "SELECT agency FROM circuit") == []
