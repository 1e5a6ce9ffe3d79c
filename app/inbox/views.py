"""What agencies read and send, as OpenAPI shows it."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, StrictInt
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from app.parties.codes import Priority
from app.referrals.documents import Document, SubmittedResponse
from app.referrals.states import DispatchState, Outcome
from app.web.docs import Fault
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
    """How much to claim, and for how long; it may be left out."""

    limit: Annotated[StrictInt, Field(ge=1, le=BATCH), WHOLE] = 50
    lease_seconds: Annotated[StrictInt, Field(ge=1, le=3_600), WHOLE] = 300


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
    state: DispatchState = Field(description="As it is now: what was answered or cancelled stays so.")


class AcknowledgementsBody(Document):
    """Several acknowledgements at once."""

    ids: Annotated[list[UUID], Field(min_length=1, max_length=BATCH)]
    claim_id: UUID | None = None


class ResponseItem(SubmittedResponse):
    """A response that names its item."""

    id: UUID


class GivenItem(BaseModel):
    """One of several responses as it was sent: with an id, whatever else it says."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    id: UUID

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A response that names its item comes first; anything else with an id is refused by itself."""
        return {"anyOf": [handler(ResponseItem.__pydantic_core_schema__), handler(schema)]}


class ResponsesBody(Document):
    """Several responses at once. One that is no response is refused in its place, and none of the others with it."""

    items: Annotated[list[GivenItem], Field(min_length=1, max_length=BATCH)]


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
    state: DispatchState | None = Field(default=None, description="The dispatch's, as it is now.")
    response_id: UUID | None = None
    problem: str | None = None
    errors: list[Fault] = Field(default=[], description="What is wrong with a response that is refused with 422.")


class Results(BaseModel):
    """The results of a batch, in the order of its items."""

    items: list[ResultView]
    next: None = None
