"""How many calls each agency may get: its own slots, none while it fails, one to find out whether it works again.

A circuit breaker that decides before work is claimed, so that what waits for a failing agency stays in its row, uses up
no try, and takes nobody's slot.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from uuid import uuid4

from app.referrals.circuits import Pause

FAILURES = 5
"""Failures in a row that open a circuit."""

OPEN_SECONDS = 15.0
"""How long it is open at first; twice as long each time the probe fails too."""

LONGEST_SECONDS = 300.0

LONGEST_ASKED_SECONDS = 3_600.0
"""How long an agency's system may ask to be left alone. What is longer is more likely a slip, would keep its urgent
items from it, and what the pages show of a process that has died must lapse."""


class CircuitState(StrEnum):
    """Whether an agency is called."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"  # one call at a time


@dataclass(slots=True)
class _Circuit:
    """What is known of one agency. How often its failures `opened` it, and what its system `asked`, are kept apart.

    One that asks for a second is not called for that second; it would be for a minute if each asking counted as an
    opening, and be longer without its urgent items than it wants.
    """

    failures: int = 0
    opened: int = 0
    since: float = 0.0
    until: float = 0.0  # until when its failures keep it from being called
    asked: float = 0.0  # until when its system asks not to be called

    @property
    def next_at(self) -> float:
        """When it is called next, by one call that finds out whether it works; 0 where it is called as usual."""
        return max(self.until, self.asked)


class Circuits:
    """The circuits of one process, by agency; kept in memory, so that each process finds out for itself.

    What others are shown of them (`pauses`) decides nothing.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._circuits: dict[str, _Circuit] = {}
        self.process = str(uuid4())
        """Names these circuits among those of other processes."""
        self.changed = False
        """Whether one opened or closed that nobody has been told of."""

    def state(self, agency: str) -> CircuitState:
        """The state of an agency's circuit now."""
        circuit = self._circuits.get(agency)
        if circuit is None or not circuit.next_at:
            return CircuitState.CLOSED
        return CircuitState.OPEN if self._now() < circuit.next_at else CircuitState.HALF_OPEN

    def states(self) -> dict[str, CircuitState]:
        """The agencies whose circuit is not closed."""
        return {agency: self.state(agency) for agency, circuit in self._circuits.items() if circuit.next_at}

    def pauses(self) -> list[Pause]:
        """The circuits that are open, or let one call through, for others to see."""
        now = self._now()
        return [
            Pause(agency, circuit.failures, max(0.0, now - circuit.since), max(0.0, circuit.next_at - now))
            for agency, circuit in sorted(self._circuits.items())
            if circuit.next_at
        ]

    def free(self, agency: str, most: int, busy: int) -> int:
        """How many more calls an agency may get, of `most`, while `busy` are in flight."""
        match self.state(agency):
            case CircuitState.OPEN:
                return 0
            case CircuitState.HALF_OPEN:
                return 1 if busy == 0 else 0
            case CircuitState.CLOSED:
                return max(0, most - busy)

    def note(self, agency: str, *, failed: bool, leave_alone: float = 0.0) -> None:
        """What came of a call; one that failed may have said for how many seconds there shall be no other."""
        if not failed:
            self._close(agency)
            return
        now, circuit = self._now(), self._circuits.setdefault(agency, _Circuit())
        circuit.failures += 1
        before = circuit.next_at
        if leave_alone > 0:
            circuit.asked = max(circuit.asked, now + min(LONGEST_ASKED_SECONDS, leave_alone))
        # What was under way when it opened fails too, and says nothing new but for how long to leave the agency alone.
        if now >= before and _climbs(circuit, asks=leave_alone > 0):
            doubled = 2 ** min(circuit.opened, 10)  # an agency that is away for days would overflow a float
            circuit.until = now + min(LONGEST_SECONDS, OPEN_SECONDS * doubled)
            circuit.opened += 1
        if circuit.next_at > before:
            circuit.since = circuit.since if before else now
            self.changed = True

    def forget(self, agency: str) -> None:
        """Nothing is known of it: it is reached elsewhere from now on, or an operator says that it works again."""
        circuit = self._circuits.pop(agency, None)
        self.changed |= circuit is not None and circuit.next_at > 0

    def _close(self, agency: str) -> None:
        """It works, unless it asked for time since this call began."""
        circuit = self._circuits.get(agency)
        if circuit is not None and self._now() >= circuit.asked:
            self.forget(agency)


def _climbs(circuit: _Circuit, *, asks: bool) -> bool:
    """Whether one more failure keeps an agency from being called for longer, by itself.

    Who says when to come back is taken at its word, until it has failed five times and says nothing the last.
    """
    return circuit.opened > 0 or (circuit.failures >= FAILURES and not asks)
