"""The documents that parties exchange, as typed models: what a referral may say and what an answer may say.

Validation is whole: every code, every length, every rule of the domain. Messages never quote what was sent.
"""

import re
import unicodedata
from datetime import date
from typing import Annotated, Any, Self, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from app import clock
from app.errors import (
    BIRTH_DATE_IN_FUTURE,
    HANDLING_CONDITIONS_REQUIRED,
    MARKING_NOT_ACCEPTED,
    NO_IDENTIFYING_DETAIL,
    ProblemType,
)
from app.parties.codes import CrimeType, LegalBasis, Priority
from app.referrals.codes import (
    Assessment,
    Criterion,
    DeclineReason,
    FactKind,
    HandlingCode,
    HandlingCondition,
    IdentifierType,
    Marking,
    OnwardDisclosure,
    SubjectKind,
    SubjectWarning,
)
from app.referrals.states import Outcome
from app.web.numbers import WHOLE

T = TypeVar("T")

_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)


def _refuse(kind: ProblemType, message: str) -> PydanticCustomError:
    """An error that becomes its own problem type where it is the only one."""
    return PydanticCustomError(kind.slug, message)


def _invalid(message: str) -> PydanticCustomError:
    return PydanticCustomError("invalid", message)


def _none_said() -> Any:
    """An empty list where nothing is said. A literal default would be copied by Python's `deepcopy` at each use."""
    return Field(default_factory=list, json_schema_extra={"default": []})


def _not_blank(text: str) -> str:
    if not text.strip():
        raise _invalid("must not be blank")
    return text


def _iso_date(value: object) -> object:
    """Only YYYY-MM-DD: a bare number would otherwise be taken for a Unix time."""
    if isinstance(value, date):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        raise _invalid("must be a date as YYYY-MM-DD")
    return value


def _rfc3339(value: object) -> object:
    """Only RFC 3339 with its offset: a bare number would otherwise be taken for a Unix time."""
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise _invalid("must be a time as in RFC 3339, with its offset")
    return value


ONCE = Field(json_schema_extra={"uniqueItems": True})
"""What the OpenAPI document says of a list whose values are checked by `each_once`."""


def each_once(values: list[T]) -> list[T]:
    """The values, of which none may stand twice."""
    if len(set(values)) != len(values):
        raise _invalid("must not name anything twice")
    return values


Line = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_not_blank)]
Paragraph = Annotated[str, StringConstraints(min_length=1, max_length=2_000), AfterValidator(_not_blank)]
LongText = Annotated[str, StringConstraints(min_length=1, max_length=10_000), AfterValidator(_not_blank)]
IsoDate = Annotated[date, BeforeValidator(_iso_date)]
Moment = Annotated[AwareDatetime, BeforeValidator(_rfc3339)]
PartyCode = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9-]{1,31}$")]


PartyCodes = Annotated[list[PartyCode], Field(min_length=1, max_length=100), AfterValidator(each_once), ONCE]


