"""What a pump does with more hand-overs than an agency has slots."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from app.referrals.delivery import Postponed, Settled
from app.referrals.lifecycle import GivenUp, HandOver
from app.referrals.notices import NoticeFailed
from workers import in_flight
from workers.adapters.contract import Adapter, Delivered, Envelope, Result
from workers.circuits import FAILURES, Circuits, CircuitState
from workers.hand_over import Call, Handed, finish_at_once
from workers.in_flight import InFlight

AT = datetime(2026, 11, 22, tzinfo=UTC)


def item(priority: int = 2) -> HandOver:
    return HandOver({}, uuid4(), "HMRC", 1, priority, 1, 1, AT, AT, uuid4(), "GAIN-2026-000001", "SWP")


class Two(Adapter):
    """An agency with two slots."""

    answers = False
    in_flight = 2

    async def deliver(self, envelope: Envelope) -> Result:
        return Delivered()


class Calls:
    """Calls that end when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.circuits = Circuits(lambda: self.now)
        self.begun: list[UUID] = []
        self._ends: dict[UUID, asyncio.Future[Handed]] = {}
        self.in_flight = InFlight(self.circuits, self._begin)

    async def _begin(self, item: HandOver, _: Adapter) -> Handed:
        self.begun.append(item.id)
        self._ends[item.id] = asyncio.get_running_loop().create_future()
        return await self._ends[item.id]

    async def end(self, of: UUID, *, failed: bool = False) -> None:
        """One call ends; what that sets going begins."""
        await self.hand(of, Handed(Postponed(of, 1, 5.0, "no"), Call.FAILED) if failed else done(of))

    async def hand(self, of: UUID, handed: Handed) -> None:
        """One call ends with this."""
        self._ends[of].set_result(handed)
        await turns()


def done(of: UUID) -> Handed:
    return Handed(Settled(of, 1), Call.DONE)


async def turns() -> None:
    """The event loop does what is ready."""
    for _ in range(4):
        await asyncio.sleep(0)


async def test_a_slot_that_is_left_is_taken_at_once_by_what_was_claimed_ahead() -> None:
    calls, items = Calls(), [item() for _ in range(3)]
    for one in items:
        calls.in_flight.add(one, Two())
    await turns()
    assert calls.begun == [items[0].id, items[1].id]
    await calls.end(items[0].id)
    assert calls.begun == [one.id for one in items]
    assert [found.id for found, _ in calls.in_flight.take_finished()] == [items[0].id]
    await calls.in_flight.stop()


async def test_an_urgent_one_begins_before_what_was_claimed_earlier() -> None:
    calls, first, second, routine, urgent = Calls(), item(), item(), item(), item(priority=0)
    for one in (first, second, routine, urgent):
        calls.in_flight.add(one, Two())
    await turns()
    await calls.end(first.id)
    assert calls.begun[2:] == [urgent.id]
    await calls.in_flight.stop()


async def test_only_an_agency_that_keeps_answering_has_any_claimed_ahead() -> None:
    calls = Calls()
    assert calls.in_flight.room("HMRC", 2) == 2
    one, other = item(), item()
    calls.in_flight.add(one, Two())
    calls.in_flight.add(other, Two())
    await turns()
    assert calls.in_flight.room("HMRC", 2) == 0, "it has answered nothing yet"
    await calls.end(one.id)
    assert calls.in_flight.room("HMRC", 2) == 1 + 1, "a free slot, and one ahead"
    await calls.end(other.id, failed=True)
    assert calls.in_flight.room("HMRC", 2) == 2 + 1, "what failed does not count"
    await calls.in_flight.stop()


async def test_what_waits_too_long_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, items = Calls(), [item() for _ in range(3)]
    for one in items:
        calls.in_flight.add(one, Two())
    await turns()
    assert calls.in_flight.take_stale() == []
    monkeypatch.setattr(in_flight, "READY_SECONDS", 0.0)
    assert calls.in_flight.take_stale() == [items[2]]
    assert len(calls.in_flight) == 2
    await calls.in_flight.stop()


async def test_nothing_more_begins_when_the_circuit_opens_and_what_waits_is_given_back() -> None:
    calls, items = Calls(), [item() for _ in range(FAILURES + 3)]
    for one in items:
        calls.in_flight.add(one, Two())
    await turns()
    for one in items[:FAILURES]:
        await calls.end(one.id, failed=True)
    assert calls.circuits.state("HMRC") is CircuitState.OPEN
    assert len(calls.begun) == FAILURES + 1
    assert calls.in_flight.take_stale() == items[FAILURES + 1 :]
    assert calls.in_flight.room("HMRC", 2) == 0
    assert items[FAILURES] in await calls.in_flight.stop()


