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


class CircuitState(StrEnum):
    """Whether an agency is called."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"  # one call at a time


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    opened: int = 0
    since: float = 0.0
    until: float = 0.0


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
        if circuit is None or not circuit.opened:
            return CircuitState.CLOSED
        return CircuitState.OPEN if self._now() < circuit.until else CircuitState.HALF_OPEN

    def states(self) -> dict[str, CircuitState]:
        """The agencies whose circuit is not closed."""
        return {agency: self.state(agency) for agency, circuit in self._circuits.items() if circuit.opened}

    def pauses(self) -> list[Pause]:
        """The circuits that are open, or let one call through, for others to see."""
        now = self._now()
        return [
            Pause(agency, circuit.failures, max(0.0, now - circuit.since), max(0.0, circuit.until - now))
            for agency, circuit in sorted(self._circuits.items())
            if circuit.opened
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

    def note(self, agency: str, *, failed: bool) -> None:
        """What came of a call."""
        if not failed:
            closed = self._circuits.pop(agency, None)
            self.changed |= closed is not None and closed.opened > 0
            return
        circuit = self._circuits.setdefault(agency, _Circuit())
        circuit.failures += 1
        # What was under way when it opened fails too, and says nothing new.
        if circuit.failures >= FAILURES and self._now() >= circuit.until:
            circuit.since = circuit.since if circuit.opened else self._now()
            circuit.until = self._now() + min(LONGEST_SECONDS, OPEN_SECONDS * 2**circuit.opened)
            circuit.opened += 1
            self.changed = True
