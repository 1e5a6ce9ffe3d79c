"""The reports as a page shows them: sections of a chart and the table that tells the same. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from markupsafe import Markup

from app.referrals.outcome_documents import Disruption
from app.reporting.charts import Chart, svg
from app.reporting.figures import Answers, Brought, all_answers, all_brought
from app.reporting.period import Period
from app.reporting.reports import AgencyAnswers, MadeReferrals, Outcomes
from app.reporting.tables import STAGES
from app.web.words import plain, span

_NONE = "–"
_STAGES = {
    "unseen": "Never looked at",
    "seen": "Seen, not acknowledged",
    "acknowledged": "Acknowledged",
    "question_open": "Its question was not answered",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A chart (None where there is nothing to draw) over a table. `numbers` is how many columns from the right are.

    `name` is a word for ids; `note` says how the figures are to be read.
    """

    name: str
    heading: str
    chart: Markup | None
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: int
    note: str = ""


def of_referrals(made: Sequence[MadeReferrals], over: Period) -> list[Section]:
    """By force, the most first; and by month."""
    ordered = sorted(made, key=lambda one: (-one.referrals, one.name))
    by_month = {month: sum(one.by_month[place] for one in made) for place, month in enumerate(over.months)}
    months = _bars(
        "by-month",
        "Referrals by month",
        over,
        [(f"{month:%b %Y}", float(number)) for month, number in by_month.items()],
    )
    sections = [
        Section(
            "by-month",
            "By month",
            months,
            ("Month", "Referrals"),
            [(f"{month:%B %Y}", f"{number:,}") for month, number in by_month.items()],
            numbers=1,
        )
    ]
    if len(made) < 2:
        return sections
    bars = [(one.name, float(one.referrals)) for one in ordered if one.referrals]
    forces = Section(
        "by-force",
        "By force and unit",
        _bars("by-force", "Referrals by force and unit", over, bars),
        ("Force or unit", "Region", "Referrals"),
        [(one.name, one.region or _NONE, f"{one.referrals:,}") for one in ordered],
        numbers=1,
        note="Who made none is in the table only.",
    )
    return [forces, *sections]


def of_agencies(found: Sequence[AgencyAnswers], over: Period) -> list[Section]:
    """Answer times, hit rates, and why there was none."""
    together = all_answers(one.answers for one in found)
    return [
        Section(
            "times",
            "Answer times",
            _times(found, over),
            ("Agency", "Answers", "Half within", "Nine of ten within"),
            [_time_row(one) for one in _slowest_first(found) if one.answers.times],
            numbers=3,
            note="By the clock, from when an item entered the inbox: nights, weekends and open questions count. "
            "Each time is within 9.1% of the exact one.",
        ),
        Section(
            "hits",
            "Hit rates",
            _bars(
                "hits",
                "Share of hits",
                over,
                [(one.name, one.answers.hit_rate or 0.0) for one in _most_hits_first(found) if one.answers.answered],
                "{:.0%}".format,
            ),
            ("Agency", "Hits", "No hits", "Hit rate"),
            [_hit_row(one) for one in _most_hits_first(found) if one.answers.answered],
            numbers=3,
        ),
        Section(
            "declined",
            "Why agencies declined",
            _numbers("declined", "Declined by reason", over, together.declined, plain),
            ("Agency", "Reason", "Declined"),
            [
                (one.name, plain(reason).capitalize(), f"{number:,}")
                for one in found
                for reason, number in _most_first(one.answers.declined)
            ],
            numbers=1,
        ),
        Section(
            "expired",
            "How far agencies had got when time ran out",
            _numbers("expired", "Expired, by how far the agency had got", over, together.expired, _STAGES.__getitem__),
            ("Agency", *(_STAGES[stage] for stage in STAGES)),
            [
                (one.name, *(f"{one.answers.expired.get(stage, 0):,}" for stage in STAGES))
                for one in found
                if one.answers.expired
            ],
            numbers=len(STAGES),
        ),
        Section(
            "ended",
            "All that ended",
            None,
            ("Agency", "Answered", "Declined", "Expired", "Undeliverable", "Cancelled", "Together"),
            [_end_row(one) for one in found],
            numbers=6,
        ),
    ]


