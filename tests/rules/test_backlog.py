"""The bounded backlog: what is refused and when, how long ingest rests, and what `Retry-After` says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.referrals.backlog import (
    LONGEST_REST_SECONDS,
    LONGEST_RETRY_SECONDS,
    SHORTEST_RETRY_SECONDS,
    Backlog,
    Bounds,
    Cause,
    batch_room,
    refuses,
    rest,
    retry_after,
    room,
)
from app.referrals.codes import PriorityRank

ROUTINE, PRIORITY, URGENT = PriorityRank.ROUTINE, PriorityRank.PRIORITY, PriorityRank.URGENT
BOUNDS = Bounds(referrals=100, seconds=60.0)


def refused(backlog: Backlog) -> list[PriorityRank]:
    return [priority for priority in (ROUTINE, PRIORITY, URGENT) if refuses(backlog, BOUNDS, priority)]


@pytest.mark.parametrize(
    ("waiting", "said"),
    [
        (99, []),
        (100, [ROUTINE]),
        (149, [ROUTINE]),
        (150, [ROUTINE, PRIORITY]),
        (199, [ROUTINE, PRIORITY]),
        (200, [ROUTINE, PRIORITY, URGENT]),
    ],
)
def test_the_more_wait_the_more_is_refused_and_what_is_urgent_last(waiting: int, said: list[PriorityRank]) -> None:
    assert refused(Backlog(waiting)) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(59.9, []), (60, [ROUTINE]), (90, [ROUTINE, PRIORITY]), (86_400, [ROUTINE, PRIORITY])]
)
def test_however_long_nothing_moves_what_is_urgent_is_taken(seconds: float, said: list[PriorityRank]) -> None:
    assert refused(Backlog(1, seconds)) == said


def test_the_cause_is_told() -> None:
    assert refuses(Backlog(100, 0.0), BOUNDS, ROUTINE) is Cause.REFERRALS
    assert refuses(Backlog(1, 60.0), BOUNDS, ROUTINE) is Cause.SECONDS


@given(
    waiting=st.integers(0, 400),
    seconds=st.floats(0, 1_000),
    bounds=st.builds(Bounds, st.integers(1, 200), st.floats(0.1, 500)),
    priority=st.sampled_from(PriorityRank),
)
def test_as_many_are_taken_as_there_is_room_and_no_more(
    waiting: int, seconds: float, bounds: Bounds, priority: PriorityRank
) -> None:
    free = room(Backlog(waiting, seconds), bounds, priority)
    assert (free == 0) == (refuses(Backlog(waiting, seconds), bounds, priority) is not None)
    if free:
        assert refuses(Backlog(waiting + free - 1, seconds), bounds, priority) is None
        assert refuses(Backlog(waiting + free, seconds), bounds, priority) is Cause.REFERRALS


def test_ingest_rests_the_longer_the_longer_the_oldest_waits() -> None:
    rests = [rest(Backlog(500, seconds, workers_silent=1.0)) for seconds in (0.0, 0.5, 1.0, 2.0, 5.5, 60.0)]
    assert rests == sorted(rests)
    assert rests[1] == 0.0 < rests[2] < rests[3] < rests[4] == rests[5] == LONGEST_REST_SECONDS


@pytest.mark.parametrize("silent", [None, 31.0])
def test_nobody_is_made_to_wait_for_workers_that_do_not_work(silent: float | None) -> None:
    assert rest(Backlog(500, 60.0, workers_silent=silent)) == 0.0


@given(excess=st.integers(0, 10**7), drained=st.floats(0, 10**6), chance=st.floats(0, 1))
def test_retry_after_is_between_a_second_and_a_minute(excess: int, drained: float, chance: float) -> None:
    assert SHORTEST_RETRY_SECONDS <= retry_after(excess, drained, chance) <= LONGEST_RETRY_SECONDS


def test_retry_after_follows_how_fast_the_backlog_shrinks() -> None:
    assert retry_after(1_000, 100.0, 0.0) == 10
    assert retry_after(1_000, 100.0, 1.0) == 13
    assert retry_after(1_000, 0.0, 1.0) == LONGEST_RETRY_SECONDS


def test_batches_fill_a_small_part_of_the_bound_and_rest_while_fan_out_is_late() -> None:
    bounds = Bounds(20_000, 120.0)
    assert batch_room(Backlog(), bounds) == 1_000
    assert batch_room(Backlog(400, 1.9), bounds) == 600
    assert batch_room(Backlog(400, 2.0), bounds) == 0
    assert batch_room(Backlog(5_000, 0.1), bounds) == 0
    assert batch_room(Backlog(), Bounds(1, 120.0)) == 1, "a batch goes on whatever the bound"
