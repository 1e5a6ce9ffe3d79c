"""What becomes of notices when an agency's channel is set anew, or ends."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text

from app.audit.record import Actor
from app.crypto.keys import Keys
from app.db import AS_WORKER, Database
from app.parties.channels import retire
from app.referrals import delivery, lifecycle
from app.referrals.lifecycle import LEASE_SECONDS, Slot
from app.settings import Settings
from tests.acts import change, eventually, rows, submitted
from tests.conftest import SECRET, Cast, Workers
from tests.workers.noticing import Opened, pushed_to
from tests.workers.outside import OK, Agency, Behaviour, answer
from tests.workers.test_scheduling import led
from workers import in_flight
from workers.circuits import CircuitState
from workers.pump import Pump
from workers.tasks import scheduler as scheduling
from workers.tasks.scheduler import Scheduler

LATER = "SELECT id FROM dispatch WHERE due_delivery_at > now() + interval '1 hour'"
LEASED = "SELECT id FROM dispatch WHERE attempt > 0 AND due_delivery_at > now()"
GIVEN_BACK = "SELECT id FROM dispatch WHERE attempt > 1 OR attempt = 1 AND due_delivery_at <= now()"
AWAY = answer("503 Unavailable", Retry_After="7200")


def number_of(database: Database, query: str, number: int) -> Callable[[], Awaitable[bool]]:
    """Whether a query finds so many rows."""

    async def found() -> bool:
        return len(await rows(database, query)) == number

    return found


def told(agency: Agency, number: int = 1) -> Callable[[], Awaitable[bool]]:
    """Whether an agency has had so many calls."""

    async def called() -> bool:
        return len(agency.calls) == number

    return called


@pytest.fixture
def at_once(as_worker: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a scheduler that expects every worker to know of a change after three seconds."""
    monkeypatch.setattr(scheduling, "_ADOPT_TICKS", 3)
    return Settings(**{**as_worker.model_dump(), "push_hosts": "127.0.0.1=127.0.0.0/8"})


async def test_what_an_endpoint_had_put_off_is_told_to_the_one_that_is_set_instead(
    cast: Cast, at_once: Settings, database: Database
) -> None:
    async with Agency(AWAY).running() as before, Agency(OK).running() as instead, led(Scheduler(at_once)):
        await pushed_to(database, before.url)
        await submitted(await cast.play("SWP"), addressees=["HMRC"])
        await eventually(number_of(database, LATER, 1), seconds=30)
        await pushed_to(database, instead.url)
        await eventually(told(instead), seconds=30)
    assert len(before.calls) == 1


async def test_it_is_told_too_where_the_channel_was_set_while_no_scheduler_ran(
    cast: Cast, at_once: Settings, database: Database
) -> None:
    async with Agency(AWAY).running() as before, Agency(OK).running() as instead:
        await pushed_to(database, before.url)
        async with led(Scheduler(at_once)):
            await submitted(await cast.play("SWP"), addressees=["HMRC"])
            await eventually(number_of(database, LATER, 1), seconds=30)
        await pushed_to(database, instead.url)
        async with led(Scheduler(at_once)):
            await eventually(told(instead), seconds=30)


async def test_what_was_put_off_waits_where_the_endpoint_ends_and_is_told_once_it_is_set_anew(
    cast: Cast, at_once: Settings, database: Database
) -> None:
    """Brought forward at once it would be given up, for nobody can be told there."""
    followed = "SELECT code FROM party WHERE channel_followed_at = channel_set_at"
    async with Agency(AWAY).running() as agency, Agency(OK).running() as other, led(Scheduler(at_once)):
        await pushed_to(database, agency.url)
        await eventually(number_of(database, followed, 1), seconds=30)
        await submitted(await cast.play("SWP"), addressees=["HMRC"])
        await eventually(number_of(database, LATER, 1), seconds=30)
        agency.behaves = OK
        await pushed_to(database, agency.url)
        async with database.transaction() as connection:
            assert await retire(connection, Actor("GAIN", "worker"), "HMRC", agency.url, "the endpoint answered 410")
        await pushed_to(database, other.url, "EA")
        await eventually(number_of(database, f"{followed} AND code = 'EA'", 1), seconds=30)
        assert len(await rows(database, LATER)) == 1
        assert await rows(database, "SELECT kind FROM alert") == []
        await pushed_to(database, agency.url)
        await eventually(told(agency, 2), seconds=30)


