"""The retention rules as reference data: `mopi.toml`, validated."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.parties.codes import CrimeType
from app.parties.release import ReferenceDataError, ReferenceFile, explain, read_release
from app.referrals.codes import Criterion
from app.retention.policy import Group, Rules

__all__ = ["ReferenceDataError", "RetentionFile", "parse", "rules"]

FILE = Path(__file__).with_name("mopi.toml")

Number = Annotated[int, Field(ge=1, le=4)]


class GroupEntry(BaseModel):
    """One group as the file gives it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    review_after_years: int = Field(ge=1, le=100)


class RetentionFile(ReferenceFile):
    """One release of the rules; the file's head says what each part means."""

    groups: dict[Number, GroupEntry]
    crime_types: dict[CrimeType, Number]
    criteria: dict[Criterion, Number] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        """Every crime type leads somewhere, and wherever a code leads there is a group."""
        if left := sorted(set(CrimeType) - set(self.crime_types)):
            raise ValueError(f"crime types without a group: {', '.join(left)}")
        if unknown := sorted({*self.crime_types.values(), *self.criteria.values()} - set(self.groups)):
            raise ValueError(f"no such group: {', '.join(map(str, unknown))}")
        return self

    def rules(self) -> Rules:
        """The release as the rules take it."""
        return Rules(
            release=self.version,
            groups={
                number: Group(number, entry.name, entry.review_after_years) for number, entry in self.groups.items()
            },
            crime_types=self.crime_types,
            criteria=self.criteria,
        )


def parse(document: dict[str, Any]) -> RetentionFile:
    """A document as retention rules. Raises `ReferenceDataError`, one line, naming what is wrong."""
    try:
        return RetentionFile.model_validate(document)
    except ValidationError as error:
        raise explain(FILE.name, error) from None


@lru_cache(maxsize=1)
def rules() -> Rules:
    """The rules of this program. Raises `ReferenceDataError`."""
    return parse(read_release(FILE)).rules()
