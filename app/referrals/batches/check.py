"""Whether a row is sound: the same validation as a single submission's, and what is told of a row that is not."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from uuid_utils.compat import uuid7

from app.crypto.keys import Keys, Purpose
from app.crypto.sameness import sameness
from app.errors import INVALID_BODY, MARKING_NOT_ACCEPTED, UNKNOWN_ADDRESSEE, Problem
from app.parties.directory import Directory
from app.referrals.addressees import unknown_addressees
from app.referrals.batches.reading import Read
from app.referrals.codes import rank
from app.referrals.documents import Line, SubmittedReferral
from app.web import faults

MOST_FAULTS = 10
"""Of one row: who mends it sees the others then."""


class Row(SubmittedReferral):
    """A row of a batch: the body of a submission, with a reference by which it is known when it comes again."""

    client_reference: Line


@dataclass(frozen=True, slots=True)
class Sound:
    """A row to be stored; `content` is not sealed yet. See `app.referrals.batches.models.BatchRow`."""

    number: int
    priority: int
    referral_id: UUID
    key: bytes
    sameness: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that is not: the slug of the problem, and `{"pointer", "detail"}` of each fault, without what it said."""

    number: int
    kind: str
    faults: list[dict[str, str]]

    @property
    def too_secret(self) -> bool:
        """Whether it bore a marking that may not be here at all."""
        return self.kind == MARKING_NOT_ACCEPTED.slug


class Checker:
    """Checks the rows of one party's batch."""

    def __init__(self, keys: Keys, directory: Directory, party: str) -> None:
        self._keys = keys
        self._directory = directory
        self._party = party

    def check(self, read: Read) -> Sound | Refused:
        """A row as it is stored, or why it is not."""
        if read.fault is not None:
            return _refused(read, read.fault)
        try:
            row = Row.model_validate(read.document)
        except ValidationError as error:
            return _refused(read, _problem(error.errors(include_url=False, include_input=False), read.document))
        strangers = unknown_addressees(row.addressees, self._party, self._directory)
        if strangers:
            return _refused(read, Problem(UNKNOWN_ADDRESSEE, errors=strangers))
        return Sound(
            number=read.number,
            priority=rank(row.priority),
            referral_id=uuid7(),
            key=reference_key(self._keys, row.client_reference),
            sameness=sameness(self._keys, row.model_dump(mode="json")),
            content=row.model_dump_json(exclude_unset=True).encode(),
        )


def reference_key(keys: Keys, client_reference: str) -> bytes:
    """By what a row is known when it comes again. Not the key of an `Idempotency-Key` of the same text."""
    return keys.digest(Purpose.CLIENT_REFERENCE, client_reference.encode())


def _problem(errors: list[ErrorDetails], document: Any) -> Problem:
    if any(error["type"] == MARKING_NOT_ACCEPTED.slug for error in errors):
        # Whatever else is wrong: nothing more is said about what may not be here at all.
        detail = "this system takes OFFICIAL and OFFICIAL-SENSITIVE only"
        return Problem(MARKING_NOT_ACCEPTED, errors=[{"pointer": "/marking", "detail": detail}])
    return faults.problem_of([{**error, "loc": ("body", *error["loc"])} for error in errors], document)


def _refused(read: Read, problem: Problem) -> Refused:
    told = [
        {"pointer": read.place(fault["pointer"]), "detail": fault["detail"]} for fault in problem.errors[:MOST_FAULTS]
    ]
    kind = problem.kind if problem.kind.status < 500 else INVALID_BODY
    return Refused(read.number, kind.slug, told or [{"pointer": "", "detail": problem.detail}])
