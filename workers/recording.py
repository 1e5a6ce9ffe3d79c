"""Writing down what came of calls: many at once, and one by one where the database refuses them together.

One finding that the database refuses must cost its neighbours nothing. It counts as a failed hand-over itself, is tried
again like one, and is given up like one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from app.audit.record import Actor
from app.db import AS_WORKER, Connection, Database, is_away
from app.logs import logger
from app.parties import channels
from app.referrals import delivery, lifecycle, notices
from app.referrals.alerts import raise_alerts
from app.referrals.delivery import Postponed, Settled, retry_in
from app.referrals.lifecycle import Answer, GivenUp, HandOver
from app.referrals.notices import NoticeFailed
from app.referrals.presence import Presence
from app.referrals.states import AlertKind
from workers.hand_over import Finding

log = logger()

AWAY_SECONDS = 8.0
"""How long the database may be away before what came of calls is given up: a task still ends within 60 s."""

UNRECORDED = "what came of it could not be recorded"

_PAUSE_SECONDS = 0.25

WORKER = Actor("GAIN", "worker")

Finished = tuple[HandOver, Finding]
_Verb = Callable[[Connection, Any], Awaitable[object]]
T = TypeVar("T")


class Recording:
    """One process's way of recording. `retired` is called when an agency's address has ended."""

    def __init__(self, database: Database, retired: Callable[[], None]) -> None:
        self._database = database
        self._retired = retired
        self._presence = Presence()

    async def record(self, finished: Sequence[Finished]) -> int:
        """Record what came of calls; returns of how many. Raises where the database stays away."""
        # Each verb locks its rows in order; two of them in one transaction would not, and could deadlock with others.
        for kind in _VERBS:
            await self._together([one for one in finished if isinstance(one[1], kind)])
        await self._retire([finding for _, finding in finished if isinstance(finding, NoticeFailed)])
        await self._write_presence([finding.actor.party for _, finding in finished if isinstance(finding, Answer)])
        return len(finished)

    async def hand_back(self, items: Sequence[HandOver]) -> None:
        """Make the dispatches of stopped calls due again, instead of leaving them to their leases."""
        if not items:
            return
        left = [Postponed(item.id, item.attempt, 0.0) for item in items]
        try:
            await self._write(lambda connection: delivery.postpone(connection, left))
        except Exception as error:
            if is_away(error):
                raise
            if len(items) == 1:
                return _log_refusal("a hand-over is left to its lease", items, error)
            for item in items:
                await self.hand_back([item])

    async def _together(self, finished: Sequence[Finished]) -> None:
        """Record findings of one kind; where that is refused, each in a transaction of its own."""
        if not finished:
            return
        verb = _VERBS[type(finished[0][1])]
        findings = [finding for _, finding in finished]
        try:
            await self._write(lambda connection: verb(connection, findings))
        except Exception as error:
            if is_away(error):
                raise
            if len(finished) > 1:
                for one in finished:
                    await self._together([one])
                return
            [(item, finding)] = finished
            _log_refusal("what came of a hand-over cannot be recorded", [item], error)
            await self._instead(item, finding)

    async def _instead(self, item: HandOver, finding: Finding) -> None:
        other = in_place_of(item, finding)
        if other is not None:
            return await self._together([(item, other)])
        try:
            parked = await self._write(lambda connection: delivery.park(connection, [item]))
            await self._write(lambda connection: raise_alerts(connection, AlertKind.NOTICE_FAILED, parked))
        except Exception as error:
            if is_away(error):
                raise
            _log_refusal("a hand-over is left to its lease", [item], error)

    async def _retire(self, failed: Sequence[NoticeFailed]) -> None:
        """Use no more the addresses that their systems say are gone."""
        ended = {(item.agency, item.ended): item.reason for item in failed if item.ended is not None}
        for (agency, address), reason in sorted(ended.items()):
            log.warning("an agency's channel has ended", agency=agency, reason=reason)
            await self.aside(partial(channels.retire, actor=WORKER, agency=agency, address=address, reason=reason))
        if ended:
            self._retired()

    async def _write_presence(self, agencies: Sequence[str]) -> None:
        for agency in agencies:
            self._presence.note(agency)
        if due := self._presence.due():
            await self.aside(lambda connection: self._presence.write(connection, due))

    async def aside(self, verb: Callable[[Connection], Awaitable[object]]) -> None:
        """Write what no dispatch depends on; where the database refuses it, that is logged only."""
        try:
            await self._write(verb)
        except Exception as error:
            if is_away(error):
                raise
            _log_refusal("something beside the hand-overs cannot be recorded", [], error)

    async def _write(self, verb: Callable[[Connection], Awaitable[T]]) -> T:
        """Write down what came of calls, for some seconds again while the database is away.

        A restart of it must not cost the agencies a second call and their answers the length of a lease. Each verb is
        fenced by the attempt, so doing again what was committed unnoticed changes nothing.
        """
        end = asyncio.get_running_loop().time() + AWAY_SECONDS
        while True:
            try:
                async with self._database.transaction(AS_WORKER) as connection:
                    return await verb(connection)
            except Exception as error:
                if not is_away(error) or asyncio.get_running_loop().time() > end:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)


def in_place_of(item: HandOver, finding: Finding) -> Finding | None:
    """Pure: what is recorded where the database refuses a finding; None: nothing but that nobody works on it now."""
    if not isinstance(finding, Answer | Settled):
        return None
    seconds = retry_in(item.failures)
    if seconds is not None:
        return Postponed(item.id, item.attempt, seconds, failure=UNRECORDED)
    if isinstance(finding, Answer):
        return GivenUp(item.id, item.attempt, UNRECORDED)
    return NoticeFailed(item.id, item.attempt, item.agency, UNRECORDED)


def _log_refusal(event: str, items: Sequence[HandOver], error: Exception) -> None:
    """By its kind only: PostgreSQL's texts quote the row that was refused."""
    origin = getattr(error, "orig", None) or error
    log.error(
        event,
        hand_overs=len(items),
        agencies=sorted({item.agency for item in items}),
        dispatch=str(items[0].id) if len(items) == 1 else None,
        error=type(error).__name__,
        sqlstate=getattr(origin, "sqlstate", None),
    )


_VERBS: dict[type[Finding], _Verb] = {
    Answer: lambda connection, findings: lifecycle.record_answers(connection, findings),
    Postponed: lambda connection, findings: delivery.postpone(connection, findings),
    Settled: lambda connection, findings: notices.told(connection, findings),
    GivenUp: lambda connection, findings: lifecycle.give_up(connection, WORKER, findings),
    NoticeFailed: lambda connection, findings: notices.notice_failed(connection, findings),
}
"""How each kind of finding is recorded, in this order."""
