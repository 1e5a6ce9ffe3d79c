"""What each report says in a sentence or two. Pure."""

from collections.abc import Sequence

from app.referrals.outcome_documents import Disruption
from app.reporting.figures import Answers, all_answers, all_brought
from app.reporting.period import Period
from app.reporting.reports import AgencyAnswers, MadeReferrals, Outcomes
from app.web.words import counted, joined, span

_FEW = 10
"""The inspection of 2015 found many forces with fewer than ten requests in a year."""

_ENOUGH = 10
"""Of fewer answers a median says little: no agency is named for it."""


def of_referrals(made: Sequence[MadeReferrals], over: Period) -> str:
    """How many were made, who made the most, how many made few."""
    total = sum(one.referrals for one in made)
    if len(made) == 1:
        return f"{made[0].name} made {counted(total, 'referral')} {_during(over)}."
    if not total:
        return f"Nobody made a referral {_during(over)}."
    most = max(one.referrals for one in made)
    first = joined([one.name for one in made if one.referrals == most])
    few = sum(one.referrals < _FEW for one in made)
    rest = f" {counted(few, 'force or unit', 'forces and units')} made fewer than ten." if few else ""
    return f"{counted(total, 'referral')} {_was(total)} made {_during(over)}, most by {first} ({most:,}).{rest}"


def of_agencies(found: Sequence[AgencyAnswers], over: Period) -> str:
    """How many were answered, the share of hits, how long it took, and who takes longest."""
    together = all_answers(one.answers for one in found)
    rate, median = together.hit_rate, together.median_seconds
    if rate is None or median is None:
        return f"No agency answered {_during(over)}."
    told = (
        f"{counted(together.answered, 'request')} {_was(together.answered)} answered {_during(over)}: {rate:.0%} were "
        f"hits, and half of the answers came within {span(median)}."
    )
    timed = [one for one in found if _number_of_answers(one.answers) >= _ENOUGH]
    if len(timed) < 2:
        return told
    slowest = max(timed, key=lambda one: one.answers.median_seconds or 0)
    return f"{told} {slowest.name} takes longest: half within {span(slowest.answers.median_seconds or 0)}."


def of_outcomes(found: Sequence[Outcomes], over: Period) -> str:
    """How many actions were recorded, the arrests, and what they did to the groups."""
    together = all_brought(one.brought for one in found)
    if not together.actions:
        return f"No outcome was recorded of an action {_during(over)}."
    arrests = counted(together.numbers.get("arrests", 0), "arrest")
    disruptions = [f"{together.disruptions[kind]:,} {kind}" for kind in Disruption if together.disruptions.get(kind)]
    rest = f" Disruptions: {joined(disruptions, most=4)}." if disruptions else ""
    return f"{counted(together.actions, 'action')} {_during(over)} brought {arrests}.{rest}"


def _number_of_answers(answers: Answers) -> int:
    return sum(answers.times.values())


def _during(over: Period) -> str:
    return f"in {over.words}" if over.first == over.last else f"from {over.words}"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"
