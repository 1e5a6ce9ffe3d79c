"""Dispatches finished a second while ingest is saturated: what fan-out keeps when POSTs take all they can get."""

import time

from sqlalchemy import text

from app.db import Database
from app.runtime.plan import gain_command
from benchmarks.fan_out import WORKERS, chord_path
from benchmarks.measure import Figure, compare, interleaved
from benchmarks.referrals import ORIGINATOR, posts
from benchmarks.stage import Stage, eventually, memory

_CONNECTIONS = 64
_SHORTEST_SECONDS = 2.0
"""Shorter, and a batch more or less that ends within makes the figure."""

_FINISHED = text("SELECT count(*) FROM response")
_AT_WORK = text("""
    SELECT EXISTS (SELECT FROM heartbeat WHERE part = 'worker')
       AND NOT EXISTS (SELECT FROM referral WHERE state = 'accepted')
""")
_STATUSES = (201, 429, 503)
"""Under saturation the broker may refuse: a bounded backlog is what keeps the workers fed."""


async def run(stage: Stage) -> list[Figure]:
    """Gateway, workers and scheduler under 64 connections that never pause, beside the chord on an idle machine."""
    url = await stage.database("saturation")
    requests = posts(await stage.key(url, ORIGINATOR))
    database = Database(stage.settings(url))
    async with stage.gateways(url) as ours, chord_path(stage, "saturation_chord") as chord:
        with stage.worker(url, WORKERS) as worker, stage.process("scheduler", gain_command("scheduler"), url):
            await stage.warm(ours, requests, _STATUSES)
            # A worker that is still starting keeps no share.
            await eventually(lambda: _is_at_work(database), 60)
            accepted: list[float] = []

            async def finished() -> float:
                await stage.checkpoint()
                before, began = await _finished(database), time.perf_counter()
                seconds = max(stage.effort.seconds, _SHORTEST_SECONDS)
                outcome = await stage.load(ours.ports, requests, _CONNECTIONS, seconds=seconds, expect=_STATUSES)
                took = time.perf_counter() - began
                accepted.append(outcome.statuses.get("201", 0) / outcome.seconds)
                return (await _finished(database) - before) / took

            few = stage.effort.size(100, 10)
            values = await interleaved(stage.effort.rounds, [finished, lambda: chord.measure(few)])
            stage.note(f"Under saturation: gateways {memory(ours.children)}, worker {memory([worker])}.")
    await database.close()
    figure = Figure("finished while ingest is saturated", "dispatches/s", "Celery group + chord, no ingest", 40, 70)
    figure.notes.append(f"meanwhile {sorted(accepted)[len(accepted) // 2]:,.0f} POST/s were accepted")
    return [compare(figure, *values)]


async def _finished(database: Database) -> int:
    async with database.transaction() as connection:
        return int(await connection.scalar(_FINISHED) or 0)


async def _is_at_work(database: Database) -> bool:
    async with database.transaction() as connection:
        return bool(await connection.scalar(_AT_WORK))
