"""The reports, as OpenAPI shows them. The answers are built from figures; these models document and test them."""

from pydantic import BaseModel, Field

_MONTH = "A month, as `2026-11`."


class ReportView(BaseModel):
    """What every report has. Months are London's; the last may still run."""

    from_: str = Field(alias="from", description=_MONTH)
    to: str = Field(description=f"{_MONTH} Included.")
    region: str | None = Field(description="The region that the figures are of; null: of all, or of one originator.")
    headline: str = Field(description="The report in a sentence.")
    next: None = None


class MadeView(BaseModel):
    """The referrals that one originator made."""

    party: str
    name: str
    region: str | None
    referrals: int
    by_month: dict[str, int] = Field(description="Every month of the period.")


class ReferralsReport(ReportView):
    """Referrals by originator: every force and ROCU, those that made none too, and who else made any."""

    items: list[MadeView]


class AgencyAnswersView(BaseModel):
    """What came of what one agency was asked, by the month in which it ended."""

    agency: str
    name: str
    ended: int = Field(description="Dispatches that ended, however.")
    answered: int = Field(description="Hits and no hits.")
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
        description="By how far the agency had got: `unseen`, `seen`, `acknowledged`, or `question_open` where it had "
        "asked the originator for more."
    )
    undeliverable: int
    cancelled: int


class AgenciesReport(ReportView):
    """Answers by agency."""

    items: list[AgencyAnswersView]
    all: AgencyAnswersView | None = Field(description="All agencies together.")
