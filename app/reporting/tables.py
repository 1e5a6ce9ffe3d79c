"""The reports as tables of plain cells, for CSV. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.referrals.codes import DeclineReason
from app.referrals.outcome_documents import Disruption, pounds
from app.reporting.figures import MONEY, NOT_KEPT, PEOPLE_AND_ORDERS, Answers, Brought
from app.reporting.period import Period, written
from app.reporting.reports import AgencyAnswers, MadeReferrals, Outcomes
from app.web.csv_table import Cell

STAGES = ("unseen", "seen", "acknowledged", "question_open")
"""How far an agency had got with what expired."""

REASONS = (*(reason.value for reason in DeclineReason), NOT_KEPT)


@dataclass(frozen=True, slots=True)
class Table:
    """A heading and rows of as many cells."""

    heading: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def of_referrals(made: Iterable[MadeReferrals], over: Period) -> Table:
    """A row an originator, a column a month."""
    heading = ["party", "name", "region", "referrals", *(written(month) for month in over.months)]
    return Table(heading, [[one.party, one.name, one.region, one.referrals, *one.by_month] for one in made])


def of_agencies(found: Iterable[AgencyAnswers]) -> Table:
    """A row an agency, a column a figure; times in seconds."""
    heading = ["agency", "name", "ended", "hits", "no_hits", "hit_rate", "median_seconds", "p90_seconds"]
    heading += [f"declined_{reason}" for reason in REASONS] + [f"expired_{stage}" for stage in STAGES]
    return Table(
        [*heading, "undeliverable", "cancelled"], [[one.agency, one.name, *_of_answers(one.answers)] for one in found]
    )


def of_outcomes(found: Iterable[Outcomes]) -> Table:
    """A row an originator, a column a figure; money in pounds."""
    heading = ["party", "name", "region", "actions", *(f"{kind}_disruptions" for kind in Disruption)]
    heading += [*PEOPLE_AND_ORDERS, *(name.removesuffix("_pence") for name in MONEY)]
    return Table(heading, [[one.party, one.name, one.region, *_of_actions(one.brought)] for one in found])


def _of_answers(answers: Answers) -> list[Cell]:
    return [
        *(answers.ended, answers.hits, answers.no_hits),
        *(answers.hit_rate, answers.median_seconds, answers.p90_seconds),
        *(answers.declined.get(reason, 0) for reason in REASONS),
        *(answers.expired.get(stage, 0) for stage in STAGES),
        *(answers.undeliverable, answers.cancelled),
    ]


def _of_actions(brought: Brought) -> list[Cell]:
    return [
        brought.actions,
        *(brought.disruptions.get(kind, 0) for kind in Disruption),
        *(brought.numbers.get(name, 0) for name in PEOPLE_AND_ORDERS),
        *(pounds(brought.numbers.get(name, 0)) for name in MONEY),
    ]
