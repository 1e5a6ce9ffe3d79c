"""Fan-out: accepted referrals get their dispatches, urgent ones first, in one transaction with no network call."""

from collections.abc import Collection
from datetime import datetime
from functools import lru_cache

from sqlalchemy import Row, text
from uuid_utils.compat import uuid7

from app.audit.record import Actor
from app.db import Connection
from app.parties.codes import Priority
from app.parties.directory import Directory, DirectoryCache
from app.parties.policy import Policy
from app.referrals import lifecycle
from app.referrals.codes import priority_of
from app.referrals.lifecycle import NewDispatch
from app.referrals.schedule import next_check, span, steps
from app.routing.matrix import Facts, Matrix, decide
from app.routing.reference import MatrixCache

_CLAIM = text("""
    SELECT id, originator, priority, crime_types, addressees, created_at FROM referral
     WHERE state = 'accepted'
     ORDER BY priority, id
     LIMIT CAST(:limit AS integer)
       FOR NO KEY UPDATE SKIP LOCKED
""")

_WAITING = text("SELECT EXISTS (SELECT FROM referral WHERE state = 'accepted')")


class FanOut:
    """Makes dispatches of accepted referrals."""

    def __init__(self) -> None:
        self._directory = DirectoryCache()
        self._matrix = MatrixCache()

    async def run(self, connection: Connection, actor: Actor, adapted: Collection[str], limit: int = 100) -> int:
        """Fan out up to `limit` referrals in the caller's transaction; returns how many it took (0: none waits).

        `adapted` are the agencies that an adapter of this system reaches.
        """
        directory = await self._directory.get(connection)
        matrix = await self._matrix.get(connection)
        referrals = (await connection.execute(_CLAIM, {"limit": limit})).all()
        dispatches: list[NewDispatch] = []
        unaddressed = []
        for referral in referrals:
            chosen = self._dispatches(referral, directory, matrix, adapted)
            dispatches.extend(chosen)
            if not chosen:
                unaddressed.append(referral.id)
        await lifecycle.open_dispatches(connection, actor, dispatches)
        await lifecycle.hold_without_addressee(connection, actor, unaddressed)
        return len(referrals)

    def _dispatches(
        self, referral: Row[tuple[object, ...]], directory: Directory, matrix: Matrix, adapted: Collection[str]
    ) -> list[NewDispatch]:
        facts = Facts(referral.originator, referral.crime_types, referral.addressees)
        priority = Priority(priority_of(referral.priority))
        dispatches = []
        for choice in decide(facts, matrix, directory):
            due, expires, next_check_at = _times(referral.created_at, priority, directory[choice.agency].policy)
            dispatches.append(
                NewDispatch(
                    id=uuid7(),
                    referral_id=referral.id,
                    agency=choice.agency,
                    rule=choice.rule,
                    release=choice.release,
                    reason=choice.reason,
                    gateway=choice.gateway,
                    due_at=due,
                    expires_at=expires,
                    next_check_at=next_check_at,
                    held=choice.needs_release,
                    needs_release=choice.needs_release,
                    adapter=choice.agency in adapted,
                )
            )
        return dispatches


# One referral goes to twenty agencies, most of them with the same policy: worked out once, looked up for the others.
@lru_cache(maxsize=1024)
def _times(received: datetime, priority: Priority, policy: Policy) -> tuple[datetime, datetime, datetime | None]:
    """When a dispatch received then is due, expires, and when the clock first asks something of it."""
    given = span(received, priority, policy)
    return given.due, given.expires, next_check(steps(given, priority, policy), received)


async def is_waiting(connection: Connection) -> bool:
    """Whether any accepted referral waits for its dispatches."""
    return bool(await connection.scalar(_WAITING))
