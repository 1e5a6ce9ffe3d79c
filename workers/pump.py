"""The pump: fans out, accepts batches and delivers whatever is due, many at a time, until nothing is or time is up.

It goes on claiming while other calls are in flight, so a slow agency fills only its own slots. All stages run here, so
that slow agencies cannot keep accepted referrals from being fanned out.
"""

import asyncio
from collections.abc import Callable, Mapping

from app.crypto.keys import Keys
from app.db import AS_WORKER, Connection, Database, is_away
from app.referrals import circuits as paused
from app.referrals import lifecycle, notices
from app.referrals.batches.accept import accept_slice
from app.referrals.delivery import Postponed
from app.referrals.fan_out import FanOut
from app.referrals.lifecycle import HandOver, Slot
from app.referrals.notices import NoticeFailed, Room
from app.referrals.taking import Taking
from workers.adapters.contract import Adapter
from workers.channels import Fixed, Reach, moved
from workers.circuits import Circuits
from workers.hand_over import Call, Handed, hand_over
from workers.in_flight import InFlight
from workers.recording import WORKER, Recording

IN_FLIGHT = 1_000
"""The most calls of one process at once: enough that fifty agencies which never answer leave slots for the others."""

REFERRALS = IN_FLIGHT // 20
"""The most referrals that are fanned out in one transaction: their dispatches are begun as they are made."""

DISPATCHES = 500
"""The most dispatches that are claimed in one transaction."""

FEW_REFERRALS = DISPATCHES // 50
"""The most referrals while claims come back full: fewer dispatches are made than taken, or they would only pile up,
where no bound of the backlog sees them. New referrals go on being fanned out, for an urgent one may be among them."""

_TOGETHER_SECONDS = 0.015

GRACE_SECONDS = 1.0
"""How long calls in flight may take to finish when time is up: longer, and a slow agency would hold up all others."""

_LOOK_SECONDS = 0.25  # how often one looks for what is due while calls are in flight and nobody asks


