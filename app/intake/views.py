"""What originators read, as OpenAPI shows it. The answers are built from rows; these models document and test them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from app.parties.codes import Priority
from app.referrals.documents import SubmittedResponse
from app.referrals.shown import DispatchView, ReferralView
from app.referrals.states import ReferralState


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
    flag: Literal["late", "conflict"] | None = Field(default=None, description="Only for who oversees the referral.")


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