def of_outcomes(found: Sequence[Outcomes], over: Period) -> list[Section]:
    """Disruptions, and what actions brought."""
    together = all_brought(one.brought for one in found)
    acted = [one for one in found if one.brought.actions]
    return [
        Section(
            "disruptions",
            "Disruptions",
            _numbers(
                "disruptions",
                "Disruptions",
                over,
                {kind.value: together.disruptions.get(kind, 0) for kind in Disruption},
                str.capitalize,
                as_given=True,
            ),
            ("Force or unit", *(kind.capitalize() for kind in Disruption)),
            [(one.name, *(f"{one.brought.disruptions.get(kind, 0):,}" for kind in Disruption)) for one in acted],
            numbers=len(Disruption),
        ),
        Section(
            "brought",
            "What actions brought",
            _bars(
                "brought",
                "Actions with a recorded outcome",
                over,
                [
                    (one.name, float(one.brought.actions))
                    for one in sorted(acted, key=lambda one: (-one.brought.actions, one.name))
                ],
            ),
            (
                *("Force or unit", "Actions", "Arrests", "Charged", "Prohibition orders", "Children safeguarded"),
                *("Adults safeguarded", "Frozen", "Seized"),
            ),
            [(one.name, *_brought_cells(one.brought)) for one in acted]
            + ([("Together", *_brought_cells(together))] if len(acted) > 1 else []),
            numbers=8,
            note="By the day of the action. What a force did not record counts as none.",
        ),
    ]


def _bars(
    name: str,
    title: str,
    over: Period,
    bars: Sequence[tuple[str, float]],
    words: Callable[[float], str] = "{:,.0f}".format,
) -> Markup | None:
    most = max(bars, key=lambda bar: bar[1], default=("", 0.0))
    description = (
        f"{title}, {over.words}. The longest bar: {most[0]}, {words(most[1])}. The table below has every number."
    )
    return svg(Chart(name, f"{title}, {over.words}", description, bars, words))


def _numbers(
    name: str,
    title: str,
    over: Period,
    numbers: Mapping[str, int],
    words: Callable[[str], str],
    *,
    as_given: bool = False,
) -> Markup | None:
    ordered = list(numbers.items()) if as_given else _most_first(numbers)
    return _bars(name, title, over, [(_capital(words(code)), float(number)) for code, number in ordered])


def _times(found: Iterable[AgencyAnswers], over: Period) -> Markup | None:
    bars = [(one.name, float(one.answers.median_seconds or 0)) for one in _slowest_first(found)]
    return _bars("times", "Time within which half of the answers came", over, [bar for bar in bars if bar[1]], span)


def _slowest_first(found: Iterable[AgencyAnswers]) -> list[AgencyAnswers]:
    return sorted(found, key=lambda one: (-(one.answers.median_seconds or 0), one.name))


def _most_hits_first(found: Iterable[AgencyAnswers]) -> list[AgencyAnswers]:
    return sorted(found, key=lambda one: (-(one.answers.hit_rate or 0), -one.answers.answered, one.name))


def _most_first(numbers: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(numbers.items(), key=lambda pair: (-pair[1], pair[0]))


def _time_row(one: AgencyAnswers) -> tuple[str, ...]:
    given = sum(one.answers.times.values())
    return (one.name, f"{given:,}", _span(one.answers.median_seconds), _span(one.answers.p90_seconds))


def _hit_row(one: AgencyAnswers) -> tuple[str, ...]:
    rate = one.answers.hit_rate
    return (one.name, f"{one.answers.hits:,}", f"{one.answers.no_hits:,}", _NONE if rate is None else f"{rate:.0%}")


def _end_row(one: AgencyAnswers) -> tuple[str, ...]:
    answers: Answers = one.answers
    numbers = (
        *(answers.answered, sum(answers.declined.values()), sum(answers.expired.values())),
        *(answers.undeliverable, answers.cancelled, answers.ended),
    )
    return (one.name, *(f"{number:,}" for number in numbers))


def _brought_cells(brought: Brought) -> list[str]:
    people = ("arrests", "charged", "prohibition_orders", "children_safeguarded", "adults_safeguarded")
    money = ("assets_frozen_pence", "seized_pence")
    return [
        f"{brought.actions:,}",
        *(f"{brought.numbers.get(name, 0):,}" for name in people),
        *(f"£{brought.numbers.get(name, 0) / 100:,.2f}" for name in money),
    ]


def _span(seconds: int | None) -> str:
    return _NONE if seconds is None else span(seconds)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def choices(over: Period, now: date) -> list[date]:
    """The months that a form offers, the newest first: five years back, and what was asked for."""
    first = date(now.year - 5, now.month, 1)
    offered = {*Period(first, now.replace(day=1)).months, over.first, over.last}
    return sorted(offered, reverse=True)