class Pump:
    """One process's pump. `adapters` has the adapter of each agency that is reached by one, always or as of now."""

    def __init__(self, database: Database, keys: Keys, adapters: Reach | Mapping[str, Adapter]) -> None:
        self._database = database
        self._keys = keys
        self._reach = Fixed(adapters) if isinstance(adapters, Mapping) else adapters
        self._fan_out = FanOut()
        self._recording = Recording(database, self._reach.forget)
        self._notices_from = 0.0
        self._batches_from = 0.0
        self._claims_full = False
        self._adapters: Mapping[str, Adapter] | None = None
        self._places = self._reach.places
        self._calls: InFlight | None = None
        self._asked: list[asyncio.Future[None]] = []
        self.circuits = Circuits()
        """Which agencies are not called for now."""

    async def run(self, seconds: float, stopping: Callable[[], bool] = lambda: False) -> None:
        """Move what is due for up to `seconds`, then let the calls in flight finish for a moment.

        What is still in flight then, or at once when `stopping` says so, is handed back for someone else to take.
        """
        end = asyncio.get_running_loop().time() + seconds
        calls = self._calls = InFlight(self.circuits, self._call)
        try:
            while not stopping():
                asked = len(self._asked)
                moved = await self._take(calls)
                over = asyncio.get_running_loop().time() - end
                if over < 0:
                    taken_on = await self._take_on(calls)
                    if not taken_on:
                        self._tell(asked)
                    moved += taken_on
                elif over > GRACE_SECONDS:
                    return
                await self._recording.hand_back(calls.take_stale() if over < 0 else calls.take_ready())
                if calls:
                    await self._rest(calls)
                elif not moved:
                    return
        finally:
            self._calls = None
            await self._recording.hand_back(await calls.stop())

    def ask(self) -> asyncio.Future[None]:
        """Have the pump that runs look for work now. Done when it has begun all that it found, and found no more."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append(told)
        if self._calls is not None:
            self._calls.nudge()
        return told

    def _tell(self, number: int) -> None:
        """The first so many that asked: nothing waits that had come before they did."""
        for told in self._asked[:number]:
            if not told.done():
                told.set_result(None)
        del self._asked[:number]

    async def _call(self, item: HandOver, adapter: Adapter) -> Handed:
        places = self._places
        handed = await hand_over(item, adapter, self._keys)
        if places is self._places or item.agency not in moved(places, self._places):
            return handed
        # What was under way to where the agency is told no more says nothing of where it is told now.
        now = self._places.get(item.agency)
        if now is None or now.ended is not None or not isinstance(handed.finding, Postponed | NoticeFailed):
            return handed._replace(call=Call.NONE)
        return Handed(Postponed(item.id, item.attempt, 0.0), Call.NONE)

    async def _find_adapters(self, connection: Connection) -> Mapping[str, Adapter]:
        """The adapters there are now. Of an agency that is reached elsewhere, or set anew, nothing is known."""
        self._adapters = await self._reach.get(connection)
        if self._places is not self._reach.places:
            elsewhere = moved(self._places, self._reach.places)
            if self._calls is not None:
                self._calls.withdraw(elsewhere)
            for agency in elsewhere:
                self.circuits.forget(agency)
            self._places = self._reach.places
        return self._adapters

    async def _rest(self, calls: InFlight) -> None:
        """Until a call has finished, or somebody asks, or for a moment.

        While others are ready to begin, a few more may finish: many are recorded, and claimed, for what one costs.
        """
        if calls.is_ahead:
            await asyncio.sleep(_TOGETHER_SECONDS)
        await calls.wait(_LOOK_SECONDS)

    async def _take(self, calls: InFlight) -> int:
        moved = await self._recording.record(calls.take_finished())
        await self._tell_circuits()
        return moved

    async def _tell_circuits(self) -> None:
        """Have the pages show which agencies are not called."""
        if not self.circuits.changed:
            return
        # Before it is written: a call that ends meanwhile may change them again.
        self.circuits.changed = False
        pauses = self.circuits.pauses()
        try:
            await self._recording.aside(lambda connection: paused.write(connection, self.circuits.process, pauses))
        except Exception:
            self.circuits.changed = True
            raise

    async def _take_on(self, calls: InFlight) -> int:
        """Fan out and claim. While the database is away nothing is taken on, and what is in flight goes on."""
        try:
            moved = await self._fan_out_some(calls) + await self._accept_some()
            return moved + await self._start_some(calls)
        except Exception as error:
            if not calls or not is_away(error):
                raise
            return 0

    async def _fan_out_some(self, calls: InFlight) -> int:
        """Fan out, and begin what adapters have room for: it is leased as it is made."""
        adapters = self._adapters
        if adapters is None:
            async with self._database.transaction(AS_WORKER) as connection:
                adapters = await self._find_adapters(connection)
        free = {agency: calls.room(agency, one.in_flight) for agency, one in adapters.items() if one.answers}
        taking = Taking(free, IN_FLIGHT - len(calls))
        most = FEW_REFERRALS if self._claims_full else REFERRALS
        try:
            moved = await self._fan_out.run(self._database, WORKER, adapters.keys(), most, taking)
        finally:
            for item in taking.taken:
                calls.add(item, adapters[item.agency])
        if moved:
            # There may be notices to give, and room for more rows of a batch.
            self._notices_from = self._batches_from = 0.0
        return moved

    async def _accept_some(self) -> int:
        """Accept a slice of a batch, after what was accepted before has been fanned out as far as one turn goes."""
        now = asyncio.get_running_loop().time()
        if now < self._batches_from:
            return 0
        moved = await accept_slice(self._database, WORKER)
        if not moved:
            self._batches_from = now + _LOOK_SECONDS
        return moved

    async def _start_some(self, calls: InFlight) -> int:
        """Claim what is due and start handing it over; what was claimed is committed before anything leaves."""
        limit = min(DISPATCHES, IN_FLIGHT - len(calls))
        async with self._database.transaction(AS_WORKER) as connection:
            adapters = await self._find_adapters(connection)
            free = {agency: calls.room(agency, adapter.in_flight) for agency, adapter in adapters.items()}
            answering = [Slot(agency, most) for agency, most in free.items() if adapters[agency].answers]
            claimed = await lifecycle.hand_over(connection, WORKER, answering, limit)
        self._claims_full = len(claimed) == limit
        rooms = {
            agency: Room(slots, adapters[agency].quota)
            for agency, slots in free.items()
            if not adapters[agency].answers
        }
        claimed += await self._claim_notices(rooms, limit)
        for item in claimed:
            calls.add(item, adapters[item.agency])
        return len(claimed)

    async def _claim_notices(self, rooms: Mapping[str, Room], limit: int) -> list[HandOver]:
        # What waits for a quota is due all the time, and is looked at a few times a second only.
        now = asyncio.get_running_loop().time()
        if not rooms or now < self._notices_from:
            return []
        async with self._database.transaction(AS_WORKER) as connection:
            claimed = await notices.claim(connection, rooms, limit)
        self._notices_from = 0.0 if claimed.items or claimed.more else now + _LOOK_SECONDS
        return claimed.items
