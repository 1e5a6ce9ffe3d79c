"""Retention as pure rules: a referral's group, when it is reviewed, and what stands against disposing of it.

MoPI means review, not deletion by date: a date passed makes a review due, and only a review disposes.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from app.parties.codes import CrimeType
from app.referrals.codes import Criterion
from app.referrals.states import ReferralState

CLOSED = frozenset({ReferralState.COMPLETED, ReferralState.CANCELLED, ReferralState.REJECTED})
"""The states from whose beginning a review date counts."""


@dataclass(frozen=True, slots=True)
class Group:
    """A MoPI group: its number (1 to 4), its name, and the years from a referral's end to its first review."""

    number: int
    name: str
    review_after_years: int


@dataclass(frozen=True, slots=True)
class Rules:
    """One release of the reference data: the groups by number, and the number that each code leads to."""

    release: int
    groups: Mapping[int, Group]
    crime_types: Mapping[CrimeType, int]
    criteria: Mapping[Criterion, int]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a referral stands. `review_on` is None where it has no review date; `decided` says: to be disposed of."""

    state: ReferralState
    review_on: date | None = None
    on_legal_hold: bool = False
    decided: bool = False
    disposed: bool = False


class Obstacle(StrEnum):
    """What stands against disposing of a referral, the weightiest first."""

    DISPOSED = "it is disposed of already"
    OPEN = "it is still open"
    LEGAL_HOLD = "it is on legal hold"
    UNDATED = "it has no review date"
    TOO_EARLY = "its review date has not come"
    UNDECIDED = "no review has decided that it goes"


def group_of(rules: Rules, crime_types: Collection[CrimeType], criterion: Criterion | None) -> Group:
    """The first group that any of the codes leads to. Raises `ValueError` where no code is given."""
    numbers = [rules.crime_types[crime_type] for crime_type in crime_types]
    if criterion is not None and criterion in rules.criteria:
        numbers.append(rules.criteria[criterion])
    if not numbers:
        raise ValueError("a referral has at least one crime type")
    return rules.groups[min(numbers)]


def review_on(group: Group, closed: date) -> date:
    """The day of the first review of a referral that ended on this day. Of 29 February, 1 March where there is none."""
    year = closed.year + group.review_after_years
    try:
        return closed.replace(year=year)
    except ValueError:
        return date(year, 3, 1)


def may_be_decided(standing: Standing, today: date, *, early: bool) -> Obstacle | None:
    """What stands against deciding that it goes, None where nothing does.

    `early`: the reviewer says so before its date has come.
    """
    if standing.disposed:
        return Obstacle.DISPOSED
    if standing.state not in CLOSED:
        return Obstacle.OPEN
    if standing.on_legal_hold:
        return Obstacle.LEGAL_HOLD
    if standing.review_on is None:
        return Obstacle.UNDATED
    if standing.review_on > today and not early:
        return Obstacle.TOO_EARLY
    return None


def may_be_disposed(standing: Standing, today: date) -> Obstacle | None:
    """What stands against disposing of it now, None where nothing does. A decision covers a date that has not come."""
    if obstacle := may_be_decided(standing, today, early=True):
        return obstacle
    return None if standing.decided else Obstacle.UNDECIDED
