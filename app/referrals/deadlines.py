"""When an answer is due. Pure.

Urgent counts clock hours; the rest count working days of England and Wales (domain.md, section 4), on the clock of
London, so that a change to or from summer time moves no deadline by an hour. With the usual policy (4 hours; 2 and 10
working days, Monday to Friday):

- urgent, received Saturday 23:00: due Sunday 03:00;
- priority, received Monday 10:15: due Wednesday 10:15;
- priority, received Saturday 15:00: counts from Monday 09:00, due Wednesday 09:00;
- priority, received Monday 07:30: counts from Monday 09:00, due Wednesday 09:00;
- routine, received Thursday 17 December 2026 14:00: due Tuesday 5 January 2027 14:00 (Christmas Day, the substitute for
  Boxing Day on Monday 28 December, and New Year's Day do not count);
- priority, received Friday 27 March 2026 10:00 GMT: due Tuesday 31 March 10:00 BST, which is 09:00 UTC.
"""

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from app.parties.codes import Priority
from app.parties.policy import Policy

LONDON = ZoneInfo("Europe/London")

START_OF_DAY = time(9)
"""When a working day begins. What comes earlier counts from then, or an earlier receipt could fall due later."""


def london_day(moment: datetime) -> date:
    """The day in London."""
    return moment.astimezone(LONDON).date()


def due_at(received: datetime, priority: Priority, policy: Policy) -> datetime:
    """When a referral received then is due, in UTC. Raises `ValueError` for a time without a zone."""
    if received.tzinfo is None:
        raise ValueError("a receipt needs a time zone")
    if priority is Priority.URGENT:
        return received.astimezone(UTC) + timedelta(hours=policy.urgent_hours)
    days = policy.priority_days if priority is Priority.PRIORITY else policy.routine_days
    return _count(received.astimezone(UTC), days, policy.working_days)


# One referral goes to twenty agencies, most of them with the same policy: counted once, looked up for the others.
@lru_cache(maxsize=1024)
def _count(received: datetime, days: int, weekdays: frozenset[int]) -> datetime:
    start = _start(received.astimezone(LONDON), weekdays)
    return datetime.combine(_days_after(start.date(), days, weekdays), start.time(), LONDON).astimezone(UTC)


# Every referral of a day that is received within working hours asks the same.
@lru_cache(maxsize=1024)
def _days_after(day: date, days: int, weekdays: frozenset[int]) -> date:
    for _ in range(days):
        day = _next_working_day(day, weekdays)
    return day


def is_working_day(day: date, weekdays: Collection[int]) -> bool:
    """Whether this is one of the ISO `weekdays` and no bank holiday of England and Wales."""
    return day.isoweekday() in weekdays and day not in _bank_holidays(day.year)


def _start(received: datetime, weekdays: Collection[int]) -> datetime:
    """From when days are counted: the receipt, or the next start of a working day. Both on London's clock."""
    day = received.date()
    if not is_working_day(day, weekdays):
        return datetime.combine(_next_working_day(day, weekdays), START_OF_DAY, LONDON)
    return max(received, datetime.combine(day, START_OF_DAY, LONDON))


def _next_working_day(day: date, weekdays: Collection[int]) -> date:
    day += timedelta(days=1)
    while not is_working_day(day, weekdays):
        day += timedelta(days=1)
    return day


@lru_cache(maxsize=64)
def _bank_holidays(year: int) -> frozenset[date]:
    # Imported at the first deadline: it takes 0.1 s, and most commands never count a day.
    from holidays import country_holidays

    # England stands for both: the bank holidays of Wales are the same.
    return frozenset(country_holidays("GB", subdiv="ENG", years=year))


def working_days_after(moment: datetime, days: int, weekdays: Collection[int]) -> datetime:
    """The same time of London's day that many working days later, in UTC."""
    start = moment.astimezone(LONDON)
    day = start.date()
    for _ in range(days):
        day = _next_working_day(day, weekdays)
    return datetime.combine(day, start.time(), LONDON).astimezone(UTC)


def moved_on(end: datetime, stood_from: datetime, stood_to: datetime, weekdays: Collection[int]) -> datetime:
    """The end that leaves as much of working days from `stood_to` as `end` left from `stood_from`, in UTC.

    As many working days on, by as many hours later or earlier in the day; what that puts before the start of a working
    day, or on no working day, is at the start of the next. Asked Monday 10:05 what is due Wednesday 10:00, answered
    Friday 16:05: due Tuesday 16:00.
    """
    was, ends, begins = (_start(moment.astimezone(LONDON), weekdays) for moment in (stood_from, end, stood_to))
    day, first = begins.date(), was.date()
    while first < ends.date():
        first, day = _next_working_day(first, weekdays), _next_working_day(day, weekdays)
    since_midnight = [moment.replace(tzinfo=None) - datetime.combine(moment, time()) for moment in (was, ends, begins)]
    later = since_midnight[1] - since_midnight[0] + since_midnight[2]
    return _start((datetime.combine(day, time()) + later).replace(tzinfo=LONDON), weekdays).astimezone(UTC)


def working_days_before(moment: datetime, days: int, weekdays: Collection[int]) -> datetime:
    """The same time of London's day that many working days earlier, in UTC."""
    start = moment.astimezone(LONDON)
    day = start.date()
    for _ in range(days):
        day -= timedelta(days=1)
        while not is_working_day(day, weekdays):
            day -= timedelta(days=1)
    return datetime.combine(day, start.time(), LONDON).astimezone(UTC)
