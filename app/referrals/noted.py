"""Alerts that a co-ordinator notes: read, and nothing needs doing. So they leave the list, with who said so and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from app.audit.record import Actor, Event, Operation, record
from app.crypto.vault import Opener
from app.db import Connection
from app.referrals.reasons import reason_of, seal_reason

_NOTE = text("""
    UPDATE alert SET settled_at = now(), sealed_reason = :reason
     WHERE dispatch_id = :id AND settled_at IS NULL
    RETURNING kind
""")

_STANDING = text("""
    SELECT alert.dispatch_id, alert.kind FROM dispatch JOIN alert ON alert.dispatch_id = dispatch.id
     WHERE dispatch.referral_id = :id AND alert.settled_at IS NULL ORDER BY alert.id
""")

_NOTED = text("""
    SELECT dispatch_id, kind, settled_at, sealed_reason, ring_key, wrapped
      FROM alert LEFT JOIN data_key USING (referral_id)
     WHERE referral_id = :id AND sealed_reason IS NOT NULL ORDER BY settled_at, alert.id
""")


@dataclass(frozen=True, slots=True)
class Noted:
    """An alert that was noted: of which dispatch, what it was, when, and why nothing needed doing."""

    dispatch_id: UUID
    kind: str
    at: datetime
    reason: str


async def note(connection: Connection, actor: Actor, referral_id: UUID, dispatch_id: UUID, reason: str) -> bool:
    """Settle what stands of a dispatch's alerts; False where nothing does.

    Raises `Unopenable`, and `Problem` (410) where the referral was disposed of.
    """
    sealed = await seal_reason(connection, referral_id, reason_of("alert", dispatch_id), reason)
    kinds = sorted((await connection.execute(_NOTE, {"id": dispatch_id, "reason": sealed})).scalars())
    if not kinds:
        return False
    event = Event(Operation.ALTERATION, "dispatch.noted", referral_id, dispatch_id, detail={"alerts": kinds})
    await record(connection, actor, [event])
    return True


async def standing(connection: Connection, referral_id: UUID) -> Mapping[UUID, list[str]]:
    """The kinds of the alerts that stand, by the dispatch that they are about."""
    found: dict[UUID, list[str]] = {}
    for row in await connection.execute(_STANDING, {"id": referral_id}):
        found.setdefault(row.dispatch_id, []).append(row.kind)
    return found


async def noted(connection: Connection, referral_id: UUID) -> list[Noted]:
    """What was noted about a referral's dispatches, in order. Raises `Unopenable`."""
    rows, opener = (await connection.execute(_NOTED, {"id": referral_id})).all(), Opener(connection)
    return [
        Noted(
            row.dispatch_id,
            row.kind,
            row.settled_at,
            opener.value(reason_of("alert", row.dispatch_id), referral_id, row, row.sealed_reason).decode(),
        )
        for row in rows
    ]