class Document(BaseModel):
    """Base of every document: unknown fields are refused, nothing changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Alias(Document):
    """Another name of a person."""

    family_name: Line | None = None
    given_names: Line | None = None

    @model_validator(mode="after")
    def _has_a_name(self) -> Self:
        if self.family_name is None and self.given_names is None:
            raise _invalid("needs a family name or given names")
        return self


class Address(Document):
    """A postal address."""

    lines: Annotated[list[Line], Field(max_length=10)] = _none_said()
    postcode: Annotated[str, StringConstraints(min_length=2, max_length=10), AfterValidator(_not_blank)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.lines and self.postcode is None:
            raise _invalid("needs a line or a postcode")
        return self


class Identifier(Document):
    """A number or address by which a body finds a subject."""

    type: IdentifierType
    value: Annotated[str, StringConstraints(min_length=2, max_length=100), AfterValidator(_not_blank)]


class Subject(Document):
    """Who or what a referral is about. A person has names and a birth date, anything else a `name`."""

    kind: SubjectKind
    family_name: Line | None = None
    given_names: Line | None = None
    date_of_birth: IsoDate | None = None
    aliases: Annotated[list[Alias], Field(max_length=50)] = _none_said()
    name: Line | None = Field(default=None, description="Of an organisation, premises or vehicle.")
    addresses: Annotated[list[Address], Field(max_length=50)] = _none_said()
    identifiers: Annotated[list[Identifier], Field(max_length=50)] = _none_said()

    @field_validator("date_of_birth")
    @classmethod
    def _born(cls, born: date | None) -> date | None:
        if born is not None and born > clock.now().date():
            raise _refuse(BIRTH_DATE_IN_FUTURE, "is in the future")
        if born is not None and born.year < 1850:
            raise _invalid("is before 1850")
        return born

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        person = self.kind is SubjectKind.PERSON
        if person and self.name is not None:
            raise _invalid("a person has family_name and given_names, not name")
        if not person and (self.family_name or self.given_names or self.date_of_birth or self.aliases):
            raise _invalid("only a person has family_name, given_names, date_of_birth and aliases")
        if not (self.family_name or self.name or self.aliases or self.addresses or self.identifiers):
            raise _refuse(NO_IDENTIFYING_DETAIL, "needs at least one name, address or identifier")
        return self


class OrganisedCrimeGroup(Document):
    """The group as its force maps it. Opaque to the broker: it travels with the referral."""

    reference: Line
    band: Annotated[str, StringConstraints(min_length=1, max_length=10), AfterValidator(_not_blank)] | None = None
    score: Annotated[StrictInt, Field(ge=0, le=10_000), WHOLE] | None = None
    morile_score: Annotated[float, Field(ge=0, le=10_000, strict=True)] | None = None


class Contact(Document):
    """Whom to ask: a desk rather than a person where there is one."""

    name: Line
    email: Annotated[str, StringConstraints(pattern=r"^[^@\s]{1,64}@[^@\s]{1,189}$")] | None = None
    phone: Annotated[str, StringConstraints(pattern=r"^[0-9+() -]{3,30}$")] | None = None


class Grading(Document):
    """Source evaluation 1 to 3 and intelligence assessment A to E (3x5x2)."""

    source: Annotated[StrictInt, Field(ge=1, le=3), WHOLE]
    assessment: Assessment


class Handling(Document):
    """Handling code, and the conditions that code C needs (3x5x2)."""

    code: HandlingCode
    conditions: Annotated[list[HandlingCondition], AfterValidator(each_once), ONCE] = _none_said()

    @model_validator(mode="after")
    def _conditions_fit(self) -> Self:
        if self.code is HandlingCode.C and not self.conditions:
            raise _refuse(HANDLING_CONDITIONS_REQUIRED, "handling code C needs at least one condition")
        if self.code is HandlingCode.P and self.conditions:
            raise _invalid("handling code P takes no conditions; use code C")
        return self


def _accepted_marking(value: object) -> object:
    """SECRET and above are refused as such, however they are spelt; anything else unknown is a plain error."""
    if isinstance(value, str) and "SECRET" in _letters(value):
        raise _refuse(MARKING_NOT_ACCEPTED, "this system takes OFFICIAL and OFFICIAL-SENSITIVE only")
    return value


def _letters(value: str) -> str:
    """Its letters in capitals, without accents, widths, spaces and marks between them."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", value).upper() if letter.isalpha())


class SubmittedReferral(Document):
    """The body of `POST /v1/referrals`."""

    subject: Subject
    ocg: OrganisedCrimeGroup | None = None
    criterion: Criterion
    crime_types: Annotated[list[CrimeType], Field(min_length=1), AfterValidator(each_once), ONCE]
    priority: Priority
    purpose: Paragraph
    information_sought: Paragraph | None = None
    warnings: Annotated[list[SubjectWarning], AfterValidator(each_once), ONCE] = _none_said()
    operation_name: Line | None = None
    contact: Contact | None = None
    legal_basis: LegalBasis
    marking: Annotated[Marking, BeforeValidator(_accepted_marking)]
    grading: Grading
    handling: Handling
    addressees: (
        Annotated[list[PartyCode], Field(min_length=1, max_length=100), AfterValidator(each_once), ONCE] | None
    ) = Field(default=None, description="Codes of the bodies to ask. Left out: the routing matrix chooses.")
    client_reference: Line | None = Field(default=None, description="The originator's own reference; never shown on.")


class Fact(Document):
    """One item of intelligence; it may carry a grading and handling of its own."""

    kind: FactKind
    text: Annotated[str, StringConstraints(min_length=1, max_length=4_000), AfterValidator(_not_blank)]
    grading: Grading | None = None
    handling: Handling | None = None


class SubmittedResponse(Document):
    """The body of `POST /v1/inbox/{id}/response`: an answer, or with `more_information` a question."""

    outcome: Outcome
    summary: LongText | None = None
    facts: Annotated[list[Fact], Field(max_length=200)] = _none_said()
    grading: Grading | None = None
    handling: Handling | None = None
    onward_disclosure: OnwardDisclosure | None = None
    legal_basis: LegalBasis | None = None
    decline_reason: DeclineReason | None = None
    contact: Line | None = None
    claim_id: UUID | None = Field(default=None, description="The claim under which the item is held, if there is one.")

    @model_validator(mode="after")
    def _fits_its_outcome(self) -> Self:
        if self.outcome is Outcome.HIT and not (self.summary or self.facts):
            raise _invalid("a hit needs a summary or a fact")
        if self.outcome is Outcome.HIT and not (self.grading and self.handling):
            raise _invalid("a hit needs grading and handling")
        if self.outcome is Outcome.DECLINED and self.decline_reason is None:
            raise _invalid("declined needs a decline_reason")
        if self.outcome is not Outcome.DECLINED and self.decline_reason is not None:
            raise _invalid("only declined takes a decline_reason")
        if self.outcome is Outcome.MORE_INFORMATION and self.summary is None:
            raise _invalid("more_information needs a summary: the question")
        return self

    def content(self) -> dict[str, Any]:
        """What is kept and compared: everything said, without the item and the claim it was said under."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"id", "claim_id"})
