"""Writing the log: in the same transaction as the change, or the change does not happen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson

from app.audit.entry import Private
from app.db import Connection, Numbered


class Operation(StrEnum):
    """The processing operations that DPA 2018 section 62 requires to be logged."""

    COLLECTION = "collection"
    ALTERATION = "alteration"
    CONSULTATION = "consultation"
    DISCLOSURE = "disclosure"
    COMBINATION = "combination"
    ERASURE = "erasure"


_READING = frozenset({Operation.CONSULTATION, Operation.DISCLOSURE, Operation.COMBINATION})


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: the party, the credential (a key's id, a person's account, or a part such as `worker`), the request.

    `purpose` is the code of why it reads, where it said so; events of consultation and disclosure carry it.
    """

    party: str
    name: str
    request_id: str | None = None
    purpose: str | None = None

    def parameters(self) -> dict[str, str | None]:
        """The actor as statement parameters: `actor_party`, `actor_name`, `request_id`."""
        return {"actor_party": self.party, "actor_name": self.name, "request_id": self.request_id}


@dataclass(frozen=True, slots=True)
class Event:
    """One entry. `action` is what happened (`referral.cancelled`); `detail` holds codes and counts only.

    `private` are commitments to what may be personal data (`app.audit.entry.commit`).
    """

    operation: Operation
    action: str
    referral_id: UUID | None = None
    dispatch_id: UUID | None = None
    recipients: Sequence[str] = ()
    detail: Mapping[str, Any] | None = None
    private: Private | None = None


_INSERT = Numbered.of("""
    INSERT INTO audit_event (party, actor, request_id, operation, action, referral_id, dispatch_id, recipients, detail)
    SELECT :actor_party, :actor_name, :request_id, operation, action, referral_id, dispatch_id,
           string_to_array(recipients, ','), detail
      FROM unnest(CAST(:operations AS text[]), CAST(:actions AS text[]), CAST(:referrals AS uuid[]),
                  CAST(:dispatches AS uuid[]), CAST(:recipients AS text[]), CAST(:details AS jsonb[]))
           WITH ORDINALITY AS entry (operation, action, referral_id, dispatch_id, recipients, detail, position)
     ORDER BY position
""")

_INSERT_PRIVATE = Numbered.of("""
    INSERT INTO audit_event (party, actor, request_id, operation, action, referral_id, dispatch_id, recipients, detail,
                             commitments)
    VALUES (:actor_party, :actor_name, :request_id, :operation, :action, CAST(:referral_id AS uuid),
            CAST(:dispatch_id AS uuid), string_to_array(:recipients, ','), CAST(:detail AS jsonb),
            CAST(:commitments AS jsonb))
""")

# Not by RETURNING: who writes the log does not read it.
_INSERT_SALT = Numbered.of("""
    INSERT INTO audit_salt (event_id, salt) VALUES (currval('audit_event_id_seq'), CAST(:salt AS bytea))
""")


async def record(connection: Connection, actor: Actor, events: Sequence[Event]) -> None:
    """Append the events in the caller's transaction, in order (those with something private first)."""
    for event in events:
        if event.private is not None:
            await _record_private(connection, actor, event, event.private)
    plain = [event for event in events if event.private is None]
    if plain:
        await _record_plain(connection, actor, plain)


async def _record_private(connection: Connection, actor: Actor, event: Event, private: Private) -> None:
    await _INSERT_PRIVATE.within(
        connection,
        {
            **actor.parameters(),
            "operation": event.operation.value,
            "action": event.action,
            "referral_id": event.referral_id,
            "dispatch_id": event.dispatch_id,
            "recipients": ",".join(event.recipients) or None,
            "detail": _json(_detail(event, actor)),
            "commitments": _json(private.commitments),
        },
    )
    await _INSERT_SALT.within(connection, {"salt": private.salt})


async def _record_plain(connection: Connection, actor: Actor, events: Sequence[Event]) -> None:
    await _INSERT.within(
        connection,
        {
            **actor.parameters(),
            "operations": [event.operation.value for event in events],
            "actions": [event.action for event in events],
            "referrals": [event.referral_id for event in events],
            "dispatches": [event.dispatch_id for event in events],
            "recipients": [",".join(event.recipients) or None for event in events],
            "details": [_json(_detail(event, actor)) for event in events],
        },
    )


def _detail(event: Event, actor: Actor) -> Mapping[str, Any] | None:
    if actor.purpose is None or event.operation not in _READING:
        return event.detail
    return {**(event.detail or {}), "purpose": actor.purpose}


def _json(value: Mapping[str, Any] | None) -> str | None:
    return orjson.dumps(value).decode() if value else None
