"""What agencies read and send, as OpenAPI shows it."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field, StrictInt

from app.parties.codes import Priority
from app.referrals.documents import Document, SubmittedResponse
from app.referrals.states import DispatchState, Outcome
from app.web.numbers import WHOLE

BATCH = 500
"""The most items in one batch, and on one page."""


class MessageView(BaseModel):
    """One message of the exchange on an item."""

    sender: str = Field(alias="from")
    at: datetime
    text: str


class ItemView(BaseModel):
    """One dispatch in an agency's inbox."""

    id: UUID
    reference: str
    agency: str
    round: int
    state: DispatchState
    priority: Priority
    due_at: datetime
    chased_at: datetime | None = Field(description="When the agency was last reminded of it; null: never.")
    messages: list[MessageView]
    referral: dict[str, Any] = Field(
        description="`id`, `originator` and all that was submitted, but never the other addressees or the originator's "
        "own reference. Of an item cancelled before it was ever read: the `id` only. Of one whose "
        "referral was disposed of: `id` and `disposed_at`."
    )


class ItemPage(BaseModel):
    """One page of an inbox: urgent, priority, routine, the oldest first within each."""

    items: list[ItemView]
    next: str | None


class ClaimsBody(Document):
    """How much to claim, and for how long."""

    limit: Annotated[StrictInt, Field(ge=1, le=BATCH), WHOLE] = 50
    lease_seconds: Annotated[StrictInt, Field(ge=10, le=3_600), WHOLE] = 300


class ClaimedItem(ItemView):
    """An item under a claim."""

    claim_id: UUID
    lease_expires_at: datetime


class ClaimedItems(BaseModel):
    """What was claimed."""

    items: list[ClaimedItem]
    next: None = None


class AcknowledgementBody(Document):
    """The optional body of an acknowledgement."""

    claim_id: UUID | None = Field(default=None, description="The claim under which the item is held, if there is one.")


class AcknowledgedView(BaseModel):
    """What became of an item that was acknowledged."""

    id: UUID
    state: DispatchState


class AcknowledgementsBody(Document):
    """Several acknowledgements at once."""

    ids: Annotated[list[UUID], Field(min_length=1, max_length=BATCH)]
    claim_id: UUID | None = None


class ResponseItem(SubmittedResponse):
    """A response that names its item."""

    id: UUID


class ResponsesBody(Document):
    """Several responses at once."""

    items: Annotated[list[ResponseItem], Field(min_length=1, max_length=BATCH)]


class ReceiptView(BaseModel):
    """What became of a response."""

    id: UUID = Field(description="The response.")
    dispatch_id: UUID
    outcome: Outcome
    state: DispatchState


class ResultView(BaseModel):
    """What became of one item of a batch: the status and, for a refusal, the problem a single call would give."""

    id: UUID
    status: int
    state: str | None = None
    response_id: UUID | None = None
    problem: str | None = None


class Results(BaseModel):
    """The results of a batch, in the order of its items."""

    items: list[ResultView]
    next: None = None
