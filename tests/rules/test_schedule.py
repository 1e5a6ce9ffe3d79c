"""What the clock asks of a dispatch."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.parties.codes import Priority
from app.parties.policy import Policy
from app.referrals.deadlines import LONDON, START_OF_DAY, is_working_day, working_days_after
from app.referrals.schedule import (
    Span,
    Step,
    asked,
    expiry,
    first_check,
    is_reminded,
    next_check,
    resume,
    span,
    steps,
)

MONDAY = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001  # made aware by `timezones`


def _days(received: datetime, priority: Priority) -> list[tuple[str, str]]:
    policy = Policy()
    found = steps(span(received, priority, policy), priority, policy)
    return [(at.strftime("%a %d %H:%M"), step.value) for at, step in found]


def test_a_routine_dispatch_is_chased_at_half_time_and_a_working_day_before_the_end() -> None:
    """Ten working days from Monday 2 November; expiry five working days after."""
    assert _days(MONDAY, Priority.ROUTINE) == [
        ("Mon 09 10:00", "chase"),
        ("Fri 13 10:00", "chase"),
        ("Mon 16 10:00", "overdue"),
        ("Mon 23 10:00", "expire"),
    ]


def test_a_priority_dispatch_is_chased_once_at_half_time() -> None:
    """Two working days: no second chase."""
    assert _days(MONDAY, Priority.PRIORITY) == [
        ("Tue 03 10:00", "chase"),
        ("Wed 04 10:00", "overdue"),
        ("Wed 11 10:00", "expire"),
    ]


def test_an_urgent_dispatch_alerts_after_half_an_hour_and_counts_clock_hours() -> None:
    """Four hours, day or night."""
    assert _days(MONDAY, Priority.URGENT) == [
        ("Mon 02 10:30", "alert"),
        ("Mon 02 12:00", "chase"),
        ("Mon 02 14:00", "overdue"),
        ("Tue 03 14:00", "expire"),
    ]


def test_a_body_with_one_working_day_is_chased_at_half_of_the_clocks_time() -> None:
    """By whole days the half would be the receipt; received at a weekend, the day is Monday's."""
    policy = Policy(priority_days=1)
    for received in (MONDAY.replace(hour=9), MONDAY - timedelta(days=1)):
        schedule = steps(span(received, Priority.PRIORITY, policy), Priority.PRIORITY, policy)
        assert [at.strftime("%a %H:%M") for at, _ in schedule[:2]] == ["Mon 21:00", "Tue 09:00"]


@given(moments, st.integers(1, 5))
def test_whoever_has_days_is_chased_before_they_are_over(received: datetime, days: int) -> None:
    """However few: the first that is asked comes after the receipt, before the end, and reminds."""
    policy = Policy(priority_days=days)
    given = span(received, Priority.PRIORITY, policy)
    schedule = steps(given, Priority.PRIORITY, policy)
    first = first_check(schedule, received)
    assert received < first < given.due
    assert asked(schedule, received, first) == {Step.CHASE}


@given(moments, st.sampled_from(Priority))
def test_everything_is_asked_once_and_expiry_comes_last(received: datetime, priority: Priority) -> None:
    """Following `next_check` meets every step, in order, and then ends."""
    policy = Policy()
    schedule = steps(span(received, priority, policy), priority, policy)
    met, at = [], received - timedelta(microseconds=1)
    while (following := next_check(schedule, at)) is not None:
        met.append(following)
        at = following
    assert met == sorted({at for at, _ in schedule})
    assert schedule[-1][1] is Step.EXPIRE
    assert all(at >= received for at, _ in schedule)


@pytest.mark.parametrize("priority", Priority)
def test_what_is_received_after_it_was_due_is_overdue_and_expires_all_the_same(priority: Priority) -> None:
    """Only what would remind of a time before the receipt is left out."""
    late = Span(MONDAY, MONDAY - timedelta(days=40), MONDAY - timedelta(days=30))
    assert {Step.OVERDUE, Step.EXPIRE} <= {step for _, step in steps(late, priority, Policy())}
    assert all(at >= MONDAY for at, step in steps(late, priority, Policy()) if step in (Step.CHASE, Step.ALERT))


def test_what_ended_before_the_clock_last_looked_has_ended() -> None:
    """A reminder that was missed is not made up for; being overdue, and the expiry, are."""
    schedule = [(MONDAY + timedelta(hours=hour), step) for hour, step in enumerate(Step)]
    since, now = MONDAY + timedelta(hours=10), MONDAY + timedelta(hours=11)
    assert asked(schedule, since, now) == {Step.OVERDUE, Step.EXPIRE}
    assert asked(schedule, MONDAY, MONDAY + timedelta(hours=1)) == {Step.CHASE, Step.ALERT}
    assert asked(schedule, MONDAY, MONDAY - timedelta(hours=1)) == set()


