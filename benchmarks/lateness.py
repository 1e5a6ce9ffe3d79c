"""How late the scheduler is while ingest is saturated: with what comes due in one moment, and with sealing the log."""

import asyncio
from uuid import UUID

import asyncpg

from app.runtime.plan import gain_command
from benchmarks.fan_out import WORKERS
from benchmarks.measure import Figure
from benchmarks.referrals import ORIGINATOR, posts
from benchmarks.saturation import CONNECTIONS, STATUSES
from benchmarks.stage import Stage, eventually
from benchmarks.stock import stocked

LIMIT_SECONDS = 5.0
"""Of both: what the broker promises."""

_AHEAD_SECONDS = 3
"""Longer than it takes to set the due times, and to have ingest saturated."""

_TAKEN_UP = """
    UPDATE dispatch SET state = 'acknowledged', delivered_at = created_at, acknowledged_at = created_at RETURNING id
"""
_COMES_DUE = """
    WITH given AS (
        UPDATE dispatch
           SET due_at = now() + make_interval(secs => $2), next_check_at = now() + make_interval(secs => $2),
               overdue_at = NULL
         WHERE id = ANY($1) RETURNING due_at)
    SELECT max(due_at) FROM given
"""
_ALL_MARKED = "SELECT NOT EXISTS (SELECT FROM dispatch WHERE id = ANY($1) AND overdue_at IS NULL)"
_SINCE = "SELECT CAST(extract(epoch FROM clock_timestamp() - $1) AS double precision)"
_UNSEALED = """
    SELECT CAST(extract(epoch FROM clock_timestamp() - at) AS double precision) FROM audit_event
     WHERE id > (SELECT sealed_to FROM audit_head) ORDER BY id LIMIT 1
"""


async def run(stage: Stage) -> list[Figure]:
    """Agencies have taken up so many, which are due in one moment: as those are that are due at the end of a day.

    The scheduler is one to which all agencies poll: it would have those that answer at once answer these too.
    """
    url = await stocked(stage, "lateness", stage.effort.size(250, 25), 1)
    requests = posts(await stage.key(url, ORIGINATOR))
    connection = await stage.connect(url)
    await connection.execute("SET session_replication_role = replica")  # what is only set up here is no event
    ids = [row["id"] for row in await connection.fetch(_TAKEN_UP)]
    overdue = _figure(f"{len(ids):,} due in one moment, the last marked overdue")
    sealed = _figure("an entry of the log sealed, the latest of all")
    async with stage.gateways(url) as servers:
        with stage.worker(url, WORKERS), stage.process("scheduler", gain_command("scheduler"), url):
            await stage.warm(servers, requests, STATUSES)
            for _ in range(stage.effort.rounds):
                async with stage.saturated(servers, requests, CONNECTIONS, STATUSES):
                    found = await asyncio.gather(_overdue(connection, ids), _sealed(stage, url))
                for figure, late in zip((overdue, sealed), found, strict=True):
                    figure.add(late, LIMIT_SECONDS)
    await connection.close()
    return [overdue, sealed]


def _figure(name: str) -> Figure:
    return Figure(f"{name}, while ingest is saturated", "s late", "the limit", 1.0, 0.4, lower=True)


async def _overdue(connection: asyncpg.Connection, ids: list[UUID]) -> float:
    """Seconds from the due time of these until another connection sees the last of them marked."""
    due = await connection.fetchval(_COMES_DUE, ids, _AHEAD_SECONDS)
    await eventually(lambda: connection.fetchval(_ALL_MARKED, ids), 60, pause=0.1)
    return float(await connection.fetchval(_SINCE, due))


async def _sealed(stage: Stage, url: str) -> float:
    """The most seconds for which an event has stood unsealed, looked at ten times a second."""
    connection, most = await stage.connect(url), 0.0
    for _ in range(round(10 * max(stage.effort.seconds, _AHEAD_SECONDS))):
        most = max(most, await connection.fetchval(_UNSEALED) or 0.0)
        await asyncio.sleep(0.1)
    await connection.close()
    return most
