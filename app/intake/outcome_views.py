"""The outcomes of a referral, as OpenAPI shows them. The answer is built from rows; these document and test it."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from app.referrals.outcome_documents import Count, Disruption, SubmittedOutcome


class OutcomeView(SubmittedOutcome):
    """What one action brought. Null: the force did not say."""

    id: UUID
    useful_agencies: list[str] = Field(description="Whose answers contributed.")
    replaced_by: UUID | None = Field(description="The correction that counts in its place.")
    recorded_at: datetime


class OutcomePage(BaseModel):
    """The outcomes of a referral, oldest first."""

    items: list[OutcomeView]
    next: str | None


class OutcomeTotalsView(BaseModel):
    """The outcomes of a referral added up. Null: no outcome says."""

    actions: int
    arrests: Count | None
    charged: Count | None
    prohibition_orders: Count | None
    children_safeguarded: Count | None
    adults_safeguarded: Count | None
    assets_frozen: str | None = Field(description="Pounds and pence.")
    seized: str | None = Field(description="Pounds and pence.")
    disruptions: dict[Disruption, int] = Field(description="Actions by what they did.")
    useful_agencies: list[str]