@given(moments, st.timedeltas(timedelta(0), timedelta(days=30)), st.sampled_from(Priority))
def test_what_a_question_leaves_is_in_working_time(queried: datetime, stood: timedelta, priority: Priority) -> None:
    """Hours go on to the second; days end within working time, and not before the answer."""
    given, policy = Span(queried, queried + timedelta(days=3), queried + timedelta(days=8)), Policy()
    now = queried + stood
    resumed = resume(given, queried, now, priority, policy)
    assert resumed.received == given.received + stood
    if priority is Priority.URGENT:
        assert (resumed.due, resumed.expires) == (given.due + stood, given.expires + stood)
        return
    due = resumed.due.astimezone(LONDON)
    assert is_working_day(due.date(), policy.working_days)
    assert due.time() >= START_OF_DAY
    assert resumed.due >= now
    assert resumed.expires >= expiry(resumed.due, priority, policy)


@given(moments, st.integers(0, 20), st.integers(0, 20))
def test_a_question_costs_the_agency_no_working_day(queried: datetime, left: int, stood: int) -> None:
    """Answered at the same time of a working day, as many working days are left as when it was asked."""
    policy = Policy()
    # London's noon: a day of UTC may be London's next, or a bank holiday before it.
    queried = working_days_after(queried, 1, policy.working_days).astimezone(LONDON).replace(hour=12)
    now = working_days_after(queried, stood, policy.working_days)
    given = Span(queried, working_days_after(queried, left, policy.working_days) + timedelta(hours=1), queried)
    resumed = resume(given, queried, now, Priority.ROUTINE, policy)
    assert resumed.due == working_days_after(now, left, policy.working_days) + timedelta(hours=1)


@pytest.mark.parametrize(
    ("answered", "due"),
    [
        ("02 10:06", "04 10:01"),
        ("05 10:05", "09 10:00"),
        ("06 16:05", "10 16:00"),
        ("07 12:00", "11 09:00"),  # a Saturday: counts from Monday 09:00, which leaves it just before 09:00
        ("06 08:00", "10 09:00"),
    ],
)
def test_two_days_are_two_days_again(answered: str, due: str) -> None:
    """Due Wednesday 4 November 10:00, asked on Monday 10:05; there is a reminder on the way, as there was."""
    policy, queried, now = Policy(), MONDAY + timedelta(minutes=5), _in_november(answered)
    resumed = resume(span(MONDAY, Priority.PRIORITY, policy), queried, now, Priority.PRIORITY, policy)
    assert resumed.due == _in_november(due)
    assert next(step for at, step in steps(resumed, Priority.PRIORITY, policy) if at > now) is Step.CHASE


def _in_november(words: str) -> datetime:
    return datetime.strptime(f"2026-11-{words} +0000", "%Y-%m-%d %H:%M %z")


def test_who_was_reminded_is_not_reminded_again_for_a_working_day() -> None:
    """Chased on Friday at 10:00: not on Friday again, nor on Monday before 10:00."""
    friday, policy = datetime(2026, 11, 13, 10, tzinfo=UTC), Policy()
    later = (timedelta(hours=4), timedelta(days=3, hours=-1), timedelta(days=3))
    assert [is_reminded(friday, friday + one, Priority.ROUTINE, policy) for one in later] == [True, True, False]
    assert not is_reminded(None, friday, Priority.ROUTINE, policy)
    assert not is_reminded(friday, friday, Priority.URGENT, policy)


@given(moments, st.timedeltas(timedelta(0), timedelta(days=60)), st.sampled_from(Priority))
def test_a_running_clock_has_a_next_moment(received: datetime, late: timedelta, priority: Priority) -> None:
    """An end that has passed is asked at once; a reminder that has is not."""
    schedule, begins = steps(span(received, priority, Policy()), priority, Policy()), received + late
    first = first_check(schedule, begins)
    assert first > begins or (first, Step.OVERDUE) in schedule


def test_what_was_overdue_when_the_agency_asked_stays_so() -> None:
    """It gains no time by asking."""
    given = Span(MONDAY - timedelta(days=3), MONDAY - timedelta(hours=1), MONDAY + timedelta(days=7))
    resumed = resume(given, MONDAY, MONDAY + timedelta(days=5), Priority.PRIORITY, Policy())
    assert resumed.due == MONDAY + timedelta(days=5) - timedelta(hours=1)


def test_a_question_brings_the_alert_and_the_chase_later() -> None:
    """Asked after ten minutes, answered after a day: twenty minutes are left to the alert."""
    given = span(MONDAY, Priority.URGENT, Policy())
    asked_at, now = MONDAY + timedelta(minutes=10), MONDAY + timedelta(days=1)
    resumed = resume(given, asked_at, now, Priority.URGENT, Policy())
    left = [(at - now, step) for at, step in steps(resumed, Priority.URGENT, Policy())]
    assert left == [
        (timedelta(minutes=20), Step.ALERT),
        (timedelta(hours=2) - timedelta(minutes=10), Step.CHASE),
        (timedelta(hours=4) - timedelta(minutes=10), Step.OVERDUE),
        (timedelta(hours=28) - timedelta(minutes=10), Step.EXPIRE),
    ]
