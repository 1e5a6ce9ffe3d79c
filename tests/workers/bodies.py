"""Bodies behind adapters that do what a test says, and a pump that asks them."""

import asyncio
from collections.abc import Callable

from app.audit.record import Actor
from app.crypto.keys import Keys
from app.db import Database
from app.referrals import lifecycle
from app.referrals.lifecycle import HandOver, Slot
from tests.acts import Document, change, rows
from tests.conftest import SECRET
from workers.adapters.contract import Adapter, Answered, Envelope, Result
from workers.pump import Pump

Does = Callable[[Envelope], Result]
GAIN = Actor("GAIN", "worker")
NO_HIT = Answered({"outcome": "no_hit"})
LONGER = 1.2
"""A wait is up to this much longer, so that what failed together is not tried again together."""


class Body(Adapter):
    """A body whose adapter does, at each attempt, what the test says; the last thing said goes on."""

    def __init__(self, *does: Result | Exception | Does) -> None:
        self._does = list(does)
        self.seen: list[Envelope] = []

    async def deliver(self, envelope: Envelope) -> Result:
        self.seen.append(envelope)
        doing = self._does.pop(0) if len(self._does) > 1 else self._does[0]
        if isinstance(doing, Exception):
            raise doing
        if callable(doing):
            return doing(envelope)
        return doing


class Stuck(Adapter):
    """A body that takes a dispatch and says nothing until it is let go."""

    def __init__(self, then: Result = NO_HIT) -> None:
        self.called = asyncio.Event()
        self.free = asyncio.Event()
        self._then = then

    async def deliver(self, envelope: Envelope) -> Result:
        self.called.set()
        await self.free.wait()
        return self._then


def pump(database: Database, **adapters: Adapter) -> Pump:
    return Pump(database, Keys(SECRET.encode()), adapters)


async def run(database: Database, **adapters: Adapter) -> None:
    async with asyncio.timeout(20):
        await pump(database, **adapters).run(seconds=5)


async def dispatch(database: Database, agency: str = "HMRC") -> Document:
    [row] = await rows(
        database,
        "SELECT dispatch.*, extract(epoch FROM due_delivery_at - now()) AS due_in, referral.state AS referral "
        "FROM dispatch JOIN referral ON referral.id = referral_id WHERE agency = :agency",
        agency=agency,
    )
    return row


async def taken(database: Database) -> HandOver:
    """The dispatch, claimed as a worker would."""
    await run(database)
    await change(database, "UPDATE dispatch SET due_delivery_at = now()")
    async with database.transaction() as connection:
        [item] = await lifecycle.hand_over(connection, GAIN, [Slot("HMRC", 1)], 1)
    return item


async def fall_due(database: Database) -> None:
    """The time of the next try has come."""
    await change(database, "UPDATE dispatch SET due_delivery_at = now() WHERE due_delivery_at IS NOT NULL")
