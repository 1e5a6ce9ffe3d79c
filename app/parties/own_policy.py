"""What a party says of its own policy, over the reference data: each change is a new version, kept for good."""

import re
from collections.abc import Iterable
from datetime import date, datetime
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import DateTime, ForeignKey, Text, func, select, text
from sqlalchemy.dialects.postgresql import JSONB, distinct_on
from sqlalchemy.orm import Mapped, mapped_column

from app.audit.record import Actor, Event, Operation, record
from app.db import Base, Connection
from app.parties.codes import CrimeType
from app.parties.policy import OutOfOffice, Policy
from app.web.numbers import WHOLE

T = TypeVar("T")

MOST_NOTICES = 100_000


def _invalid(message: str) -> PydanticCustomError:
    return PydanticCustomError("invalid", message)


def _day(value: object) -> object:
    if isinstance(value, date):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        raise _invalid("must be a date as YYYY-MM-DD")
    return value


def _each_once(values: list[T]) -> list[T]:
    if len(set(values)) != len(values):
        raise _invalid("must not name anything twice")
    return values


_Day = Annotated[date, BeforeValidator(_day)]
_Weekday = Annotated[StrictInt, Field(ge=1, le=7), WHOLE]
_ONCE = Field(json_schema_extra={"uniqueItems": True})


class Absence(BaseModel):
    """When nobody of the party works, both days included."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    first_day: _Day
    last_day: _Day

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.last_day < self.first_day:
            raise _invalid("the last day is before the first")
        return self


class OwnPolicy(BaseModel):
    """What a party itself decides of its policy. The response times are the reference data's."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    crime_types: Annotated[list[CrimeType], Field(min_length=1), AfterValidator(_each_once), _ONCE] | None = Field(
        default=None, description="Crime types for which the matrix may choose the party; null means all."
    )
    notices_per_day: Annotated[StrictInt, Field(ge=1, le=MOST_NOTICES), WHOLE] | None = Field(
        default=None, description="Notices (pushes or emails) it takes a day; null means no limit."
    )
    working_days: Annotated[list[_Weekday], Field(min_length=1), AfterValidator(_each_once), _ONCE] = Field(
        description="ISO weekdays on which it works: Monday is 1."
    )
    out_of_office: Absence | None = Field(
        default=None, description="It is asked all the same; whoever asks is told until when it is away."
    )

    def over(self, policy: Policy) -> Policy:
        """The policy of the reference data, with what the party itself has decided."""
        away = self.out_of_office
        return policy.model_copy(
            update={
                "crime_types": None if self.crime_types is None else frozenset(self.crime_types),
                "notices_per_day": self.notices_per_day,
                "working_days": frozenset(self.working_days),
                "out_of_office": away and OutOfOffice(first_day=away.first_day, last_day=away.last_day),
            }
        )


class OwnPolicyVersion(Base):
    """One version of what a party has decided; the newest holds. `document` is an `OwnPolicy`; rows are only added."""

    __tablename__ = "own_policy"

    agency: Mapped[str] = mapped_column(Text, ForeignKey("party.code"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    document: Mapped[dict[str, Any]] = mapped_column(JSONB)
    changed_by: Mapped[str] = mapped_column(Text)
    changed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


_TURN = text("SELECT pg_advisory_xact_lock(hashtext('own_policy'), hashtext(:agency))")

_ADD = text("""
    INSERT INTO own_policy (agency, version, document, changed_by)
    VALUES (:agency, :version, CAST(:document AS jsonb), :actor)
""")


def own_of(policy: Policy) -> OwnPolicy:
    """What a party could have decided itself, of the policy that it has."""
    away = policy.out_of_office
    return OwnPolicy(
        crime_types=None if policy.crime_types is None else sorted(policy.crime_types),
        notices_per_day=policy.notices_per_day,
        working_days=sorted(policy.working_days),
        out_of_office=None if away is None else Absence(first_day=away.first_day, last_day=away.last_day),
    )


async def newest(connection: Connection, agency: str) -> tuple[int, OwnPolicy] | None:
    """The newest version of what a party has decided, and its number; None where it has decided nothing."""
    query = (
        select(OwnPolicyVersion.version, OwnPolicyVersion.document)
        .where(OwnPolicyVersion.agency == agency)
        .order_by(OwnPolicyVersion.version.desc())
        .limit(1)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else (row.version, OwnPolicy.model_validate(row.document))


async def decided(connection: Connection) -> dict[str, OwnPolicy]:
    """What each party has decided that has decided anything."""
    query = (
        select(OwnPolicyVersion.agency, OwnPolicyVersion.document)
        .ext(distinct_on(OwnPolicyVersion.agency))
        .order_by(OwnPolicyVersion.agency, OwnPolicyVersion.version.desc())
    )
    return {row.agency: OwnPolicy.model_validate(row.document) for row in await connection.execute(query)}


async def decide(connection: Connection, actor: Actor, before: OwnPolicy, policy: OwnPolicy) -> int:
    """Make this the policy of the actor's party from now on; returns its version, 0 where it never had any.

    `before` is what holds so far; where nothing changes, no version is made. What has changed is logged by name.
    """
    await connection.execute(_TURN, {"agency": actor.party})
    found = await newest(connection, actor.party)
    version, held = found or (0, before)
    changed = sorted(_differences(held, policy))
    if not changed:
        return version
    document = policy.model_dump_json()
    parameters = {"agency": actor.party, "version": version + 1, "document": document, "actor": actor.name}
    await connection.execute(_ADD, parameters)
    detail = {"agency": actor.party, "version": version + 1, "changed": changed}
    await record(connection, actor, [Event(Operation.ALTERATION, "policy.changed", detail=detail)])
    return version + 1


def _differences(one: OwnPolicy, other: OwnPolicy) -> Iterable[str]:
    """The names of what differs; the order of days and crime types does not count."""
    for name in OwnPolicy.model_fields:
        before, after = getattr(one, name), getattr(other, name)
        if (sorted(before) if isinstance(before, list) else before) != (
            sorted(after) if isinstance(after, list) else after
        ):
            yield name
