"""What the scheduler sees to by itself, as it runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from app.db import AS_WORKER, Database
from app.referrals import delivery
from app.referrals.drafts import KEPT_DAYS
from app.referrals.lifecycle import LEASE_SECONDS
from app.settings import Settings
from tests.acts import actions, change, eventually, rows, submitted
from tests.app.test_my_referrals_new import ASK, begun, fill
from tests.browser import signed_in
from tests.conftest import Cast, Workers
from tests.workers.noticing import pushed_to
from tests.workers.outside import OK, Agency, answer
from workers.tasks import scheduler as scheduling
from workers.tasks.scheduler import Scheduler


@contextlib.asynccontextmanager
async def led(scheduler: Scheduler) -> AsyncIterator[None]:
    """Within the block, the scheduler runs."""
    running = asyncio.create_task(scheduler.run())
    try:
        yield
    finally:
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await scheduler.close()


async def test_drafts_that_nobody_went_on_with_are_gone_with_their_keys_once_a_scheduler_leads(
    cast: Cast, as_worker: Settings, database: Database
) -> None:
    browser = await signed_in(cast, "SWP")
    old, young = await begun(browser), await begun(browser)
    for draft in (old, young):
        await fill(browser, draft, ask=ASK)
    query = f"UPDATE draft SET updated_at = now() - interval '{KEPT_DAYS} days 1 hour' WHERE id = :id"  # noqa: S608
    await change(database, query, id=old.rpartition("/")[2])

    async def gone() -> bool:
        return len(await rows(database, "SELECT id FROM draft")) == 1

    async with led(Scheduler(as_worker)):
        await eventually(gone, seconds=30)
    [left] = await rows(database, "SELECT id FROM draft")
    assert str(left["id"]) == young.rpartition("/")[2]
    assert await rows(database, "SELECT referral_id AS id FROM data_key") == [left]
    assert "draft.expired" in await actions(database)


async def test_what_an_endpoint_had_put_off_is_told_to_the_one_that_is_set_instead(
    cast: Cast, as_worker: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is leased is under way, and is left to it."""
    monkeypatch.setattr(scheduling, "_ADOPT_TICKS", 3)
    settings = Settings(**{**as_worker.model_dump(), "push_hosts": "127.0.0.1=127.0.0.0/8"})
    force, waits = await cast.play("SWP"), "SELECT id FROM dispatch WHERE due_delivery_at > now() + interval '1 hour'"
    async with (
        Agency(answer("503 Unavailable", Retry_After="7200")).running() as before,
        Agency(OK).running() as instead,
        led(Scheduler(settings)),
    ):
        await pushed_to(database, before.url)
        await submitted(force, addressees=["HMRC"])

        async def put_off() -> bool:
            return len(await rows(database, waits)) == 1

        async def told() -> bool:
            return len(instead.calls) == 1

        await eventually(put_off, seconds=30)
        await pushed_to(database, instead.url)
        await eventually(told, seconds=30)
    assert len(before.calls) == 1


async def test_what_is_under_way_is_not_handed_over_twice_because_its_agency_is_set_anew(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force = await cast.play("SWP")
    for _ in range(3):
        await submitted(force, addressees=["HMRC"])
    await workers.run()
    waits = dict(enumerate([LEASE_SECONDS, 3_600, None]))
    for number, seconds in waits.items():
        await change(
            database,
            "UPDATE dispatch SET due_delivery_at = now() + make_interval(secs => :seconds)"
            " WHERE id = (SELECT id FROM dispatch ORDER BY number OFFSET :number LIMIT 1)",
            number=number,
            seconds=seconds,
        )
    async with database.transaction(AS_WORKER) as connection:
        await delivery.bring_forward(connection, ["HMRC"])
    due = await rows(database, "SELECT due_delivery_at <= now() AS due FROM dispatch ORDER BY number")
    assert [row["due"] for row in due] == [False, True, None]
