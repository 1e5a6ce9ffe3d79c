"""What is said when a body's answer is to go further: whom to and why, and what the body decides. The documents."""

from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from app.referrals.documents import Document, Line, Paragraph, PartyCode
from app.referrals.states import ConsentState


class ConsentBody(Document):
    """The body of `POST /v1/referrals/{id}/dispatches/{dispatch_id}/consents`."""

    recipient: PartyCode | None = Field(default=None, description="Whom the answer is to go to: a party of the broker.")
    recipient_outside: Line | None = Field(default=None, description="Or somebody who is none. Kept encrypted.")
    reason: Paragraph = Field(description="Why it is to go there; the body that answered reads this. Kept encrypted.")

    @model_validator(mode="after")
    def _goes_to_one(self) -> Self:
        if (self.recipient is None) is (self.recipient_outside is None):
            raise PydanticCustomError("invalid", "needs a recipient: a party, or somebody outside, and not both")
        return self


class DecisionBody(Document):
    """The body of `POST /v1/consents/{id}/decision`: conditions where it is given, a reason where it is refused."""

    decision: Literal["given", "refused"]
    conditions: Paragraph | None = Field(default=None, description="Under which it is given. Kept encrypted.")
    reason: Paragraph | None = Field(default=None, description="Why it is refused. Kept encrypted.")

    @model_validator(mode="after")
    def _says_what_belongs_to_it(self) -> Self:
        refused = self.decision == ConsentState.REFUSED.value
        if refused and self.reason is None:
            raise PydanticCustomError("invalid", "needs a reason where consent is refused")
        if (self.conditions if refused else self.reason) is not None:
            raise PydanticCustomError("invalid", "needs a reason only where it is refused, conditions only where given")
        return self


class ConsentView(BaseModel):
    """One consent asked for. Null: not so, not yet, or gone with the referral's content."""

    id: UUID
    referral_id: UUID
    reference: str
    dispatch_id: UUID
    agency: str = Field(description="The body whose answer it is.")
    round: int
    state: ConsentState
    recipient: str | None = Field(description="The party the answer is to go to.")
    recipient_outside: str | None = Field(description="Or somebody who is no party of the broker.")
    reason: str | None = Field(description="Why it is to go there.")
    asked_by: str = Field(description="The party that asks.")
    asked_at: datetime
    chased_at: datetime | None
    chases: int = Field(description="How often a co-ordinator has reminded the body.")
    settled_at: datetime | None = Field(description="When it was given, refused or withdrawn.")
    settled_by: str | None = Field(description="The party that did.")
    conditions: str | None = Field(description="Under which it is given.")
    refusal: str | None = Field(description="Why it is refused.")


class ConsentPage(BaseModel):
    """Consents, in the order in which they were asked for."""

    items: list[ConsentView]
    next: str | None
