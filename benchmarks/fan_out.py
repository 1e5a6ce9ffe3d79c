"""From accept to the last of twenty answers recorded, beside a Celery chord and beside bare set-based SQL."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import orjson
from sqlalchemy import text
from uuid_utils.compat import uuid7

from app import clock
from app.audit.record import Actor
from app.db import Database
from app.parties.codes import Priority
from app.parties.policy import Policy
from app.referrals.accept import Submission, accept
from app.referrals.codes import rank
from app.referrals.deadlines import due_at
from app.runtime.child import WORKER, Child
from benchmarks.baselines.bulk import SLICE, Bulk
from benchmarks.baselines.chord import celery, fan_out
from benchmarks.measure import Figure, compare, interleaved
from benchmarks.referrals import AGENCIES, ANSWER, AS_ORIGINATOR, ORIGINATOR, REGION, referral
from benchmarks.stage import Stage, eventually, memory
from workers.wake import CeleryWake

WORKERS = 2
_SECONDS = 600.0
_OPEN = text("SELECT EXISTS (SELECT FROM referral WHERE state IN ('held', 'accepted', 'in_progress'))")
"""By an index of what is open: looking on must not cost what is measured."""


async def run(stage: Stage) -> list[Figure]:
    """Each of the three has a database of its own; idle workers of the others cost next to nothing."""
    async with (
        our_path(stage, "fan_out") as ours,
        chord_path(stage, "fan_out_chord") as chord,
        _bulk_path(stage, "fan_out_bulk") as bulk,
    ):
        many, few = stage.effort.size(2_000, 300), stage.effort.size(100, 10)
        values = await interleaved(
            stage.effort.rounds, [lambda: ours.measure(many), lambda: chord.measure(few), lambda: bulk.measure(many)]
        )
        stage.note(f"Worker (parent, children) after fan-out: {ours.memory()}.")
    name = f"accept to last of 20 answers, {many:,} referrals"
    to_chord = Figure(name, "dispatches/s", f"Celery group + chord ({few} referrals)", 60, 120)
    to_bulk = Figure(name, "dispatches/s", f"set-based SQL, slices of {SLICE}, 1 connection", 0.5, 0.8)
    return [compare(to_chord, values[0], values[1]), compare(to_bulk, values[0], values[2])]


class OurPath:
    """The broker: the accept verb, a wake-up, two worker processes with their pumps."""

    def __init__(self, stage: Stage, database: Database, worker: Child) -> None:
        self._stage = stage
        self._database = database
        self._worker = worker
        self._wake = CeleryWake(stage.settings(""))

    async def measure(self, referrals: int) -> float:
        """Dispatches a second."""
        offered = [submission(number) for number in range(referrals)]
        await self._stage.checkpoint()
        began = time.perf_counter()
        for start in range(0, referrals, SLICE):
            async with self._database.transaction(AS_ORIGINATOR) as connection:
                await accept(connection, offered[start : start + SLICE])
            self._wake.work()
        await eventually(self._all_completed, _SECONDS)
        return referrals * len(AGENCIES) / (time.perf_counter() - began)

    async def _all_completed(self) -> bool:
        self._wake.work()
        return await _all_completed(self._database)

    def memory(self) -> str:
        return memory([self._worker])


class ChordPath:
    """The same referrals through `benchmarks.baselines.chord`."""

    def __init__(self, stage: Stage, database: Database) -> None:
        self._stage = stage
        self._database = database
        celery.conf.update(broker_url=stage.broker_url, result_backend=stage.broker_url)

    async def measure(self, referrals: int) -> float:
        """Dispatches a second."""
        await self._stage.checkpoint()
        began = time.perf_counter()
        for number in range(referrals):
            offered = submission(number)
            async with self._database.transaction(AS_ORIGINATOR) as connection:
                await accept(connection, [offered])
            await asyncio.to_thread(fan_out.delay, str(offered.id))
        await eventually(self._all_completed, _SECONDS)
        return referrals * len(AGENCIES) / (time.perf_counter() - began)

    async def _all_completed(self) -> bool:
        return await _all_completed(self._database)


class _BulkPath:
    """The same rows by `benchmarks.baselines.bulk`."""

    def __init__(self, stage: Stage, bulk: Bulk) -> None:
        self._stage = stage
        self._bulk = bulk

    async def measure(self, referrals: int) -> float:
        """Dispatches a second."""
        await self._stage.checkpoint()
        began = time.perf_counter()
        await self._bulk.run(referrals)
        return referrals * len(AGENCIES) / (time.perf_counter() - began)


@asynccontextmanager
async def our_path(stage: Stage, name: str) -> AsyncIterator[OurPath]:
    """The broker's workers on a fresh database, warm."""
    url = await stage.database(name)
    async with _opened(stage, url) as database:
        with stage.worker(url, WORKERS) as worker:
            path = OurPath(stage, database, worker)
            await path.measure(WORKERS * SLICE)
            yield path


@asynccontextmanager
async def chord_path(stage: Stage, name: str) -> AsyncIterator[ChordPath]:
    """The chord's workers on a fresh database, warm."""
    url = await stage.database(name)
    argv = (sys.executable, "-m", "benchmarks.baselines.chord", str(WORKERS))
    async with _opened(stage, url) as database:
        with stage.process("chord", argv, url, WORKER):
            path = ChordPath(stage, database)
            await path.measure(2 * WORKERS)
            yield path


@asynccontextmanager
async def _bulk_path(stage: Stage, name: str) -> AsyncIterator[_BulkPath]:
    url = await stage.database(name)
    connection = await stage.connect(url)
    bulk = Bulk(connection, AGENCIES, orjson.dumps(referral(0)), orjson.dumps(ANSWER))
    await bulk.run(SLICE)
    yield _BulkPath(stage, bulk)
    await connection.close()


@asynccontextmanager
async def _opened(stage: Stage, url: str) -> AsyncIterator[Database]:
    database = Database(stage.settings(url))
    yield database
    await database.close()


async def _all_completed(database: Database) -> bool:
    async with database.transaction() as connection:
        return not await connection.scalar(_OPEN)


def submission(number: int) -> Submission:
    """A referral to twenty bodies, as the gateway hands it to the accept verb."""
    made: UUID = uuid7()
    return Submission(
        id=made,
        actor=Actor(ORIGINATOR, "benchmark"),
        region=REGION,
        priority=rank(Priority.ROUTINE),
        crime_types=["drug_trafficking", "modern_slavery"],
        addressees=AGENCIES,
        content=orjson.dumps(referral(number)),
        respond_by=due_at(clock.now(), Priority.ROUTINE, Policy()),
    )
