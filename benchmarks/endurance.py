"""Memory of gateways and workers after an hour's worth of load, beside what it was after the first tenth of it."""

import asyncio
import time

import psutil
from sqlalchemy import text

from app.db import Database
from app.runtime.child import Child
from benchmarks.fan_out import WORKERS
from benchmarks.measure import Figure
from benchmarks.referrals import AGENCIES, ORIGINATOR, posts
from benchmarks.stage import Stage
from benchmarks.wire import Wire, request
from workers.wake import CeleryWake

_DISPATCHES = 500_000
_QUICK_DISPATCHES = 20_000
_SPELL_SECONDS = 2.0
_POLLERS = 8
_OPEN = text("SELECT EXISTS (SELECT FROM referral WHERE state IN ('accepted', 'in_progress'))")
_COMPLETED = text("SELECT count(*) FROM referral WHERE state = 'completed'")


async def run(stage: Stage) -> list[Figure]:
    """POSTs in spells, each worked off before the next, and agencies that read all the while; a scheduler seals."""
    total = stage.effort.size(_DISPATCHES, _QUICK_DISPATCHES)
    url = await stage.database("endurance")
    requests = posts(await stage.key(url, ORIGINATOR))
    polls = [request("GET", "/v1/inbox?state=answered&limit=20", await stage.key(url, agency)) for agency in AGENCIES]
    database = Database(stage.settings(url))
    tenth: dict[str, float] = {}
    async with stage.gateways(url) as servers:
        with stage.worker(url, WORKERS) as worker, stage.scheduler(url):
            watched = {"gateways": servers.children, "workers": [worker]}
            began, finished = time.monotonic(), 0
            polling = [asyncio.create_task(_poll(servers.ports, polls, number)) for number in range(_POLLERS)]
            while finished < total:
                await stage.load(
                    servers.ports, requests, 32, seconds=_SPELL_SECONDS, warm_seconds=0.0, expect=(201, 503)
                )
                finished = await _worked_off(database, CeleryWake(stage.settings(url)))
                if finished >= total / 10 and not tenth:
                    tenth = {name: _resident(children) for name, children in watched.items()}
            assert not any(task.done() for task in polling), "an agency has stopped reading"
            for task in polling:
                task.cancel()
            await asyncio.gather(*polling, return_exceptions=True)
            stage.note(f"endurance: {finished:,} dispatches in {time.monotonic() - began:.0f} s.")
            figures = [_grown(name, finished, _resident(children), tenth[name]) for name, children in watched.items()]
    await database.close()
    return figures


def _grown(name: str, finished: int, now: float, after_a_tenth: float) -> Figure:
    figure = Figure(
        f"memory of {name} after {finished:,} dispatches", "MiB", "after the first tenth", 1.1, 1.0, lower=True
    )
    figure.add(now, after_a_tenth)
    return figure


def _resident(children: list[Child]) -> float:
    """Resident memory of these processes and what they started, in MiB."""
    found = [psutil.Process(child.pid) for child in children]
    found += [descendant for process in found for descendant in process.children(recursive=True)]
    return float(sum(process.memory_info().rss for process in found)) / 2**20


async def _worked_off(database: Database, wake: CeleryWake) -> int:
    """How many dispatches are finished, once nothing is open any more."""
    while True:
        wake.work()
        async with database.transaction() as connection:
            if not await connection.scalar(_OPEN):
                return int(await connection.scalar(_COMPLETED) or 0) * len(AGENCIES)
        await asyncio.sleep(0.2)


async def _poll(ports: list[int], polls: list[bytes], number: int) -> None:
    wire = await Wire.open(ports[number % len(ports)])
    try:
        while True:
            for asking in polls:
                answer = await wire.ask(asking)
                assert answer.status == 200, answer
                await asyncio.sleep(0.02)
    finally:
        wire.close()
