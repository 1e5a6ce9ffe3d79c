"""What each report says in a sentence. Pure."""

from collections.abc import Sequence

from app.reporting.figures import Answers
from app.reporting.period import Period
from app.reporting.reports import AgencyAnswers, MadeReferrals
from app.web.words import counted, joined, span

_FEW = 10
"""The inspection of 2015 found many forces with fewer than ten requests in a year."""

_ENOUGH = 10
"""Of fewer answers a median says little: no agency is named for it."""


def of_referrals(made: Sequence[MadeReferrals], over: Period) -> str:
    """How many were made, who made the most, how many made few."""
    total = sum(one.referrals for one in made)
    during = f"in {over.words}" if over.first == over.last else f"from {over.words}"
    if len(made) == 1:
        return f"{made[0].name} made {counted(total, 'referral')} {during}."
    if not total:
        return f"Nobody made a referral {during}."
    most = max(one.referrals for one in made)
    first = joined([one.name for one in made if one.referrals == most])
    few = sum(one.referrals < _FEW for one in made)
    rest = f" {counted(few, 'force or unit', 'forces and units')} made fewer than ten." if few else ""
    return f"{counted(total, 'referral')} {was(total)} made {during}, most of them by {first} ({most:,}).{rest}"


def of_agencies(found: Sequence[AgencyAnswers], together: Answers, over: Period) -> str:
    """How many were answered, the share of hits, how long it took, and who takes longest."""
    during = f"in {over.words}" if over.first == over.last else f"from {over.words}"
    rate, median = together.hit_rate, together.median_seconds
    if rate is None or median is None:
        return f"No agency answered {during}."
    answered = counted(together.answered, "request")
    told = f"{answered} {was(together.answered)} answered {during}: {rate:.0%} were hits, half came within {span(median)}."
    timed = [one for one in found if sum(one.answers.times.values()) >= _ENOUGH]
    if len(timed) < 2:
        return told
    slowest = max(timed, key=lambda one: one.answers.median_seconds or 0)
    return f"{told} {slowest.name} takes longest: half of its answers within {span(slowest.answers.median_seconds or 0)}."


def was(number: int) -> str:
    """`was` or `were`."""
    return "was" if number == 1 else "were"
