"""The reports, as OpenAPI shows them. The answers are built from figures; these models document and test them."""

from typing import Any

from pydantic import BaseModel, Field

from app.referrals.outcome_documents import Disruption, Pounds, pounds
from app.reporting.figures import MONEY, PEOPLE_AND_ORDERS, Answers, Brought
from app.reporting.period import Period, written
from app.reporting.reports import AgencyAnswers, MadeReferrals, Outcomes

_MONTH = "A month, as `2026-11`."


class _ReportView(BaseModel):
    """What every report has. Months are London's; the last may still run."""

    from_: str = Field(alias="from", description=_MONTH)
    to: str = Field(description=f"{_MONTH} Included.")
    region: str | None = Field(description="The region whose figures these are. Null: all, or one originator's own.")
    headline: str = Field(description="The report in a sentence or two.")
    next: None = None


class MadeView(BaseModel):
    """The referrals that one originator made."""

    party: str
    name: str
    region: str | None
    referrals: int
    by_month: dict[str, int] = Field(description="Every month of the period.")


class ReferralsReport(_ReportView):
    """Referrals by originator: every force and ROCU, those that made none too, and who else made any."""

    items: list[MadeView]


class AgencyAnswersView(BaseModel):
    """What came of what one agency was asked, by the month in which it ended."""

    agency: str
    name: str
    ended: int = Field(description="Dispatches that ended, however.")
    hits: int
    no_hits: int
    hit_rate: float | None = Field(description="Hits in hits and no hits, 0 to 1. Null without either.")
    median_seconds: int | None = Field(
        description="Within which half of the answers came, declines too, by the clock from when the item entered the "
        "inbox. At most 9.1 % from the exact one."
    )
    p90_seconds: int | None = Field(description="Within which nine of ten came; as exact.")
    declined: dict[str, int] = Field(description="By reason; `not_kept` from before reasons were kept.")
    expired: dict[str, int] = Field(
        description="By how far the agency had got: `unseen`, `seen`, `acknowledged`; `question_open` where it had "
        "asked the originator for more."
    )
    undeliverable: int
    cancelled: int


class AgenciesReport(_ReportView):
    """Answers by agency."""

    items: list[AgencyAnswersView]


class OutcomesView(BaseModel):
    """What one originator's actions brought, by the month of the action. What was not recorded counts as none."""

    party: str
    name: str
    region: str | None
    actions: int
    disruptions: dict[Disruption, int]
    arrests: int
    charged: int
    prohibition_orders: int
    children_safeguarded: int
    adults_safeguarded: int
    assets_frozen: Pounds
    seized: Pounds


class OutcomesReport(_ReportView):
    """Outcomes by originator: every force and ROCU, those that recorded none too, and who else recorded any."""

    items: list[OutcomesView]


def made_view(one: MadeReferrals, over: Period) -> dict[str, Any]:
    """The document of a `MadeView`."""
    by_month = {written(month): number for month, number in zip(over.months, one.by_month, strict=True)}
    return {
        **{"party": one.party, "name": one.name, "region": one.region},
        "referrals": one.referrals,
        "by_month": by_month,
    }


def answers_view(one: AgencyAnswers) -> dict[str, Any]:
    """The document of an `AgencyAnswersView`."""
    answers: Answers = one.answers
    names = ("ended", "hits", "no_hits", "hit_rate", "median_seconds", "p90_seconds", "declined", "expired")
    return {
        "agency": one.agency,
        "name": one.name,
        **{name: getattr(answers, name) for name in (*names, "undeliverable", "cancelled")},
    }


def outcomes_view(one: Outcomes) -> dict[str, Any]:
    """The document of an `OutcomesView`."""
    brought: Brought = one.brought
    return {
        **{"party": one.party, "name": one.name, "region": one.region},
        "actions": brought.actions,
        "disruptions": brought.disruptions,
        **{name: brought.numbers.get(name, 0) for name in PEOPLE_AND_ORDERS},
        **{name.removesuffix("_pence"): pounds(brought.numbers.get(name, 0)) for name in MONEY},
    }
