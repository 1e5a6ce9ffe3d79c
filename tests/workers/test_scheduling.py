"""What the scheduler sees to by itself, as it runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from app.db import Database
from app.referrals.drafts import KEPT_DAYS
from app.settings import Settings
from tests.acts import actions, change, eventually, rows
from tests.app.test_my_referrals_new import ASK, begun, fill
from tests.browser import signed_in
from tests.conftest import Cast
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
