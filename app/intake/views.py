"""What originators read, as OpenAPI shows it. The answers are built from rows; these models document and test them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from app.referrals.documents import SubmittedResponse
from app.referrals.shown import ReferralView


class ReferralPage(BaseModel):
    """One page of referrals, newest first."""

    items: list[ReferralView]
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
