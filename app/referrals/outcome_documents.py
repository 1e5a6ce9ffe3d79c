"""What a force records of an action: the document, and the codes in it (the report's Operation Lava; domain.md)."""

from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StrictInt, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from app import clock
from app.referrals.documents import ONCE, Document, IsoDate, LongText, each_once
from app.web.numbers import WHOLE

MOST_USEFUL = 100


class Disruption(StrEnum):
    """What an action did to the group: the police service's measure of effect."""

    MAJOR = "major"
    MODERATE = "moderate"
    MINOR = "minor"
    NEGATIVE = "negative"  # it did harm: the group is warned, or stronger


class SeizureKind(StrEnum):
    """What was seized. What `quantity` counts stands beside each."""

    CASH = "cash"  # none: its value says all
    DRUGS = "drugs"  # grams
    PLANTS = "plants"  # plants
    FIREARMS = "firearms"  # weapons and rounds
    VEHICLES = "vehicles"  # vehicles
    GOODS = "goods"  # pieces
    OTHER = "other"  # pieces


Count = Annotated[StrictInt, Field(ge=0, le=1_000_000), WHOLE]
Quantity = Annotated[StrictInt, Field(ge=1, le=1_000_000_000), WHOLE]
Pounds = Annotated[
    str,
    StringConstraints(pattern=r"^(0|[1-9][0-9]{0,9})(\.[0-9]{2})?$"),
    Field(description="Pounds and pence, as `493000` or `493000.50`."),
]


class Seizure(Document):
    """Something seized: how much of it, what it is worth, or both."""

    kind: SeizureKind
    quantity: Quantity | None = Field(default=None, description="Grams of drugs; of all else pieces.")
    value: Pounds | None = None

    @model_validator(mode="after")
    def _says_how_much(self) -> Self:
        if self.quantity is None and self.value is None:
            raise PydanticCustomError("invalid", "needs a quantity or a value")
        return self


class SubmittedOutcome(Document):
    """The body of `POST /v1/referrals/{id}/outcome`: what one action brought. What is left out is not known."""

    acted_on: IsoDate = Field(description="The day of the action.")
    disruption: Disruption | None = None
    arrests: Count | None = None
    charged: Count | None = None
    prohibition_orders: Count | None = None
    children_safeguarded: Count | None = None
    adults_safeguarded: Count | None = None
    assets_frozen: Pounds | None = None
    seizures: Annotated[list[Seizure], Field(max_length=50)] = Field(default=[])
    useful: Annotated[list[UUID], Field(max_length=MOST_USEFUL), AfterValidator(each_once), ONCE] = Field(
        default=[], description="The dispatches whose answers contributed."
    )
    summary: LongText | None = None
    replaces: UUID | None = Field(default=None, description="An earlier outcome that this one corrects.")

    @field_validator("acted_on")
    @classmethod
    def _has_happened(cls, day: IsoDate) -> IsoDate:
        if day > clock.now().date():
            raise PydanticCustomError("invalid", "is in the future")
        if day.year < 2000:
            raise PydanticCustomError("invalid", "is before 2000")
        return day

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        said = self.model_dump(exclude={"acted_on", "replaces"}, exclude_none=True)
        if not any(value != [] for value in said.values()):
            raise PydanticCustomError("invalid", "needs a figure, a disruption, a useful answer or a summary")
        return self


def pence(pounds: str | None) -> int | None:
    """Pure: an amount in pence, as it is stored and added up."""
    if pounds is None:
        return None
    whole, _, rest = pounds.partition(".")
    return int(whole) * 100 + int(rest or 0)


def pounds(amount: int | None) -> str | None:
    """Pure: an amount of pence as it is written: `493000.50`."""
    return None if amount is None else f"{amount // 100}.{amount % 100:02d}"
