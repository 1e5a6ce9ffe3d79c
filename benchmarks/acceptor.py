"""A process that accepts batches and does nothing else: what they cost without the fan-out of what they say."""

import asyncio

import uvloop

from app.audit.record import Actor
from app.db import Database
from app.referrals.batches.accept import accept_slice
from app.settings import Settings

_WORKER = Actor("GAIN", "worker")


async def _accept() -> None:
    database = Database(Settings())
    while True:
        if not await accept_slice(database, _WORKER):
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_accept())
