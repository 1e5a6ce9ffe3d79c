"""What originators read, as OpenAPI shows it. The answers are built from rows; these models document and test them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from app.parties.codes import Priority
from app.referrals.documents import SubmittedReferral, SubmittedResponse
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


class TombstoneView(BaseModel):
    """What is left of a referral that was disposed of: who was asked, and when. Nothing of what it said."""

    id: UUID
    reference: str
    originator: str
    state: ReferralState
    priority: Priority
    created_at: datetime
    updated_at: datetime
    respond_by: datetime
    disposed_at: datetime
    group: int = Field(description="The MoPI group (1 to 4) under which it was kept.")
    dispatches: list[DispatchView]


class ReferralPage(BaseModel):
    """One page of referrals, newest first."""

    items: list[ReferralView | TombstoneView]
    next: str | None


class ResponseView(SubmittedResponse):
    """One answer or question."""

    id: UUID
    dispatch_id: UUID
    agency: str
    recorded_at: datetime


class ResponsePage(BaseModel):
    """The answers to a referral, oldest first."""

    items: list[ResponseView]
    next: str | None


class EventView(BaseModel):
    """One thing that happened to a referral."""

    id: int
    at: datetime
    event: str
    party: str
    dispatch_id: UUID | None
    agency: str | None
    detail: dict[str, Any] | None


class EventPage(BaseModel):
    """The timeline of a referral, oldest first."""

    items: list[EventView]
    next: str | None
