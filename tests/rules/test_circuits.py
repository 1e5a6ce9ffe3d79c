"""An agency that fails again and again is left alone for a while, then asked once, and nobody else notices."""

import pytest

from app.referrals.circuits import Pause
from workers.circuits import (
    FAILURES,
    LONGEST_ASKED_SECONDS,
    LONGEST_SECONDS,
    OPEN_SECONDS,
    Circuits,
    CircuitState,
)


class Clock:
    """A clock that stands until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def broken(clock: Clock) -> Circuits:
    """Circuits in which HMRC has just failed too often."""
    circuits = Circuits(clock)
    for _ in range(FAILURES):
        assert circuits.free("HMRC", 20, busy=0) == 20
        circuits.note("HMRC", failed=True)
    return circuits


def test_an_agency_gets_its_own_slots_and_no_more() -> None:
    assert Circuits().free("HMRC", 20, busy=15) == 5
    assert Circuits().free("HMRC", 20, busy=25) == 0


def test_failures_in_a_row_open_the_circuit_of_that_agency_only() -> None:
    circuits = broken(Clock())
    assert circuits.free("HMRC", 20, busy=0) == 0
    assert circuits.free("DWP", 20, busy=0) == 20
    assert circuits.states() == {"HMRC": CircuitState.OPEN}


def test_a_success_in_between_starts_the_count_anew() -> None:
    circuits = Circuits()
    for _ in range(3):
        for _ in range(FAILURES - 1):
            circuits.note("HMRC", failed=True)
        circuits.note("HMRC", failed=False)
    assert circuits.state("HMRC") is CircuitState.CLOSED


def test_after_a_while_one_call_finds_out_whether_it_works_again() -> None:
    clock = Clock()
    circuits = broken(clock)
    clock.now += OPEN_SECONDS
    assert circuits.state("HMRC") is CircuitState.HALF_OPEN
    assert circuits.free("HMRC", 20, busy=0) == 1
    assert circuits.free("HMRC", 20, busy=1) == 0
    circuits.note("HMRC", failed=False)
    assert circuits.free("HMRC", 20, busy=0) == 20
    assert circuits.states() == {}


def test_a_probe_that_fails_doubles_the_wait_up_to_a_bound() -> None:
    clock = Clock()
    circuits = broken(clock)
    waits = []
    for _ in range(8):
        opened = clock.now
        while circuits.state("HMRC") is CircuitState.OPEN:
            clock.now += 1
        waits.append(clock.now - opened)
        circuits.note("HMRC", failed=True)
    assert waits[:3] == [OPEN_SECONDS, 2 * OPEN_SECONDS, 4 * OPEN_SECONDS]
    assert waits[-1] == LONGEST_SECONDS


def test_what_others_are_shown_tells_since_when_and_when_the_next_call_is() -> None:
    clock = Clock()
    clock.now = 100.0
    circuits = broken(clock)
    assert circuits.changed
    assert circuits.pauses() == [Pause("HMRC", FAILURES, 0.0, OPEN_SECONDS)]
    circuits.changed = False
    circuits.note("HMRC", failed=True)
    assert not circuits.changed, "it was under way"
    clock.now += OPEN_SECONDS
    assert circuits.pauses() == [Pause("HMRC", FAILURES + 1, OPEN_SECONDS, 0.0)]
    circuits.note("HMRC", failed=True)
    assert circuits.changed
    assert circuits.pauses() == [Pause("HMRC", FAILURES + 2, OPEN_SECONDS, 2 * OPEN_SECONDS)]
    circuits.changed = False
    circuits.note("DWP", failed=False)
    assert not circuits.changed
    circuits.note("HMRC", failed=False)
    assert circuits.changed
    assert circuits.pauses() == []


def test_what_was_under_way_when_it_opened_does_not_make_the_wait_longer() -> None:
    clock = Clock()
    circuits = broken(clock)
    for _ in range(20):
        circuits.note("HMRC", failed=True)
    clock.now += OPEN_SECONDS
    assert circuits.state("HMRC") is CircuitState.HALF_OPEN


def test_who_asks_for_time_is_left_alone_for_it_from_the_first_failure_on() -> None:
    clock = Clock()
    circuits = Circuits(clock)
    circuits.note("HMRC", failed=True, leave_alone=2 * LONGEST_SECONDS)
    assert circuits.changed
    assert circuits.pauses() == [Pause("HMRC", 1, 0.0, 2 * LONGEST_SECONDS)]
    clock.now += 2 * LONGEST_SECONDS - 1
    assert circuits.free("HMRC", 20, busy=0) == 0
    clock.now += 1
    assert circuits.free("HMRC", 20, busy=0) == 1, "one finds out"
    circuits.note("HMRC", failed=True)
    assert circuits.free("HMRC", 20, busy=0) == 1, "it failed too, and asked for nothing more"
    assert circuits.free("HMRC", 20, busy=1) == 0
    circuits.note("HMRC", failed=False)
    assert circuits.states() == {}


def test_who_asks_for_a_second_is_left_alone_for_that_and_not_for_longer_the_more_often_it_asks() -> None:
    clock = Clock()
    circuits = Circuits(clock)
    for _ in range(2):
        circuits.note("HMRC", failed=True, leave_alone=1.0)
        assert circuits.state("HMRC") is CircuitState.OPEN
        clock.now += 1
        assert circuits.state("HMRC") is CircuitState.HALF_OPEN


@pytest.mark.parametrize("apart", [0.0, 1.0])
def test_what_was_under_way_may_ask_for_a_second_each(apart: float) -> None:
    clock = Clock()
    circuits = Circuits(clock)
    for _ in range(20):
        clock.now += apart
        circuits.note("HMRC", failed=True, leave_alone=1.0)
    [pause] = circuits.pauses()
    assert pause.seconds_left == 1.0
    clock.now += 1
    assert circuits.state("HMRC") is CircuitState.HALF_OPEN


def test_who_asked_and_then_fails_without_a_word_is_left_alone_as_long_as_any_other() -> None:
    clock = Clock()
    circuits = Circuits(clock)
    for _ in range(FAILURES - 1):
        circuits.note("HMRC", failed=True, leave_alone=1.0)
        clock.now += 1
    circuits.note("HMRC", failed=True)
    [pause] = circuits.pauses()
    assert pause.seconds_left == OPEN_SECONDS, "asking was no opening"


@pytest.mark.parametrize(("asked", "left"), [(1.0, 2 * OPEN_SECONDS), (3 * OPEN_SECONDS, 3 * OPEN_SECONDS)])
def test_a_probe_that_fails_and_asks_is_left_alone_for_the_longer_of_the_two(asked: float, left: float) -> None:
    clock = Clock()
    circuits = broken(clock)
    clock.now += OPEN_SECONDS
    circuits.note("HMRC", failed=True, leave_alone=asked)
    assert circuits.pauses() == [Pause("HMRC", FAILURES + 1, OPEN_SECONDS, left)]


def test_of_an_agency_that_is_forgotten_nothing_is_held_against_it() -> None:
    circuits = Circuits(Clock())
    circuits.note("HMRC", failed=True, leave_alone=3_600.0)
    circuits.changed = False
    circuits.forget("DWP")
    assert not circuits.changed
    circuits.forget("HMRC")
    assert circuits.changed
    assert circuits.pauses() == []
    assert circuits.free("HMRC", 20, busy=0) == 20


def test_what_was_under_way_may_ask_for_more_time_and_never_for_less() -> None:
    clock = Clock()
    circuits = broken(clock)
    for asked, left in ((60.0, 60.0), (1.0, 60.0), (0.0, 60.0), (90.0, 90.0)):
        circuits.note("HMRC", failed=True, leave_alone=asked)
        [pause] = circuits.pauses()
        assert pause.seconds_left == left
    clock.now += 90
    circuits.note("HMRC", failed=True)
    [pause] = circuits.pauses()
    assert pause.seconds_left == 2 * OPEN_SECONDS, "it opened once before"


def test_nobody_is_left_alone_for_longer_than_an_hour_because_it_asks() -> None:
    circuits = Circuits(Clock())
    circuits.note("HMRC", failed=True, leave_alone=86_400.0)
    [pause] = circuits.pauses()
    assert pause.seconds_left == LONGEST_ASKED_SECONDS == 3_600


def test_an_agency_that_is_away_for_days_is_still_asked_now_and_then() -> None:
    clock = Clock()
    circuits = broken(clock)
    for _ in range(1_200):
        clock.now += LONGEST_SECONDS
        assert circuits.state("HMRC") is CircuitState.HALF_OPEN
        circuits.note("HMRC", failed=True)
    assert circuits.state("HMRC") is CircuitState.OPEN
