"""What the clock asks of a dispatch."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.parties.codes import Priority
from app.parties.policy import Policy
from app.referrals.lifecycle.reply import resume
from app.referrals.schedule import Step, next_check, span, steps

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


@given(moments, st.timedeltas(timedelta(0), timedelta(days=30)))
def test_a_question_costs_the_agency_no_time(queried: datetime, stood: timedelta) -> None:
    """What was left when it asked is left when it is answered."""
    due, expires = queried + timedelta(days=3), queried + timedelta(days=8)
    clock = resume(queried, due, expires, queried + stood)
    assert clock.due_at - (queried + stood) == due - queried
    assert clock.expires_at - clock.due_at == expires - due
