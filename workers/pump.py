"""The pump: fans out and delivers whatever is due, many at a time, until nothing is or its time is up.

It goes on claiming while other calls are in flight, so a slow agency fills only its own slots. Both stages run here, so
that slow agencies cannot keep accepted referrals from being fanned out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeVar

from app.audit.record import Actor
from app.crypto.keys import Keys
from app.db import Connection, Database, is_away
from app.logs import logger
from app.parties import channels
from app.referrals import delivery, lifecycle, notices
from app.referrals.delivery import HandOver, Postponed, Settled
from app.referrals.fan_out import FanOut
from app.referrals.lifecycle import Answer, GivenUp
from app.referrals.notices import NoticeFailed, Room
from app.referrals.presence import Presence
from workers.adapters.contract import Adapter
from workers.channels import Fixed, Reach
from workers.circuits import Circuits
from workers.hand_over import Finding, hand_over, has_failed
from workers.in_flight import InFlight

log = logger()

IN_FLIGHT = 1_000
"""The most calls of one process at once: enough that fifty agencies which never answer leave slots for the others."""

REFERRALS = 100
DISPATCHES = 500
"""The most referrals that are fanned out, and dispatches that are claimed, in one transaction."""

GRACE_SECONDS = 1.0
"""How long calls in flight may take to finish when time is up: longer, and a slow agency would hold up all others."""

AWAY_SECONDS = 8.0
"""How long the database may be away before what came of calls is given up: a task still ends within 60 s."""

_LOOK_SECONDS = 0.25  # how often new work is looked for while calls are in flight

WORKER = Actor("GAIN", "worker")
T = TypeVar("T")


class Pump:
    """One process's pump. `adapters` has the adapter of each agency that is reached by one, always or as of now."""

    def __init__(self, database: Database, keys: Keys, adapters: Reach | Mapping[str, Adapter]) -> None:
        self._database = database
        self._keys = keys
        self._reach = Fixed(adapters) if isinstance(adapters, Mapping) else adapters
        self._fan_out = FanOut()
        self._presence = Presence()
        self._notices_from = 0.0
        self.circuits = Circuits()
        """Which agencies are not called for now."""

    async def run(self, seconds: float, stopping: Callable[[], bool] = lambda: False) -> None:
        """Move what is due for up to `seconds`, then let the calls in flight finish for a moment.

        What is still in flight then, or at once when `stopping` says so, is handed back for someone else to take.
        """
        end = asyncio.get_running_loop().time() + seconds
        calls = InFlight()
        try:
            while not stopping():
                moved = await self._take(calls)
                over = asyncio.get_running_loop().time() - end
                if over < 0:
                    moved += await self._take_on(calls)
                elif over > GRACE_SECONDS:
                    return
                if calls:
                    await calls.wait(_LOOK_SECONDS)
                elif not moved:
                    return
        finally:
            await self._hand_back(await calls.stop())

    async def _take(self, calls: InFlight) -> int:
        finished = calls.take_finished()
        for item, finding in finished:
            self.circuits.note(item.agency, failed=has_failed(finding))
        return await self._record([finding for _, finding in finished])

    async def _take_on(self, calls: InFlight) -> int:
        """Fan out and claim. While the database is away nothing is taken on, and what is in flight goes on."""
        try:
            return await self._fan_out_some() + await self._start_some(calls)
        except Exception as error:
            if not calls or not is_away(error):
                raise
            return 0

    async def _fan_out_some(self) -> int:
        async with self._database.transaction() as connection:
            adapters = await self._reach.get(connection)
            moved = await self._fan_out.run(connection, WORKER, adapters.keys(), REFERRALS)
        if moved:
            self._notices_from = 0.0
        return moved

    async def _start_some(self, calls: InFlight) -> int:
        """Claim what is due and start handing it over; what was claimed is committed before anything leaves."""
        limit = min(DISPATCHES, IN_FLIGHT - len(calls))
        async with self._database.transaction() as connection:
            adapters = await self._reach.get(connection)
            free = {
                agency: self.circuits.free(agency, adapter.in_flight, calls.busy(agency))
                for agency, adapter in adapters.items()
            }
            answering = {agency: slots for agency, slots in free.items() if adapters[agency].answers}
            claimed = await delivery.claim(connection, WORKER, answering, limit)
        rooms = {
            agency: Room(slots, adapters[agency].quota)
            for agency, slots in free.items()
            if not adapters[agency].answers
        }
        claimed += await self._claim_notices(rooms, limit)
        for item in claimed:
            calls.start(item, hand_over(item, adapters[item.agency], self._keys))
        return len(claimed)

    async def _claim_notices(self, rooms: Mapping[str, Room], limit: int) -> list[HandOver]:
        # What waits for a quota is due all the time, and is looked at a few times a second only.
        now = asyncio.get_running_loop().time()
        if not rooms or now < self._notices_from:
            return []
        async with self._database.transaction() as connection:
            claimed = await notices.claim(connection, rooms, limit)
        self._notices_from = 0.0 if claimed else now + _LOOK_SECONDS
        return claimed

    async def _record(self, findings: Sequence[Finding]) -> int:
        if not findings:
            return 0
        # Each verb locks its rows in order; two of them in one transaction would not, and could deadlock with others.
        if answers := _of(findings, Answer):
            await self._write(lambda connection: self._record_answers(connection, answers))
        if postponed := _of(findings, Postponed):
            await self._write(lambda connection: delivery.postpone(connection, postponed))
        if settled := _of(findings, Settled):
            await self._write(lambda connection: notices.told(connection, settled))
        if given_up := _of(findings, GivenUp):
            await self._write(lambda connection: lifecycle.give_up(connection, WORKER, given_up))
        if failed := _of(findings, NoticeFailed):
            await self._write(lambda connection: notices.notice_failed(connection, failed))
            await self._retire(failed)
        return len(findings)

    async def _record_answers(self, connection: Connection, answers: Sequence[Answer]) -> None:
        await lifecycle.record_answers(connection, answers)
        await self._write_presence(connection, {answer.actor.party for answer in answers})

    async def _write(self, verb: Callable[[Connection], Awaitable[None]]) -> None:
        """Write down what came of calls, for some seconds again while the database is away.

        A restart of it must not cost the agencies a second call and their answers the length of a lease. Each verb is
        fenced by the attempt, so doing again what was committed unnoticed changes nothing.
        """
        end = asyncio.get_running_loop().time() + AWAY_SECONDS
        while True:
            try:
                async with self._database.transaction() as connection:
                    return await verb(connection)
            except Exception as error:
                if not is_away(error) or asyncio.get_running_loop().time() > end:
                    raise
            await asyncio.sleep(_LOOK_SECONDS)

    async def _retire(self, failed: Sequence[NoticeFailed]) -> None:
        """Use no more the addresses that their systems say are gone."""
        ended = {(item.agency, item.ended): item.reason for item in failed if item.ended is not None}
        if not ended:
            return
        async with self._database.transaction() as connection:
            for (agency, address), reason in sorted(ended.items()):
                log.warning("an agency's channel has ended", agency=agency, reason=reason)
                await channels.retire(connection, agency, address, reason)
        self._reach.forget()

    async def _write_presence(self, connection: Connection, agencies: Collection[str]) -> None:
        for agency in agencies:
            self._presence.note(agency)
        await self._presence.write(connection, self._presence.due())

    async def _hand_back(self, items: Sequence[HandOver]) -> None:
        """Make the dispatches of stopped calls due again, instead of leaving them to their leases."""
        if not items:
            return
        left = [Postponed(item.id, item.attempt, 0.0) for item in items]
        await self._write(lambda connection: delivery.postpone(connection, left))


def _of(findings: Sequence[Finding], kind: type[T]) -> list[T]:
    return [finding for finding in findings if isinstance(finding, kind)]
