"""When an answer is due."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.parties.codes import Priority
from app.parties.policy import Policy
from app.referrals.deadlines import LONDON, due_at, is_working_day

USUAL = Policy()
WEEK = USUAL.working_days

receipts = st.datetimes(datetime(2024, 1, 1), datetime(2032, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
counted = st.sampled_from([Priority.PRIORITY, Priority.ROUTINE])
policies = st.builds(
    Policy,
    working_days=st.frozensets(st.integers(1, 7), min_size=1),
    urgent_hours=st.integers(1, 48),
    priority_days=st.integers(1, 5),
    routine_days=st.integers(5, 20),
)


def london(text: str) -> datetime:
    """A time on London's clock, such as `2026-03-27 10:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=LONDON)


@pytest.mark.parametrize(
    ("priority", "received", "due"),
    [
        (Priority.URGENT, "2026-11-21 23:00", "2026-11-22 03:00"),
        (Priority.PRIORITY, "2026-11-23 10:15", "2026-11-25 10:15"),
        (Priority.PRIORITY, "2026-11-20 17:45", "2026-11-24 17:45"),
        (Priority.PRIORITY, "2026-11-21 15:00", "2026-11-25 09:00"),
        (Priority.PRIORITY, "2026-11-23 07:30", "2026-11-25 09:00"),
        (Priority.ROUTINE, "2026-11-23 10:15", "2026-12-07 10:15"),
        (Priority.ROUTINE, "2026-12-17 14:00", "2027-01-05 14:00"),
        (Priority.PRIORITY, "2026-04-02 12:00", "2026-04-08 12:00"),  # Maundy Thursday: Good Friday, Easter Monday
        (Priority.PRIORITY, "2027-12-24 12:00", "2027-12-30 12:00"),  # Christmas at a weekend: two substitute days
        (Priority.PRIORITY, "2022-09-16 12:00", "2022-09-21 12:00"),  # the one-off holiday of 19 September 2022
    ],
)
def test_the_due_time_is_the_one_a_desk_would_count(priority: Priority, received: str, due: str) -> None:
    assert due_at(london(received), priority, USUAL) == london(due)


def test_a_deadline_over_the_change_to_summer_time_keeps_londons_clock() -> None:
    received = datetime(2026, 3, 27, 10, tzinfo=UTC)
    assert due_at(received, Priority.PRIORITY, USUAL) == datetime(2026, 3, 31, 9, tzinfo=UTC)


def test_a_deadline_over_the_change_to_winter_time_keeps_londons_clock() -> None:
    received = datetime(2026, 10, 23, 9, tzinfo=UTC)
    assert due_at(received, Priority.PRIORITY, USUAL) == datetime(2026, 10, 27, 10, tzinfo=UTC)


def test_late_in_the_evening_in_utc_is_already_the_next_day_in_summer() -> None:
    sunday_in_utc = datetime(2026, 7, 5, 23, 30, tzinfo=UTC)  # Monday 00:30 in London
    assert due_at(sunday_in_utc, Priority.PRIORITY, USUAL) == london("2026-07-08 09:00")


@pytest.mark.parametrize("change", ["2026-03-29 00:30", "2026-10-25 00:30"])
def test_urgent_hours_pass_as_on_a_stopwatch_when_the_clocks_change(change: str) -> None:
    received = london(change).astimezone(UTC)
    assert due_at(received, Priority.URGENT, USUAL) - received == timedelta(hours=4)


@given(receipts, counted, policies)
def test_what_counts_days_is_due_on_a_working_day_after_the_receipt(
    received: datetime, priority: Priority, policy: Policy
) -> None:
    due = due_at(received, priority, policy)
    assert due.tzinfo is UTC
    assert due > received
    assert is_working_day(due.astimezone(LONDON).date(), policy.working_days)
    assert due.astimezone(LONDON).time() >= time(9)


@given(receipts, receipts, st.sampled_from(Priority), policies)
def test_an_earlier_receipt_is_never_due_later(
    one: datetime, other: datetime, priority: Priority, policy: Policy
) -> None:
    first, second = sorted([one, other])
    assert due_at(first, priority, policy) <= due_at(second, priority, policy)


@given(receipts, st.timedeltas(timedelta(0), timedelta(days=4)), counted, policies)
def test_a_receipt_a_little_later_is_never_due_earlier(
    received: datetime, later: timedelta, priority: Priority, policy: Policy
) -> None:
    assert due_at(received, priority, policy) <= due_at(received + later, priority, policy)


@given(receipts, counted)
def test_as_many_working_days_pass_as_were_given(received: datetime, priority: Priority) -> None:
    due = due_at(received, priority, USUAL).astimezone(LONDON).date()
    start = received.astimezone(LONDON).date()
    between = [start + timedelta(days=n) for n in range(1, (due - start).days + 1)]
    given_days = 2 if priority is Priority.PRIORITY else 10
    # A receipt on a day off counts from the next working day, which is then one more.
    assert sum(is_working_day(day, WEEK) for day in between) == given_days + (not is_working_day(start, WEEK))


def test_an_agency_that_works_at_weekends_is_due_at_the_weekend() -> None:
    every_day = Policy(working_days=frozenset(range(1, 8)))
    assert due_at(london("2026-11-20 12:00"), Priority.PRIORITY, every_day) == london("2026-11-22 12:00")


def test_the_agencys_own_response_time_counts() -> None:
    slow = Policy(urgent_hours=12, priority_days=3, routine_days=20)
    assert due_at(london("2026-11-23 12:00"), Priority.URGENT, slow) == london("2026-11-24 00:00")
    assert due_at(london("2026-11-23 12:00"), Priority.PRIORITY, slow) == london("2026-11-26 12:00")
    assert due_at(london("2026-11-23 12:00"), Priority.ROUTINE, slow) == london("2026-12-21 12:00")


def test_scotlands_holidays_are_working_days_here() -> None:
    assert is_working_day(date(2026, 11, 30), WEEK)  # St Andrew's Day
    assert is_working_day(date(2026, 1, 2), WEEK)
    assert not is_working_day(date(2026, 8, 31), WEEK)  # the last Monday of August


def test_a_receipt_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        due_at(datetime(2026, 11, 23, 12), Priority.ROUTINE, USUAL)  # noqa: DTZ001 - that is the point
