"""A referral as originators and co-ordinators see it, for OpenAPI: answers are built from rows, this documents them."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from app.referrals.documents import SubmittedReferral
from app.referrals.states import DispatchState, Outcome, ReferralState


class DispatchView(BaseModel):
    """One referral to one agency, as its originator sees it."""

    id: UUID
    agency: str
    round: int
    state: DispatchState
    rule: str = Field(description="The rule of the routing matrix that chose this agency, or `named`.")
    release: int = Field(description="The version of the routing matrix.")
    reason: str = Field(description="Why this agency, in words.")
    gateway: str | None = Field(description="The legal gateway proposed for sharing with it.")
    due_at: datetime
    delivered_at: datetime | None
    acknowledged_at: datetime | None
    answered_at: datetime | None
    outcome: Outcome | None


class ReferralView(SubmittedReferral):
    """A referral as its originator sees it: all that was submitted, and what became of it."""

    id: UUID
    reference: str
    originator: str
    state: ReferralState
    created_at: datetime
    updated_at: datetime
    respond_by: datetime
    reason: str | None = Field(description="Why it is held, cancelled or rejected.")
    dispatches: list[DispatchView]
