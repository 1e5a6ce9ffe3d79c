"""The clock of a gateway or a worker may be wrong: what it works out is reckoned on the database's."""

from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from app import clock, main
from app.crypto.keys import Keys
from app.crypto.webhooks import webhook_secret
from app.database_clock import DatabaseClock
from app.db import Connection, Database
from app.settings import Settings
from tests.acts import rows, submitted
from tests.app.batch_files import lines, sent
from tests.conftest import SECRET, Cast, Workers, gateway
from tests.workers.noticing import Opened, pushed_to
from tests.workers.outside import OK, Agency

URGENT = timedelta(hours=4)
RECEIPTS = "SELECT created_at, respond_by FROM referral"

pytestmark = pytest.mark.parametrize("hours", [1, -1])


async def _not_at_all(*_: object) -> None:
    """In the place of a helper of the gateway."""


@pytest.fixture(autouse=True)
def wrong_clock(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    """This process's clock is so many hours off."""
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(hours=hours))


async def test_an_urgent_referral_is_due_four_hours_after_its_receipt(cast: Cast, database: Database) -> None:
    made = await submitted(await cast.play("SWP"), priority="urgent")
    [row] = await rows(database, RECEIPTS)
    assert abs(row["respond_by"] - row["created_at"] - URGENT) < timedelta(minutes=1)
    assert datetime.fromisoformat(made["respond_by"]) == row["respond_by"]


async def test_so_is_the_first_one_before_anybody_has_looked_at_the_databases_clock(
    configuration: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[DatabaseClock] = []
    look = DatabaseClock.look

    async def never_beside_the_requests(known: DatabaseClock, connection: Connection) -> None:
        looked.append(known)
        await look(known, connection)

    monkeypatch.setattr(main, "_watch_backlog", _not_at_all)
    monkeypatch.setattr(DatabaseClock, "look", never_beside_the_requests)
    async with gateway(configuration, database) as cast:
        force = await cast.play("SWP")
        for _ in range(3):
            await submitted(force, priority="urgent")
    assert len(looked) == 1
    for row in await rows(database, RECEIPTS):
        assert abs(row["respond_by"] - row["created_at"] - URGENT) < timedelta(minutes=1)


async def test_the_rows_of_a_batch_are_due_as_single_ones_are(cast: Cast, workers: Workers, database: Database) -> None:
    await sent(await cast.play("SWP"), lines(3, priority="urgent"))
    await workers.run()
    found = await rows(database, RECEIPTS)
    assert [row["respond_by"] - row["created_at"] for row in found] == [URGENT] * 3


async def test_an_agency_takes_a_push_as_sent_just_now(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    """Its library refuses what is five minutes off."""
    async with Agency(OK).running() as agency:
        await pushed_to(database, agency.url)
        await submitted(await cast.play("SWP"), addressees=["HMRC"])
        await workers.run(channels())
    [call] = agency.calls
    Webhook(webhook_secret(Keys(SECRET.encode()), "HMRC", 1)).verify(call.body, call.headers)
