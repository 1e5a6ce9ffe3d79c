"""Legal hold: what a court, an inquiry or a complaint needs is kept, whatever its date and a review say."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text

from app.audit.entry import commit
from app.audit.record import Actor, Event, Operation, record
from app.crypto.models import WrappedKey
from app.crypto.sealing import Place
from app.crypto.vault import Opener, data_key
from app.db import Connection
from app.errors import STATE_CONFLICT, Problem
from app.referrals.whole import keep_whole
from app.retention.models import LegalHold

_SET = text("""
    INSERT INTO legal_hold (referral_id, party, set_by, sealed_reason)
    VALUES (:id, :actor_party, :actor_name, :reason)
    ON CONFLICT (referral_id) DO NOTHING
    RETURNING referral_id
""")

_LIFT = text("DELETE FROM legal_hold WHERE referral_id = :id RETURNING referral_id")


@dataclass(frozen=True, slots=True)
class Held:
    """A legal hold that stands; `reason` is opened."""

    since: datetime
    party: str
    set_by: str
    reason: str


async def hold(connection: Connection, actor: Actor, referral_id: UUID, reason: str) -> None:
    """Put a referral on legal hold, open or closed.

    Raises `Problem`: 409 where it is on one already, 410 where it is disposed of.
    """
    await keep_whole(connection, referral_id)
    sealed = (await data_key(connection, referral_id)).seal(_reason_of(referral_id), reason.encode())
    parameters = {"id": referral_id, "reason": sealed, "actor_party": actor.party, "actor_name": actor.name}
    if await connection.scalar(_SET, parameters) is None:
        raise Problem(STATE_CONFLICT, "It is on legal hold already.")
    await _log(connection, actor, referral_id, "referral.legal_hold_set", reason)


async def lift(connection: Connection, actor: Actor, referral_id: UUID, reason: str) -> None:
    """End a referral's legal hold. Raises `Problem`: 409 where it is on none, 410 where it is disposed of."""
    await keep_whole(connection, referral_id)
    if await connection.scalar(_LIFT, {"id": referral_id}) is None:
        raise Problem(STATE_CONFLICT, "It is not on legal hold.")
    await _log(connection, actor, referral_id, "referral.legal_hold_lifted", reason)


async def held(connection: Connection, referral_id: UUID) -> Held | None:
    """The legal hold that a referral is on, or None. Raises `Unopenable`."""
    rows = await connection.execute(
        select(
            LegalHold.since,
            LegalHold.party,
            LegalHold.set_by,
            LegalHold.sealed_reason,
            WrappedKey.ring_key,
            WrappedKey.wrapped,
        )
        .outerjoin(WrappedKey, WrappedKey.referral_id == LegalHold.referral_id)
        .where(LegalHold.referral_id == referral_id)
    )
    row = rows.one_or_none()
    if row is None:
        return None
    reason = Opener(connection).value(_reason_of(referral_id), referral_id, row, row.sealed_reason)
    return Held(row.since, row.party, row.set_by, reason.decode())


async def _log(connection: Connection, actor: Actor, referral_id: UUID, action: str, reason: str) -> None:
    private = commit({"reason": reason})
    await record(connection, actor, [Event(Operation.ALTERATION, action, referral_id, private=private)])


def _reason_of(referral_id: UUID) -> Place:
    return Place("legal_hold", "sealed_reason", referral_id)