async def test_what_is_under_way_is_not_handed_over_twice_because_its_agency_is_set_anew(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """Also what is leased while others are being brought forward."""
    force = await cast.play("SWP")
    for _ in range(4):
        await submitted(force, addressees=["HMRC"])
    await workers.run()
    await change(database, "UPDATE party SET channel = 'push', channel_set_at = now() WHERE code = 'HMRC'")
    for number, seconds in enumerate([LEASE_SECONDS, 3_600, None, 0]):
        await change(
            database,
            "UPDATE dispatch SET due_delivery_at = now() + make_interval(secs => :seconds)"
            " WHERE id = (SELECT id FROM dispatch ORDER BY number OFFSET :number LIMIT 1)",
            number=number,
            seconds=seconds,
        )
    due = "SELECT due_delivery_at <= now() AS due FROM dispatch ORDER BY number"
    async with database.transaction(AS_WORKER) as connection:
        await connection.execute(text("SELECT pg_sleep(0.05)"))  # its now() is a while ago
        async with database.transaction(AS_WORKER) as worker:
            assert len(await lifecycle.lease(worker, [Slot("HMRC", 1)], 1)) == 1
        await delivery.bring_forward(connection, ["HMRC"], 0.0)
    assert [row["due"] for row in await rows(database, due)] == [False, True, None, False]


async def test_what_was_put_off_is_brought_forward_once_for_each_setting(
    cast: Cast, workers: Workers, database: Database
) -> None:
    await submitted(await cast.play("SWP"), addressees=["HMRC"])
    await workers.run()
    later = "UPDATE dispatch SET due_delivery_at = now() + interval '2 hours'"

    async def brought(seconds: float = 0.0) -> bool:
        await change(database, later)
        async with database.transaction(AS_WORKER) as connection:
            await delivery.bring_forward(connection, ["HMRC"], seconds)
        return await rows(database, LATER) == []

    assert not await brought(), "nobody has set it"
    for _ in range(2):
        await change(database, "UPDATE party SET channel = 'push', channel_set_at = now() WHERE code = 'HMRC'")
        assert not await brought(seconds=3_600), "not every worker knows"
        assert await brought()
        assert not await brought()


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_an_agency_that_is_set_anew_is_told_at_once_whatever_its_system_asked_before(
    cast: Cast, database: Database, channels: Opened, elsewhere: bool
) -> None:
    """At another address or the same: whoever sets it says that it works."""
    force, pump = await cast.play("SWP"), Pump(database, Keys(SECRET.encode()), channels())
    async with (
        Agency(answer("503 Unavailable", Retry_After="3600")).running() as agency,
        Agency(OK).running() as other,
    ):
        await pushed_to(database, agency.url)
        await submitted(force, addressees=["HMRC"])
        await pump.run(5)
        assert pump.circuits.states() == {"HMRC": CircuitState.OPEN}
        assert await rows(database, "SELECT agency FROM circuit") == [{"agency": "HMRC"}]
        agency.behaves = OK
        await pushed_to(database, (other if elsewhere else agency).url)
        await submitted(force, addressees=["HMRC"])
        async with asyncio.timeout(30):
            while len(agency.calls) + len(other.calls) < 2:
                await pump.run(5)
    assert len(other.calls) == int(elsewhere)
    assert pump.circuits.states() == {}
    assert await rows(database, "SELECT agency FROM circuit") == []


def answering(number: int, then: Behaviour) -> Behaviour:
    """So many calls well, and then otherwise."""
    left = number

    async def behave(writer: asyncio.StreamWriter) -> None:
        nonlocal left
        left -= 1
        await (OK if left >= 0 else then)(writer)

    return behave


async def test_what_was_under_way_or_claimed_ahead_for_the_address_before_is_told_at_the_one_set_since(
    cast: Cast, database: Database, channels: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is what the system there says held against the new one. One call at a time; the next are leased."""
    monkeypatch.setattr(in_flight, "READY_SECONDS", 3_600.0)
    gate = asyncio.Event()

    async def late(writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        await AWAY(writer)

    async def given_back() -> bool:
        return bool(await rows(database, GIVEN_BACK))

    force, pump = await cast.play("SWP"), Pump(database, Keys(SECRET.encode()), channels(agency_in_flight=1))
    async with Agency(answering(20, late)).running() as agency, Agency(OK).running() as other, asyncio.timeout(60):
        await pushed_to(database, agency.url)
        for _ in range(40):
            await submitted(force, addressees=["HMRC"])
        running = asyncio.create_task(pump.run(40))
        await eventually(told(agency, 21), seconds=20)
        assert len(await rows(database, LEASED)) > 1
        await pushed_to(database, other.url)
        await eventually(given_back, seconds=8)
        gate.set()
        while len(other.calls) < 20:  # a pump ends where it finds nothing for a moment, and is woken again
            await running
            running = asyncio.create_task(pump.run(5))
        await running
    assert len(other.calls) == 20
    assert len(agency.calls) == 21
    assert pump.circuits.states() == {}
    assert await rows(database, "SELECT id FROM dispatch WHERE failures > 0 OR due_delivery_at IS NOT NULL") == []
