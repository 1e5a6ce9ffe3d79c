"""The timekeeper: chases, alerts, marks overdue and lets expire what its time has come for.

Where a batch fails, its dispatches are looked at one by one; one that fails alone is put off, and keeps nobody waiting.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from app.audit.record import Actor
from app.db import AS_WORKER, Connection, Database, is_away
from app.logs import logger
from app.parties.codes import Priority
from app.parties.directory import Directory, DirectoryCache
from app.referrals import lifecycle
from app.referrals.alerts import tell_of_alerts
from app.referrals.codes import priority_of
from app.referrals.schedule import Span, Step, asked, is_reminded, next_check, steps
from app.referrals.states import AlertKind

log = logger()

PUT_OFF_SECONDS = 60.0
"""When a dispatch is looked at again, alone, that could not be dealt with."""

# What was put off is looked at alone. By index: `next_check_at` is null where the clock asks nothing.
_BATCH = """
    SELECT id FROM dispatch WHERE next_check_at <= now() AND id <> ALL(CAST(:put_off AS uuid[]))
     ORDER BY next_check_at LIMIT CAST(:limit AS integer)
"""


def _claim(which: str) -> str:
    return f"""
        SELECT dispatch.id, dispatch.agency, dispatch.state, dispatch.priority, dispatch.due_at, dispatch.expires_at,
               dispatch.acknowledged_at, dispatch.chased_at, dispatch.next_check_at,
               coalesce(dispatch.clock_from, dispatch.created_at) AS received, now() AS now
          FROM dispatch JOIN referral ON referral.id = dispatch.referral_id
         WHERE dispatch.id = {which}
           AND dispatch.next_check_at <= now()
         ORDER BY referral.id, dispatch.id
           FOR NO KEY UPDATE OF referral, dispatch SKIP LOCKED
    """  # noqa: S608  constants of this file


_CLAIM = text(_claim(f"ANY(ARRAY({_BATCH}))"))
_CLAIM_ONE = text(_claim(":id"))

# Under a program before, a clock that had come for nothing, or too late, could be left without a next moment.
_LOST = text("""
    UPDATE dispatch SET next_check_at = now()
     WHERE id = ANY(ARRAY(
               SELECT id FROM dispatch
                WHERE state IN ('queued', 'delivered', 'acknowledged')
                  AND (next_check_at IS NULL OR overdue_at IS NULL AND due_at < now() AND next_check_at > due_at)
                ORDER BY referral_id, id FOR NO KEY UPDATE SKIP LOCKED))
""")

_DUE = text("SELECT EXISTS (SELECT FROM dispatch WHERE next_check_at <= now())")

_Rows = Sequence[Row[Any]]


class Timekeeper:
    """Keeps the time of open dispatches, for one process. The clock is the database's."""

    def __init__(self) -> None:
        self._directory = DirectoryCache()
        self._put_off: dict[UUID, float] = {}
        """Until when, on the monotonic clock. In memory, as a try harms nobody and the row may refuse every write."""

    async def run(self, database: Database, actor: Actor, limit: int = 500) -> int:
        """Do what the clock asks of up to `limit` dispatches together, and of those alone that failed before.

        Returns how many it took together. Raises where the database is away, or no reference data can be read: that is
        no dispatch's fault.
        """
        await self._singly(database, actor, [key for key, until in self._put_off.items() if until <= time.monotonic()])
        rows: _Rows = []
        try:
            async with database.transaction(AS_WORKER) as connection:
                directory = await self._directory.get(connection)
                parameters = {"limit": limit, "put_off": list(self._put_off)}
                rows = (await connection.execute(_CLAIM, parameters)).all()
                await _keep(connection, actor, rows, directory)
        except Exception as error:
            if is_away(error) or not rows:
                raise
            log.error("the time of dispatches could not be kept", dispatches=len(rows), error=_kind(error))
            await self._singly(database, actor, [row.id for row in rows])
        return len(rows)

    async def _singly(self, database: Database, actor: Actor, ids: Sequence[UUID]) -> None:
        for key in ids:
            try:
                async with database.transaction(AS_WORKER) as connection:
                    directory = await self._directory.get(connection)
                    await _keep(connection, actor, (await connection.execute(_CLAIM_ONE, {"id": key})).all(), directory)
                self._put_off.pop(key, None)
            except Exception as error:
                if is_away(error):
                    raise
                self._put_off[key] = time.monotonic() + PUT_OFF_SECONDS
                log.error("the time of a dispatch cannot be kept", dispatch=str(key), error=_kind(error))


async def _keep(connection: Connection, actor: Actor, rows: _Rows, directory: Directory) -> None:
    """Do what the clock asks of these, which are locked, and set when it asks next."""
    if not rows:
        return
    wanted: dict[Step, list[UUID]] = {step: [] for step in Step}
    checks: dict[UUID, datetime | None] = {}
    for row in rows:
        schedule = _schedule(row, directory)
        for step in asked(schedule, row.next_check_at, row.now) - _needless(row, directory):
            wanted[step].append(row.id)
        checks[row.id] = next_check(schedule, row.now)
    await tell_of_alerts(connection, actor, AlertKind.URGENT_UNACKNOWLEDGED, wanted[Step.ALERT])
    await lifecycle.chase(connection, actor, [key for key in wanted[Step.CHASE] if key not in wanted[Step.EXPIRE]])
    await lifecycle.mark_overdue(connection, actor, wanted[Step.OVERDUE])
    await lifecycle.set_checks(connection, checks)
    await lifecycle.expire(connection, actor, wanted[Step.EXPIRE])


def _needless(row: Row[Any], directory: Directory) -> set[Step]:
    """What is not asked of this one, whatever the time."""
    found = set()
    if row.acknowledged_at is not None:
        found.add(Step.ALERT)
    if is_reminded(row.chased_at, row.now, Priority(priority_of(row.priority)), directory[row.agency].policy):
        found.add(Step.CHASE)
    return found


def _schedule(row: Row[Any], directory: Directory) -> list[tuple[datetime, Step]]:
    given = Span(row.received, row.due_at, row.expires_at)
    return steps(given, Priority(priority_of(row.priority)), directory[row.agency].policy)


def _kind(error: Exception) -> str:
    """What kind of error it is. Its text may quote what a row holds."""
    return type(getattr(error, "orig", None) or error).__name__


async def is_due(connection: Connection) -> bool:
    """Whether the clock asks anything now."""
    return bool(await connection.scalar(_DUE))


async def look_again(connection: Connection) -> None:
    """Have the clock look now at those that run and have no next moment, or one only after they are overdue."""
    await connection.execute(_LOST)
