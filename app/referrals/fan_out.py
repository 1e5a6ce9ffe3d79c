"""Fan-out: accepted referrals get their dispatches, urgent ones first, in one transaction with no network call.

Where a batch fails, its referrals are fanned out one by one, each with a number of tries; then a co-ordinator decides.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from app import clock
from app.audit.record import Actor
from app.db import AS_WORKER, Connection, Database, is_away
from app.logs import logger
from app.parties.codes import Priority
from app.parties.directory import Directory, DirectoryCache
from app.parties.policy import Policy
from app.referrals import duplicates, fan_out_tries, lifecycle
from app.referrals.codes import priority_of
from app.referrals.deadlines import london_day
from app.referrals.fan_out_tries import MOST_TRIES, Try
from app.referrals.lifecycle import HandOver, NewDispatch, Terms
from app.referrals.schedule import first_check, span, steps
from app.referrals.taking import Seen, Taking
from app.routing.matrix import Choice, Facts, Matrix, decide
from app.routing.reference import MatrixCache

log = logger()

LATE_SECONDS = 15
"""A referral accepted longer ago may have been in a batch that ended its worker: a try at it is counted first."""

_SINGLY = 20  # referrals fanned out alone in one turn, so that calls in flight are not left waiting
_LOOK_SECONDS = 1.0

_COLUMNS = "id, originator, priority, crime_types, addressees, now() AS now"

# What has failed before waits apart. As an array, so that a plan goes by the index whatever it thinks of that table.
_CLAIM = text(f"""
    SELECT {_COLUMNS}, updated_at < now() - make_interval(secs => CAST(:late AS double precision)) AS late
      FROM referral
     WHERE state = 'accepted' AND id <> ALL(ARRAY(SELECT referral_id FROM fan_out_try))
     ORDER BY priority, id
     LIMIT CAST(:limit AS integer)
       FOR NO KEY UPDATE SKIP LOCKED
""")  # noqa: S608  a constant of this file

_CLAIM_THESE = text(f"""
    SELECT {_COLUMNS} FROM referral
     WHERE id = ANY(CAST(:ids AS uuid[])) AND state = 'accepted'
     ORDER BY priority, id
       FOR NO KEY UPDATE SKIP LOCKED
""")  # noqa: S608

_WAITING = text("""
    SELECT EXISTS (SELECT FROM referral
                    WHERE state = 'accepted' AND id <> ALL(ARRAY(SELECT referral_id FROM fan_out_try)))
        OR EXISTS (SELECT FROM fan_out_try WHERE next_at <= now())
""")

_Referral = Row[tuple[Any, ...]]


_NOTHING = Taking()

_ForWhom = tuple[Actor, Collection[str]]
"""Who fans out, and the agencies that an adapter reaches."""


@dataclass(frozen=True, slots=True)
class _Means:
    """By what a batch is fanned out, and on whose behalf. `adapted`: the agencies that an adapter reaches.

    `taking` says what is taken at once, of the referrals that `seen` has; `terms` are those worked out so far.
    """

    actor: Actor
    adapted: Collection[str]
    directory: Directory
    matrix: Matrix
    taking: Taking = field(default_factory=Taking)
    seen: Seen = field(default_factory=dict)
    terms: dict[tuple[Choice, datetime, Priority], Terms] = field(default_factory=dict)


class FanOut:
    """Makes dispatches of accepted referrals, for one process."""

    def __init__(self) -> None:
        self._directory = DirectoryCache()
        self._matrix = MatrixCache()
        self._look_at = 0.0

    async def run(
        self, database: Database, actor: Actor, adapted: Collection[str], limit: int = 100, taking: Taking | None = None
    ) -> int:
        """Fan out up to `limit` referrals together, and some that failed before alone.

        Returns how many it took (0: none waits). `adapted` are the agencies that an adapter of this system reaches;
        `taking` says what of theirs the caller hands over itself, and is told what it got.
        Raises where the database is away, or no reference data can be read: that is no referral's fault.
        """
        for_whom = (actor, adapted)
        moved = await self._batch(database, for_whom, limit, taking or _NOTHING)
        return moved + await self._singly(database, for_whom)

    async def _means(self, connection: Connection, for_whom: _ForWhom) -> _Means:
        return _Means(*for_whom, await self._directory.get(connection), await self._matrix.get(connection))

    async def _batch(self, database: Database, for_whom: _ForWhom, limit: int, taking: Taking) -> int:
        referrals: Sequence[_Referral] = []
        taken: list[HandOver] = []
        try:
            async with database.transaction(AS_WORKER) as connection:
                means = await self._means(connection, for_whom)
                parameters = {"limit": limit, "late": LATE_SECONDS}
                referrals = (await connection.execute(_CLAIM, parameters)).all()
                late = any(referral.late for referral in referrals)
                if late:
                    await fan_out_tries.begin(connection, _ids(referrals))
                else:
                    seen = await taking.look(connection, _ids(referrals))
                    taken = await _open(connection, replace(means, taking=taking, seen=seen), referrals)
            taking.taken.extend(taken)
            if late:
                await self._open_counted(database, means, _ids(referrals))
        except Exception as error:
            if is_away(error) or not referrals:
                raise
            await self._failed(database, _ids(referrals), error)
        return len(referrals)

    async def _singly(self, database: Database, for_whom: _ForWhom) -> int:
        if time.monotonic() < self._look_at:
            return 0
        for number in range(_SINGLY):
            async with database.transaction(AS_WORKER) as connection:
                taken = await fan_out_tries.take(connection)
                means = await self._means(connection, for_whom)
            if taken is None:
                self._look_at = time.monotonic() + _LOOK_SECONDS
                return number
            await self._try(database, means, taken)
        return _SINGLY

    async def _try(self, database: Database, means: _Means, taken: Try) -> None:
        """Fan out one alone. Another has been cut off since its last try was counted: that one is given up."""
        if taken.tries <= MOST_TRIES:
            try:
                return await self._open_counted(database, means, [taken.referral_id])
            except Exception as error:
                if is_away(error):
                    raise
                await self._failed(database, [taken.referral_id], error)
        if taken.tries >= MOST_TRIES:
            await self._give_up(database, means.actor, taken.referral_id)

    async def _open_counted(self, database: Database, means: _Means, ids: Sequence[UUID]) -> None:
        """Fan out referrals at which a try is counted; those that are not accepted any more need none."""
        async with database.transaction(AS_WORKER) as connection:
            await _open(connection, means, (await connection.execute(_CLAIM_THESE, {"ids": ids})).all())
            await fan_out_tries.forget(connection, ids)

    async def _failed(self, database: Database, ids: Sequence[UUID], error: Exception) -> None:
        """Note a failed try. The error's text may quote what was submitted: only its kind is told."""
        kind = type(getattr(error, "orig", None) or error).__name__
        one = str(ids[0]) if len(ids) == 1 else None
        log.error("referrals could not be fanned out", referrals=len(ids), referral=one, error=kind)
        async with database.transaction(AS_WORKER) as connection:
            await fan_out_tries.fail(connection, ids, kind)
        self._look_at = 0.0

    async def _give_up(self, database: Database, actor: Actor, referral_id: UUID) -> None:
        """Hold it for a co-ordinator, whose release tries anew. Where even that is refused, leave it alone."""
        log.error("a referral cannot be fanned out: a co-ordinator decides", referral=str(referral_id))
        try:
            async with database.transaction(AS_WORKER) as connection:
                await fan_out_tries.stop(connection, referral_id)
                found = (await connection.execute(_CLAIM_THESE, {"ids": [referral_id]})).all()
                await lifecycle.hold_unsent(connection, actor, _ids(found))
        except Exception as error:
            if is_away(error):
                raise
            log.critical("a referral cannot even be held", referral=str(referral_id), error=type(error).__name__)
            async with database.transaction(AS_WORKER) as connection:
                await fan_out_tries.stop(connection, referral_id)


