"""Originator consent: who gave an answer is asked before it goes further, and decides.

What an agency gave under `consent_required` its originator sees at once; consent gates every copy to another party or
product (domain.md, section 4, onward_disclosure). The broker records what is asked and decided. It passes nothing on:
who has the consent gives the copy itself, under its conditions.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    DateTime,
    ForeignKey,
    Index,
    SmallInteger,
    Text,
    Uuid,
    func,
    select,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from app.audit.entry import commit
from app.audit.record import Actor, Event, Operation, record
from app.crypto.models import WrappedKey
from app.crypto.sealing import Place
from app.crypto.vault import Opener, data_key
from app.db import Base, Connection
from app.errors import DISPOSED, INVALID_BODY, NO_LONGER_OPEN, NOT_FOUND, STATE_CONFLICT, Problem
from app.parties.directory import Directory
from app.referrals.consent_documents import ConsentBody, DecisionBody
from app.referrals.lifecycle.notify import inboxes_changed
from app.referrals.models import Dispatch, Referral
from app.referrals.states import ConsentState, DispatchState

MOST = 200
"""Consents of one referral: their list is one page."""

_SETTLED = "It is settled already: read it to see how."
"""Not how: what is refused is not logged, and so tells nothing of what is kept."""

Row = dict[str, Any]


class Consent(Base):
    """One consent asked for. `recipient` is a party of ours; null where it is to go outside.

    `content` is what was asked (`reason`, `recipient_outside`), `sealed_decision` what the body says to it
    (`conditions`, `reason`): documents (JSON), sealed under the referral's data key, and empty once that was disposed
    of. `settled_party` is null where disposal has ended the asking.
    """

    __tablename__ = "consent"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    referral_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("referral.id"))
    dispatch_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("dispatch.id"))
    agency: Mapped[str] = mapped_column(Text, ForeignKey("party.code"))
    region: Mapped[str | None] = mapped_column(Text)
    recipient: Mapped[str | None] = mapped_column(Text, ForeignKey("party.code"))
    content: Mapped[bytes]
    state: Mapped[str] = mapped_column(Text, server_default=ConsentState.ASKED.value)
    asked_party: Mapped[str] = mapped_column(Text, ForeignKey("party.code"))
    asked_by: Mapped[str] = mapped_column(Text)
    asked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    chased_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    chases: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    settled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    settled_party: Mapped[str | None] = mapped_column(Text)
    settled_by: Mapped[str | None] = mapped_column(Text)
    sealed_decision: Mapped[bytes | None]

    __table_args__ = (
        CheckConstraint(f"state IN ({', '.join(repr(one.value) for one in ConsentState)})", name="state"),
        CheckConstraint("(state = 'asked') = (settled_at IS NULL)", name="settled"),
        CheckConstraint("(state IN ('given', 'refused')) = (sealed_decision IS NOT NULL)", name="decided"),
        Index("ix_consent_referral_id", "referral_id", "id"),
        Index("ix_consent_agency", "agency", "state", "id"),
        Index("ix_consent_asked", "region", "asked_at", postgresql_where=text("state = 'asked'")),
    )


# Whoever changes a consent holds its referral: the rest is read after that, and so as it is.
_LOCK = text("SELECT region, disposed_at FROM referral WHERE id = :id FOR NO KEY UPDATE")

_STORE = text("""
    INSERT INTO consent (id, referral_id, dispatch_id, agency, region, recipient, content, asked_party, asked_by)
    VALUES (:id, :referral_id, :dispatch_id, :agency, :region, :recipient, :content, :party, :by)
""")

_DECIDE = text("""
    UPDATE consent SET state = :state, settled_at = now(), settled_party = :party, settled_by = :by,
                       sealed_decision = :decision
     WHERE id = :id
""")

_WITHDRAW = text("""
    UPDATE consent SET state = 'withdrawn', settled_at = now(), settled_party = :party, settled_by = :by WHERE id = :id
