"""The consolidated product, as OpenAPI shows it. The answer is built from rows; these models document and test it."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field

from app.intake.outcome_views import OutcomeTotalsView, OutcomeView
from app.parties.codes import CrimeType, LegalBasis, Priority
from app.referrals.codes import Criterion, DeclineReason, FactKind, Marking, OnwardDisclosure, SubjectWarning
from app.referrals.documents import Contact, Grading, Handling, OrganisedCrimeGroup, Subject
from app.referrals.states import DispatchState, Outcome, ReferralState

_GATEWAY = "The legal gateway that was proposed when the body was asked."
_ONWARD = "`consent_required`: ask the body before this goes to anyone else. Null: it did not say, so ask too."


class WhyView(BaseModel):
    """Why the subject was asked about, and on what power."""

    criterion: Criterion
    crime_types: list[CrimeType]
    purpose: str
    information_sought: str | None
    legal_basis: LegalBasis


class TotalsView(BaseModel):
    """Each body once, as its latest round stands."""

    asked: int
    answered: int = Field(description="Hits and no hits.")
    hits: int
    no_hits: int
    declined: int
    decline_reasons: dict[DeclineReason, int]
    undeliverable: int
    expired: int
    cancelled: int
    outstanding: int = Field(description="Still to answer; with all above but hits and no hits it adds up to `asked`.")
    facts: int


class FactView(BaseModel):
    """One item of intelligence, with the grading and handling that hold for it."""

    response_id: UUID
    agency: str
    round: int
    text: str
    grading: Grading
    handling: Handling
    onward_disclosure: OnwardDisclosure | None = Field(description=_ONWARD)
    legal_basis: LegalBasis | None
    answered_at: datetime


class FindingsView(BaseModel):
    """What is known of one kind, the best graded first."""

    kind: FactKind
    agencies: list[str]
    facts: list[FactView]


class AnswerView(BaseModel):
    """One body's hit or no hit; its facts stand under `findings`."""

    response_id: UUID
    agency: str
    round: int
    outcome: Outcome
    summary: str | None
    grading: Grading | None
    handling: Handling | None
    onward_disclosure: OnwardDisclosure | None = Field(description=_ONWARD)
    legal_basis: LegalBasis | None
    gateway: str | None = Field(description=_GATEWAY)
    contact: str | None
    delivered_at: datetime | None
    answered_at: datetime


class DeclinedView(BaseModel):
    """A body that declined, and why."""

    reason: DeclineReason
    response_id: UUID
    agency: str
    round: int
    summary: str | None
    legal_basis: LegalBasis | None
    gateway: str | None = Field(description=_GATEWAY)
    contact: str | None
    answered_at: datetime


class StandingView(BaseModel):
    """A body that will not answer this round."""

    agency: str
    round: int
    state: DispatchState


class ConsentGivenView(BaseModel):
    """To whom a body has consented that its answer goes. The broker sends it no copy."""

    agency: str
    round: int
    recipient: str | None = Field(description="A party of the broker, or:")
    recipient_outside: str | None
    conditions: str | None
    given_at: datetime


class OutstandingView(StandingView):
    """A body that is still to answer."""

    due_at: datetime
    overdue: bool
    delivered_at: datetime | None
    acknowledged_at: datetime | None
    question: str | None = Field(description="What it asked for; the clock stands until the originator replies.")


class ProductView(BaseModel):
    """Everything that came back to one referral."""

    id: UUID
    reference: str
    originator: str
    state: ReferralState
    priority: Priority
    created_at: datetime
    respond_by: datetime
    made_at: datetime
    marking: Marking
    handling: Handling = Field(description="For the product as a whole: every condition of anything in it.")
    warnings: list[SubjectWarning]
    subject: Subject
    why: WhyView
    operation_name: str | None
    ocg: OrganisedCrimeGroup | None
    client_reference: str | None
    contact: Contact | None
    totals: TotalsView
    consent_required_from: list[str] = Field(description="Bodies without whose consent their answer goes no further.")
    consents_given: list[ConsentGivenView] = Field(description="What it may go to all the same, the first asked first.")
    findings: list[FindingsView]
    answers: list[AnswerView] = Field(description="Oldest first.")
    declined: list[DeclinedView] = Field(description="Oldest first.")
    outstanding: list[OutstandingView] = Field(description="The first due first.")
    unanswered: list[StandingView] = Field(description="Expired, undeliverable or cancelled.")
    outcomes: list[OutcomeView] = Field(description="What the originator has recorded, oldest first.")
    outcome_totals: OutcomeTotalsView