async def _open(connection: Connection, means: _Means, referrals: Sequence[_Referral]) -> list[HandOver]:
    dispatches: list[NewDispatch] = []
    unaddressed = []
    for referral in referrals:
        chosen = _dispatches(referral, means)
        dispatches.extend(chosen)
        if not chosen:
            unaddressed.append(referral.id)
    taken = await lifecycle.open_dispatches(connection, means.actor, dispatches)
    await lifecycle.hold_without_addressee(connection, means.actor, unaddressed)
    await duplicates.find(connection, means.actor, _ids(referrals))
    return [HandOver(means.seen[row.referral_id], *tuple[Any, ...](row)) for row in taken]


def _dispatches(referral: _Referral, means: _Means) -> list[NewDispatch]:
    facts = Facts(referral.originator, referral.crime_types, referral.addressees, london_day(clock.now()))
    priority = Priority(priority_of(referral.priority))
    taking = means.taking if referral.id in means.seen else _NOTHING
    return [
        NewDispatch(
            referral.id,
            choice.agency,
            _terms(choice, referral.now, priority, means),
            not choice.needs_release and taking.takes(choice.agency),
        )
        for choice in decide(facts, means.matrix, means.directory)
    ]


def _terms(choice: Choice, received: datetime, priority: Priority, means: _Means) -> Terms:
    # An agency's time counts from its inbox: what is fanned out in one transaction has its times in common.
    key = (choice, received, priority)
    known = means.terms.get(key)
    if known is None:
        due, expires, next_check_at = _times(received, priority, means.directory[choice.agency].policy)
        known = means.terms[key] = Terms(
            rule=choice.rule,
            release=choice.release,
            reason=choice.reason,
            gateway=choice.gateway,
            due_at=due,
            expires_at=expires,
            next_check_at=next_check_at,
            held=choice.needs_release,
            needs_release=choice.needs_release,
            adapter=choice.agency in means.adapted,
        )
    return known


# One referral goes to twenty agencies, most of them with the same policy: worked out once, looked up for the others.
@lru_cache(maxsize=1024)
def _times(received: datetime, priority: Priority, policy: Policy) -> tuple[datetime, datetime, datetime]:
    """When a dispatch received then is due, expires, and when the clock first asks something of it."""
    given = span(received, priority, policy)
    return given.due, given.expires, first_check(steps(given, priority, policy), received)


def _ids(referrals: Sequence[_Referral]) -> list[UUID]:
    return [referral.id for referral in referrals]


async def is_waiting(connection: Connection) -> bool:
    """Whether any accepted referral waits for its dispatches."""
    return bool(await connection.scalar(_WAITING))