@pytest.mark.parametrize("asked", [90.0, 3_000.0])
async def test_who_asks_for_time_gets_no_other_call_until_it_is_over(asked: float) -> None:
    calls, items = Calls(), [item() for _ in range(4)]
    for one in items:
        calls.in_flight.add(one, Two())
    await turns()
    await calls.hand(items[0].id, Handed(Postponed(items[0].id, 1, asked, "429"), Call.FAILED, asked))
    assert calls.begun == [items[0].id, items[1].id]
    assert calls.in_flight.take_stale() == items[2:]
    await calls.end(items[1].id)  # it was begun before, and says nothing of what comes now
    calls.now += asked - 1.0
    assert calls.in_flight.room("HMRC", 2) == 0
    calls.now += 1.0
    assert calls.in_flight.room("HMRC", 2) == 1
    probe = item()
    calls.in_flight.add(probe, Two())
    await turns()
    await calls.end(probe.id)
    assert calls.circuits.state("HMRC") is CircuitState.CLOSED
    await calls.in_flight.stop()


async def _half_open() -> Calls:
    """HMRC has failed so often that it was left alone; now one call finds out whether it works."""
    calls = Calls()
    for one in [item() for _ in range(FAILURES)]:
        calls.in_flight.add(one, Two())
        await turns()
        await calls.end(one.id, failed=True)
    assert calls.circuits.state("HMRC") is CircuitState.OPEN
    calls.now += 60.0
    assert calls.circuits.state("HMRC") is CircuitState.HALF_OPEN
    return calls


@pytest.mark.parametrize(
    ("call", "state", "room"),
    [(Call.NONE, CircuitState.HALF_OPEN, 1), (Call.FAILED, CircuitState.OPEN, 0), (Call.DONE, CircuitState.CLOSED, 2)],
)
async def test_only_a_call_that_was_made_finds_out_whether_an_agency_works(
    call: Call, state: CircuitState, room: int
) -> None:
    calls, probe = await _half_open(), item()
    calls.in_flight.add(probe, Two())
    await turns()
    assert calls.in_flight.room("HMRC", 2) == 0, "one at a time"
    await calls.hand(probe.id, Handed(GivenUp(probe.id, 1, "every try failed"), call))
    assert calls.circuits.state("HMRC") is state
    assert min(2, calls.in_flight.room("HMRC", 2)) == room


async def test_what_needs_no_call_neither_opens_a_circuit_nor_interrupts_the_count_of_failures() -> None:
    calls = Calls()
    for number in range(2 * FAILURES - 1):
        one = item()
        calls.in_flight.add(one, Two())
        await turns()
        failed = Handed(NoticeFailed(one.id, 1, "HMRC", "no"), Call.FAILED)
        await calls.hand(one.id, Handed(Settled(one.id, 1), Call.NONE) if number % 2 else failed)
        over = number == 2 * FAILURES - 2
        assert calls.circuits.state("HMRC") is (CircuitState.OPEN if over else CircuitState.CLOSED)


async def test_an_adapter_that_never_waits_and_does_is_a_failure_not_a_standstill() -> None:
    async def call() -> Handed:
        try:
            await asyncio.sleep(1)
        except RuntimeError:
            return Handed(Postponed(uuid4(), 1, 5.0, "it waited"), Call.FAILED)
        raise AssertionError("it must not go on")

    found, said, _ = finish_at_once(call())
    assert said is Call.FAILED
    assert isinstance(found, Postponed)
    assert found.failure == "it waited"


async def test_what_is_withdrawn_does_not_begin_and_is_given_back_once() -> None:
    calls, items = Calls(), [item() for _ in range(4)]
    for one in items:
        calls.in_flight.add(one, Two())
    await turns()
    calls.in_flight.withdraw(["EA"])
    assert calls.in_flight.take_stale() == []
    calls.in_flight.withdraw(["HMRC"])
    await calls.end(items[0].id)
    assert calls.begun == [items[0].id, items[1].id]
    assert calls.in_flight.take_stale() == items[2:]
    assert calls.in_flight.take_stale() == []
    late = item()
    calls.in_flight.add(late, Two())
    waiting = item()
    calls.in_flight.add(waiting, Two())
    calls.in_flight.withdraw(["HMRC"])
    left = await calls.in_flight.stop()
    assert {one.id for one in left} == {items[0].id, items[1].id, late.id, waiting.id}
    assert len(left) == 4