""")

_CHASE = text("UPDATE consent SET chased_at = now(), chases = chases + 1 WHERE id = :id")


async def ask(
    connection: Connection, actor: Actor, dispatch: Row, referral: Row, given: ConsentBody, directory: Directory
) -> Row:
    """Ask the body of a dispatch of a referral (as `queries.get` gives both); returns the consent as it stands.

    Raises `Problem`: 409 where the dispatch is not answered, the same is asked already, or there are `MOST`; 410 where
    the referral was disposed of; 422 for a recipient that is unknown, or has the answer anyhow.
    """
    _check_recipient(given, dispatch, referral, directory)
    if dispatch["state"] != DispatchState.ANSWERED:
        raise Problem(STATE_CONFLICT, "Only what a body has answered can go further.")
    id, held = uuid7(), (await connection.execute(_LOCK, {"id": referral["id"]})).one()
    if held.disposed_at is not None:
        raise Problem(DISPOSED)
    before = await listed(connection, Consent.referral_id == referral["id"])
    if len(before) >= MOST:
        raise Problem(STATE_CONFLICT, f"{MOST} consents were asked for already.")
    if any(one["state"] == ConsentState.ASKED and _is_for(one, dispatch["id"], given) for one in before):
        raise Problem(STATE_CONFLICT, "It is asked for this recipient already, and not decided yet.")
    key = await data_key(connection, referral["id"])
    content = given.model_dump(include={"reason", "recipient_outside"})
    await connection.execute(
        _STORE,
        {
            "id": id,
            "referral_id": referral["id"],
            "dispatch_id": dispatch["id"],
            "agency": dispatch["agency"],
            "region": held.region,
            "recipient": given.recipient,
            "content": key.seal(_place(id, "content"), orjson.dumps(content)),
            "party": actor.party,
            "by": actor.name,
        },
    )
    found = await _one(connection, id)
    await _changed(connection, actor, found, "consent.asked", Operation.COLLECTION)
    return found


async def asked_before(
    connection: Connection, party: str, referral_id: UUID, dispatch_id: UUID, given: ConsentBody
) -> Row:
    """What this party has asked in these words, the newest: for who asks again under the same key. 404 if nothing."""
    asked = Consent.asked_party == party
    for one in reversed(await listed(connection, Consent.referral_id == referral_id, asked)):
        if _is_for(one, dispatch_id, given) and one["reason"] == given.reason:
            return one
    raise Problem(NOT_FOUND)


async def decide(connection: Connection, actor: Actor, id: UUID, given: DecisionBody) -> Row:
    """The body that answered decides; the very same again changes nothing. Returns the consent as it is then.

    Raises `Problem`: 404 where it is not asked of the actor's party; 409 where it is decided otherwise; 410 where it
    was withdrawn.
    """
    found = await _held(connection, Consent.agency == actor.party, id)
    if found["state"] == ConsentState.WITHDRAWN:
        raise Problem(NO_LONGER_OPEN, "It was withdrawn: nobody asks for it any more.")
    said = {"conditions": given.conditions, "refusal": given.reason}
    if found["state"] != ConsentState.ASKED:
        if found["state"] == given.decision and said == {name: found[name] for name in said}:
            return found
        raise Problem(STATE_CONFLICT, _SETTLED)
    key = await data_key(connection, found["referral_id"])
    decision = key.seal(_place(id, "sealed_decision"), orjson.dumps(said))
    parameters = {"id": id, "state": given.decision, "party": actor.party, "by": actor.name, "decision": decision}
    await connection.execute(_DECIDE, parameters)
    is_given = given.decision == ConsentState.GIVEN.value
    operation = Operation.DISCLOSURE if is_given else Operation.ALTERATION
    await _changed(connection, actor, found, f"consent.{given.decision}", operation)
    return await _one(connection, id)


async def withdraw(connection: Connection, actor: Actor, seen: ColumnElement[bool], id: UUID, *, oversees: bool) -> Row:
    """Ask no longer; once more changes nothing. A force withdraws what it asked, an overseer whatever it sees.

    Raises `Problem`: 404 where it is not there to see, 409 where it is decided or another's to withdraw.
    """
    found = await _held(connection, seen, id)
    if found["state"] == ConsentState.WITHDRAWN:
        return found
    if found["state"] != ConsentState.ASKED:
        raise Problem(STATE_CONFLICT, _SETTLED)
    if not oversees and found["asked_by"] != actor.party:
        raise Problem(STATE_CONFLICT, "The co-ordinator has asked for it, and withdraws it.")
    await connection.execute(_WITHDRAW, {"id": id, "party": actor.party, "by": actor.name})
    await _changed(connection, actor, found, "consent.withdrawn", Operation.ALTERATION)
    return await _one(connection, id)


async def chase(connection: Connection, actor: Actor, seen: ColumnElement[bool], id: UUID) -> Row:
    """Remind the body: its list shows it, and the timeline. Raises `Problem`: 404, or 409 where it is settled."""
    found = await _held(connection, seen, id)
    if found["state"] != ConsentState.ASKED:
        raise Problem(STATE_CONFLICT, _SETTLED)
    await connection.execute(_CHASE, {"id": id})
    await _changed(connection, actor, found, "consent.chased", Operation.ALTERATION)
    return await _one(connection, id)


async def find(connection: Connection, seen: ColumnElement[bool], id: UUID) -> Row | None:
    """One consent, or None where it is not there to see."""
    found = await listed(connection, seen, Consent.id == id)
    return found[0] if found else None


async def listed(connection: Connection, *conditions: ColumnElement[bool], limit: int | None = None) -> list[Row]:
    """The consents that all these conditions hold for, opened, in the order in which they were asked for.

    Conditions are on `consent`, or on its `referral`. Raises `Unopenable`.
    """
    statement = (
        select(Consent, Referral.reference, Dispatch.round, WrappedKey.ring_key, WrappedKey.wrapped)
        .join(Referral, Referral.id == Consent.referral_id)
        .join(Dispatch, Dispatch.id == Consent.dispatch_id)
        .outerjoin(WrappedKey, WrappedKey.referral_id == Consent.referral_id)
        .where(*conditions)
        .order_by(Consent.id)
        .limit(limit)
    )
    opener = Opener(connection)
    return [_shown(opener, row) for row in await connection.execute(statement)]


def looked(referral_id: UUID, items: list[Row]) -> Event:
    """What the log keeps of a look at a referral's consents, by its force or a co-ordinator."""
    told = {"ids": [str(item["id"]) for item in items]}
    return Event(Operation.CONSULTATION, "consents.read", referral_id, detail=told)


