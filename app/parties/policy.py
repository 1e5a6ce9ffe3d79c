"""What a party asks of the referrals that come to it. Pure."""

from collections.abc import Iterable
from datetime import date
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from app.parties.codes import CrimeType

Weekday = Annotated[int, Field(ge=1, le=7)]
"""An ISO weekday: Monday is 1, Sunday 7."""


class OutOfOffice(BaseModel):
    """The days on which nobody of a party works, both included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_day: date
    last_day: date


class Policy(BaseModel):
    """One party's policy. The defaults set no quota and refuse nobody; the response times are domain.md's, section 4.

    No policy ever refuses a named addressee: `needs_release` holds that one dispatch until a co-ordinator releases it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    crime_types: frozenset[CrimeType] | None = Field(
        default=None, description="Crime types for which the matrix may choose this party; null means all."
    )
    notices_per_day: int | None = Field(default=None, ge=1, description="Notices it takes a day; null means no limit.")
    working_days: frozenset[Weekday] = Field(
        default=frozenset({1, 2, 3, 4, 5}), min_length=1, description="ISO weekdays on which it works."
    )
    urgent_hours: int = Field(default=4, ge=1, description="Clock hours to answer an urgent referral.")
    priority_days: int = Field(default=2, ge=1, description="Working days to answer a priority referral.")
    routine_days: int = Field(default=10, ge=1, description="Working days to answer a routine referral.")
    urgent_grace_hours: int = Field(default=24, ge=0, description="Clock hours from due to expired, when urgent. [mem]")
    grace_days: int = Field(default=5, ge=0, description="Working days from due to expired, otherwise. [mem]")
    needs_release: bool = Field(default=False, description="A co-ordinator releases each dispatch to it.")
    out_of_office: OutOfOffice | None = Field(default=None, description="It is asked then too, and that is said.")

    def away_until(self, on: date) -> date | None:
        """The last day of its absence, where it is away on this day."""
        away = self.out_of_office
        return away.last_day if away is not None and away.first_day <= on <= away.last_day else None

    @field_serializer("crime_types", "working_days", when_used="json-unless-none")
    def _in_order(self, values: Iterable[CrimeType | int]) -> list[CrimeType | int]:
        """Sorted, so that the same policy is always the same document."""
        return sorted(values)
