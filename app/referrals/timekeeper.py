"""The timekeeper: chases, alerts, marks overdue and lets expire what its time has come for."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Row, text

from app.audit.record import Actor
from app.db import Connection
from app.parties.codes import Priority
from app.parties.directory import Directory, DirectoryCache
from app.referrals import lifecycle
from app.referrals.alerts import raise_alerts
from app.referrals.codes import priority_of
from app.referrals.schedule import Span, Step, steps
from app.referrals.states import AlertKind, DispatchState

_CLAIM = text("""
    SELECT dispatch.id, dispatch.agency, dispatch.state, dispatch.priority, dispatch.created_at, dispatch.due_at,
           dispatch.expires_at, dispatch.next_check_at, now() AS now
      FROM dispatch JOIN referral ON referral.id = dispatch.referral_id
     WHERE dispatch.id = ANY(ARRAY(
           SELECT id FROM dispatch WHERE next_check_at <= now() ORDER BY next_check_at LIMIT CAST(:limit AS integer)))
       AND dispatch.next_check_at <= now()
     ORDER BY referral.id, dispatch.id
       FOR NO KEY UPDATE OF referral, dispatch SKIP LOCKED
""")

_DUE = text("SELECT EXISTS (SELECT FROM dispatch WHERE next_check_at <= now())")


class Timekeeper:
    """Keeps the time of open dispatches. The clock is the database's."""

    def __init__(self) -> None:
        self._directory = DirectoryCache()

    async def run(self, connection: Connection, actor: Actor, limit: int = 500) -> int:
        """Do what the clock asks of up to `limit` dispatches in the caller's transaction; returns how many it took."""
        rows = (await connection.execute(_CLAIM, {"limit": limit})).all()
        if not rows:
            return 0
        directory = await self._directory.get(connection)
        asked: dict[Step, list[UUID]] = {step: [] for step in Step}
        checks: dict[UUID, datetime | None] = {}
        for row in rows:
            schedule = _schedule(row, directory)
            for step in {step for at, step in schedule if row.next_check_at <= at <= row.now}:
                asked[step].append(row.id)
            checks[row.id] = min((at for at, _ in schedule if at > row.now), default=None)
        unacknowledged = {row.id for row in rows if row.state != DispatchState.ACKNOWLEDGED}
        await raise_alerts(
            connection, AlertKind.URGENT_UNACKNOWLEDGED, [key for key in asked[Step.ALERT] if key in unacknowledged]
        )
        await lifecycle.chase(connection, actor, [key for key in asked[Step.CHASE] if key not in asked[Step.EXPIRE]])
        await lifecycle.mark_overdue(connection, actor, asked[Step.OVERDUE])
        await lifecycle.set_checks(connection, checks)
        await lifecycle.expire(connection, actor, asked[Step.EXPIRE])
        return len(rows)


def _schedule(row: Row[tuple[object, ...]], directory: Directory) -> list[tuple[datetime, Step]]:
    given = Span(row.created_at, row.due_at, row.expires_at)
    return steps(given, Priority(priority_of(row.priority)), directory[row.agency].policy)


async def is_due(connection: Connection) -> bool:
    """Whether the clock asks anything now."""
    return bool(await connection.scalar(_DUE))
