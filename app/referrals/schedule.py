"""What the clock asks of a dispatch: when to chase, to alert, to call it overdue, to let it expire. Pure.

Chased at half time, and one working day before the end where more than two were given; urgent and unacknowledged after
30 minutes alerts the co-ordinator (domain.md, section 4).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from app.parties.codes import Priority
from app.parties.policy import Policy
from app.referrals.deadlines import due_at, moved_on, working_days_after, working_days_before

UNACKNOWLEDGED_MINUTES = 30
"""How long an urgent dispatch may stay unacknowledged before the co-ordinator is alerted."""


class Step(StrEnum):
    """What happens at a moment."""

    CHASE = "chase"
    ALERT = "alert"  # urgent, and nobody has said that they have it
    OVERDUE = "overdue"
    EXPIRE = "expire"


_ENDS = frozenset({Step.OVERDUE, Step.EXPIRE})
"""What is asked however late. A reminder whose time was missed stays out."""


@dataclass(frozen=True, slots=True)
class Span:
    """The time a dispatch was given, all in UTC.

    `received`: from when it counts, which is when it entered the inbox, and later by as long as its clock stood.
    """

    received: datetime
    due: datetime
    expires: datetime


def span(received: datetime, priority: Priority, policy: Policy) -> Span:
    """The time given to a dispatch that is received then."""
    due = due_at(received, priority, policy)
    return Span(received, due, expiry(due, priority, policy))


def expiry(due: datetime, priority: Priority, policy: Policy) -> datetime:
    """When a dispatch that is due then expires: the due time plus the grace of the agency's policy."""
    if priority is Priority.URGENT:
        return due + timedelta(hours=policy.urgent_grace_hours)
    return working_days_after(due, policy.grace_days, policy.working_days)


def resume(given: Span, queried: datetime, now: datetime, priority: Priority, policy: Policy) -> Span:
    """The time of a dispatch whose clock stood since a question, and goes on now.

    What was left is left again: hours where hours are counted, else working days of the agency's; the grace is counted
    from there, if that gives it more. What was overdue when the agency asked stays it, by as much.
    """
    stood = now - queried

    def moved(end: datetime) -> datetime:
        if priority is Priority.URGENT or end <= queried:
            return end + stood
        return moved_on(end, queried, now, policy.working_days)

    due = moved(given.due)
    return Span(given.received + stood, due, max(moved(given.expires), expiry(due, priority, policy)))


def steps(given: Span, priority: Priority, policy: Policy) -> list[tuple[datetime, Step]]:
    """Every moment at which the clock asks something, in order of time. No reminder comes before the receipt."""
    found: list[tuple[datetime, Step]] = []
    if priority is Priority.URGENT:
        found.append((given.received + (given.due - given.received) / 2, Step.CHASE))
        found.append((given.received + timedelta(minutes=UNACKNOWLEDGED_MINUTES), Step.ALERT))
    else:
        days = policy.priority_days if priority is Priority.PRIORITY else policy.routine_days
        found.append((_half_time(given.due, days, policy.working_days), Step.CHASE))
        if days > 2:
            found.append((working_days_before(given.due, 1, policy.working_days), Step.CHASE))
    reminders = [(at, step) for at, step in found if at >= given.received]
    ends = [(given.due, Step.OVERDUE), (given.expires, Step.EXPIRE)]
    return sorted((at.astimezone(UTC), step) for at, step in reminders + ends)


def _half_time(due: datetime, days: int, weekdays: Collection[int]) -> datetime:
    """The half of so many working days before `due`, in whole days.

    Of a single one it is half of the clock's time: in whole days it would be where counting began, and remind nobody.
    """
    if days == 1:
        return due - (due - working_days_before(due, 1, weekdays)) / 2
    return working_days_before(due, days - days // 2, weekdays)


def asked(schedule: Iterable[tuple[datetime, Step]], since: datetime, now: datetime) -> set[Step]:
    """What the clock asks from `since` to `now`; to be overdue or to expire also where that was missed before."""
    return {step for at, step in schedule if at <= now and (at >= since or step in _ENDS)}


def first_check(schedule: Iterable[tuple[datetime, Step]], begins: datetime) -> datetime:
    """The first moment at which the clock asks something of a dispatch whose time begins, or goes on, then.

    An end that had passed by then, unnoticed or not, is one: a running clock always has a next moment.
    """
    return min(at for at, step in schedule if at > begins or step in _ENDS)


def next_check(schedule: Iterable[tuple[datetime, Step]], after: datetime) -> datetime | None:
    """The first moment later than `after`, None where the clock asks nothing more."""
    return min((at for at, _ in schedule if at > after), default=None)


def is_reminded(chased_at: datetime | None, now: datetime, priority: Priority, policy: Policy) -> bool:
    """Whether the agency was reminded so lately that another reminder would only repeat it.

    A question can move the half time that was already over to just after its answer. Hours move exactly.
    """
    if chased_at is None or priority is Priority.URGENT:
        return False
    return chased_at > working_days_before(now, 1, policy.working_days)
