"""The figures of the reports, from rows of the aggregates. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple, TypeVar

from app.reporting.histogram import quantile

K = TypeVar("K")

ANSWER_TIME = "answer_time"
"""The figure of an agency whose `detail` is a bucket of `reporting.histogram`: hits, no hits and declines."""


class Fact(NamedTuple):
    """One figure of a party, in a month where the report tells months apart."""

    party: str
    figure: str
    detail: str
    number: int
    month: date | None = None


PEOPLE_AND_ORDERS = ("arrests", "charged", "prohibition_orders", "children_safeguarded", "adults_safeguarded")
MONEY = ("assets_frozen_pence", "seized_pence")
"""The figures of outcomes, by their words in the aggregates."""

NOT_KEPT = "not_kept"
"""The reason of what was declined before reasons were kept."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of an agency's dispatches that ended in a period.

    `times` are answers (hits, no hits, declines) by bucket. `declined` are numbers by reason, `expired` by how far the
    agency had got.
    """

    hits: int = 0
    no_hits: int = 0
    undeliverable: int = 0
    cancelled: int = 0
    declined: Mapping[str, int] = field(default_factory=dict)
    expired: Mapping[str, int] = field(default_factory=dict)
    times: Mapping[int, int] = field(default_factory=dict)

    @property
    def answered(self) -> int:
        """Hits and no hits."""
        return self.hits + self.no_hits

    @property
    def ended(self) -> int:
        """All that ended, however."""
        return (
            self.answered
            + sum(self.declined.values())
            + sum(self.expired.values())
            + self.undeliverable
            + self.cancelled
        )

    @property
    def hit_rate(self) -> float | None:
        """The share of hits in hits and no hits, 0 to 1 in thousandths; None without either."""
        return round(self.hits / self.answered, 3) if self.answered else None

    @property
    def median_seconds(self) -> int | None:
        """Within which half of the answers came, from when the item entered the inbox; None without answers."""
        return quantile(self.times, 0.5)

    @property
    def p90_seconds(self) -> int | None:
        """Within which nine of ten came."""
        return quantile(self.times, 0.9)


@dataclass(frozen=True, slots=True)
class Brought:
    """What the actions of one originator brought, by the month of the action.

    `numbers` are of `PEOPLE_AND_ORDERS` and `MONEY`; `disruptions` actions by what they did.
    """

    actions: int = 0
    numbers: Mapping[str, int] = field(default_factory=dict)
    disruptions: Mapping[str, int] = field(default_factory=dict)


def all_answers(several: Iterable[Answers]) -> Answers:
    """Those of several agencies together."""
    each = list(several)
    return Answers(
        hits=sum(one.hits for one in each),
        no_hits=sum(one.no_hits for one in each),
        undeliverable=sum(one.undeliverable for one in each),
        cancelled=sum(one.cancelled for one in each),
        declined=added_up(one.declined for one in each),
        expired=added_up(one.expired for one in each),
        times=added_up(one.times for one in each),
    )


def all_brought(several: Iterable[Brought]) -> Brought:
    """What several originators' actions brought together."""
    each = list(several)
    numbers = added_up(one.numbers for one in each)
    return Brought(sum(one.actions for one in each), numbers, added_up(one.disruptions for one in each))


def added_up(several: Iterable[Mapping[K, int]]) -> dict[K, int]:
    """Numbers by the same words, added up."""
    total: dict[K, int] = {}
    for numbers in several:
        for name, number in numbers.items():
            total[name] = total.get(name, 0) + number
    return total


def brought(facts: Iterable[Fact]) -> Brought:
    """What the actions brought whose facts these are."""
    plain: Counter[str] = Counter()
    disruptions: Counter[str] = Counter()
    for fact in facts:
        if fact.figure == "disruption":
            disruptions[fact.detail] += fact.number
        else:
            plain[fact.figure] += fact.number
    numbers = {name: plain[name] for name in (*PEOPLE_AND_ORDERS, *MONEY)}
    return Brought(plain["actions"], numbers, _some(disruptions))


def answers(facts: Iterable[Fact]) -> Answers:
    """The answers of one agency, or of all whose facts these are."""
    plain: Counter[str] = Counter()
    divided: dict[str, Counter[str]] = {"declined": Counter(), "expired": Counter(), ANSWER_TIME: Counter()}
    for fact in facts:
        if fact.figure in divided:
            divided[fact.figure][fact.detail] += fact.number
        else:
            plain[fact.figure] += fact.number
    return Answers(
        hits=plain["hit"],
        no_hits=plain["no_hit"],
        undeliverable=plain["undeliverable"],
        cancelled=plain["cancelled"],
        declined={reason or NOT_KEPT: number for reason, number in _some(divided["declined"]).items()},
        expired=_some(divided["expired"]),
        times={int(bucket): number for bucket, number in _some(divided[ANSWER_TIME]).items()},
    )


def by_party(facts: Iterable[Fact]) -> dict[str, list[Fact]]:
    """The facts of each party."""
    found: dict[str, list[Fact]] = {}
    for fact in facts:
        found.setdefault(fact.party, []).append(fact)
    return found


def _some(numbers: Mapping[str, int]) -> dict[str, int]:
    return {name: number for name, number in sorted(numbers.items()) if number}
