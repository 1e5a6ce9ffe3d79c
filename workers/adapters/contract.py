"""The contract of a channel: an envelope goes in, one of four results comes out, or a `TransportError` is raised.

An adapter knows the envelope only: no database, no Celery, no other adapter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from app.parties.quota import Quota


class Envelope(NamedTuple):
    """One dispatch on its way to one agency.

    `referral` is what the agency may see, as in the inbox item's `referral` object (contract: Partner agencies); for an
    adapter that only tells it is empty, so that a notice cannot disclose anything. `attempt` counts the hand-overs
    from 1; `delivered_at` is when the dispatch was first handed over (UTC). `chases` counts the reminders so far,
    0 where there is none since the dispatch was released; `replied` is the number of the originator's reply that the
    agency is told of, 0 where it is told of something else; `holds` counts how often it was taken out of the inbox and
    let in again.
    """

    dispatch_id: UUID
    reference: str
    agency: str
    round: int
    priority: str
    attempt: int
    delivered_at: datetime
    due_at: datetime
    referral: Mapping[str, Any]
    chases: int = 0
    replied: int = 0
    holds: int = 0

    @property
    def kind(self) -> str:
        """What is told: `new`, `chase` where the agency is reminded, `replied` where its question has been answered."""
        if self.replied:
            return "replied"
        return "chase" if self.chases else "new"

    @property
    def notice_id(self) -> str:
        """The same for every try to tell the same thing, so that a repetition is known as one."""
        number = self.replied or self.chases or 1 + self.holds
        return f"{self.dispatch_id}.{self.kind}" + (f".{number}" if number > 1 else "")


@dataclass(frozen=True, slots=True)
class Delivered:
    """The agency has been told; it will answer by its inbox."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The agency answered: a body for `POST /v1/inbox/{id}/response`, unvalidated, hostile as any input."""

    response: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Later:
    """The agency has it and will have its answer in `seconds`: ask again then. Not a failed attempt."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The agency's system will never take this one; `reason` says why, without personal data."""

    reason: str


Result = Delivered | Answered | Later | Refused


class TransportError(Exception):
    """The hand-over failed; tried again later unless `permanent`. The message carries no personal data.

    `retry_after` (seconds) is the least time the agency's system asks to be left alone.
    """

    def __init__(self, message: str, *, permanent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after = retry_after


class Gone(TransportError):
    """The agency's system says that nobody is at `address` any more: it is not used again until it is set anew."""

    def __init__(self, message: str, address: str) -> None:
        super().__init__(message, permanent=True)
        self.address = address


class Adapter(Protocol):
    """A channel to agencies. Inherit from it: what is said here holds where an adapter says nothing else."""

    answers: bool = True
    """Whether it brings the agency's answer. Otherwise it only tells that an item waits in the inbox, gets none of the
    referral, and its failure leaves the dispatch open."""

    in_flight: int = 20
    """The most calls of one process to one agency at once."""

    waits: bool = True
    """Whether a call may wait for anything. One that never does answers out of memory: it gets no task and no deadline
    of its own, and its `deliver` must not wait."""

    quota: Quota = Quota()
    """How often the agency is told; for adapters that only tell."""

    async def deliver(self, envelope: Envelope) -> Result:
        """Hand over one dispatch. Raises `TransportError`; anything else raised counts as one too."""
        ...
