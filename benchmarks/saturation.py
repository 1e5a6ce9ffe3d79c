"""Dispatches finished a second while ingest is saturated: what fan-out keeps when POSTs take all they can get."""

import time
from collections.abc import Sequence

from sqlalchemy import TextClause, text

from app.db import Database
from benchmarks.fan_out import WORKERS, ChordPath, chord_path
from benchmarks.measure import Figure, compare, interleaved
from benchmarks.referrals import ORIGINATOR, posts
from benchmarks.stage import Servers, Stage, eventually, memory

CONNECTIONS = 64
_SHORTEST_SECONDS = 2.0
"""Shorter, and a batch more or less that ends within makes the figure."""

_FINISHED = text("SELECT count(*) FROM response")
_AT_WORK = text("""
    SELECT EXISTS (SELECT FROM heartbeat WHERE part = 'worker')
       AND NOT EXISTS (SELECT FROM referral WHERE state = 'accepted')
""")
_WORKED_OFF = text("SELECT NOT EXISTS (SELECT FROM referral WHERE state IN ('accepted', 'in_progress'))")
STATUSES = (201, 429, 503)
"""Under saturation the broker may refuse: a bounded backlog is what keeps the workers fed."""


async def run(stage: Stage) -> list[Figure]:
    """Gateway, workers and scheduler under 64 connections that never pause; the chord beside a bare endpoint under as
    many, and on an idle machine. What the broker has left to do is done before another is measured."""
    url, bare_url = await stage.database("saturation"), await stage.database("saturation_bare")
    requests = posts(await stage.key(url, ORIGINATOR))
    database = Database(stage.settings(url))
    async with (
        stage.gateways(url) as ours,
        stage.baseline("benchmarks.baselines.bare:app", bare_url) as bare,
        chord_path(stage, "saturation_chord") as chord,
    ):
        with stage.worker(url, WORKERS) as worker, stage.scheduler(url):
            await stage.warm(ours, requests, STATUSES)
            await stage.warm(bare, requests)
            # A worker that is still starting keeps no share.
            await eventually(lambda: _holds(database, _AT_WORK), 60)
            accepted: list[float] = []

            async def finished() -> float:
                await stage.checkpoint()
                before, began = await _finished(database), time.perf_counter()
                seconds = max(stage.effort.seconds, _SHORTEST_SECONDS)
                outcome = await stage.load(ours.ports, requests, CONNECTIONS, seconds=seconds, expect=STATUSES)
                took, done = time.perf_counter() - began, await _finished(database) - before
                accepted.append(outcome.statuses.get("201", 0) / outcome.seconds)
                await eventually(lambda: _holds(database, _WORKED_OFF), 120)
                return done / took

            few = stage.effort.size(100, 10)
            values = await interleaved(
                stage.effort.rounds,
                [finished, lambda: _beside(stage, bare, requests, chord, few), lambda: chord.measure(few)],
            )
            stage.note(f"Under saturation: gateways {memory(ours.children)}, worker {memory([worker])}.")
    await database.close()
    name = "finished while ingest is saturated"
    beside = Figure(name, "dispatches/s", "Celery group + chord, a bare endpoint saturated", 40, 70)
    beside.notes.append(f"meanwhile {sorted(accepted)[len(accepted) // 2]:,.0f} POST/s were accepted")
    idle = Figure(name, "dispatches/s", "Celery group + chord, no ingest", 40, 70)
    return [compare(beside, values[0], values[1]), compare(idle, values[0], values[2])]


async def _beside(stage: Stage, bare: Servers, requests: Sequence[bytes], chord: ChordPath, referrals: int) -> float:
    """What the chord makes while an endpoint takes all the POSTs that it can get."""
    async with stage.saturated(bare, requests, CONNECTIONS):
        return await chord.measure(referrals)


async def _finished(database: Database) -> int:
    async with database.transaction() as connection:
        return int(await connection.scalar(_FINISHED) or 0)


async def _holds(database: Database, condition: TextClause) -> bool:
    async with database.transaction() as connection:
        return bool(await connection.scalar(condition))