def _shown(opener: Opener, row: Any) -> Row:
    asked = _opened(opener, row, "content") or {"reason": None, "recipient_outside": None}
    decided = _opened(opener, row, "sealed_decision") or {"conditions": None, "refusal": None}
    plain = ("id", "referral_id", "reference", "dispatch_id", "agency", "round", "state", "recipient")
    return {
        **{name: getattr(row, name) for name in plain},
        **asked,
        "asked_by": row.asked_party,
        **{name: getattr(row, name) for name in ("asked_at", "chased_at", "chases", "settled_at")},
        "settled_by": row.settled_party,
        **decided,
    }


def _opened(opener: Opener, row: Any, column: str) -> Row | None:
    sealed = getattr(row, column)
    if not sealed:  # emptied by disposal: what is sealed is never empty
        return None
    said: Row = orjson.loads(opener.value(_place(row.id, column), row.referral_id, row, sealed))
    return said


async def _one(connection: Connection, id: UUID) -> Row:
    return (await listed(connection, Consent.id == id))[0]


async def _held(connection: Connection, seen: ColumnElement[bool], id: UUID) -> Row:
    """A consent that is there to see, and its referral kept from others to the end of the transaction."""
    found = await find(connection, seen, id)
    if found is None:
        raise Problem(NOT_FOUND)
    await connection.execute(_LOCK, {"id": found["referral_id"]})
    return await _one(connection, id)


async def _changed(connection: Connection, actor: Actor, found: Row, action: str, operation: Operation) -> None:
    """The log and the inbox of the body.

    The log names a recipient that is a party. Whom else an answer was disclosed to, it only commits to.
    """
    recipients, private = [], None
    if operation is Operation.DISCLOSURE:
        recipients = [found["recipient"]] if found["recipient"] else []
        private = None if recipients else commit({"recipient": found["recipient_outside"]})
    detail = {"consent": str(found["id"]), "recipient": found["recipient"] or "outside"}
    event = Event(operation, action, found["referral_id"], found["dispatch_id"], recipients, detail, private)
    await record(connection, actor, [event])
    await inboxes_changed(connection, [found["agency"]])


def _is_for(one: Row, dispatch_id: UUID, given: ConsentBody) -> bool:
    to = (one["dispatch_id"], one["recipient"], one["recipient_outside"])
    return to == (dispatch_id, given.recipient, given.recipient_outside)


def _check_recipient(given: ConsentBody, dispatch: Row, referral: Row, directory: Directory) -> None:
    if given.recipient is None:
        return
    if directory.get(given.recipient) is None or given.recipient in (dispatch["agency"], referral["originator"]):
        detail = "Name a party that has not the answer anyhow: neither its originator nor the body that gave it."
        raise Problem(INVALID_BODY, errors=[{"pointer": "/recipient", "detail": detail}])


def _place(id: UUID, column: str) -> Place:
    return Place("consent", column, id)
