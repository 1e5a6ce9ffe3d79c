"""The originator answers an agency's question: the item returns to the inbox, and the clock goes on."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from uuid_utils.compat import uuid7

from app.audit.record import Actor, Event, Operation, record
from app.crypto.sealing import Place
from app.crypto.vault import data_key
from app.db import Connection
from app.referrals.lifecycle.notify import inboxes_changed
from app.referrals.states import FINAL, DispatchState

_LOCK = text("""
    SELECT dispatch.state, dispatch.queried_at, dispatch.due_at, dispatch.expires_at, dispatch.agency, now() AS now
      FROM dispatch JOIN referral ON referral.id = dispatch.referral_id
     WHERE dispatch.id = :id AND dispatch.referral_id = :referral_id
       FOR NO KEY UPDATE OF referral, dispatch
""")

_STORE = text("""
    INSERT INTO message (id, dispatch_id, referral_id, sender, content, sealed, sent_by)
    VALUES (:message_id, :id, :referral_id, :sender, :content, true, :sent_by)
""")

_RETURN = text("""
    UPDATE dispatch
       SET state = 'delivered', queried_at = NULL, due_at = :due_at, expires_at = :expires_at,
           next_check_at = :next_check_at, claim_id = NULL, claim_expires_at = NULL,
           replies = replies + 1, replied_at = now(),
           -- An adapter that handed it over before hands it over again; who is told by notice is told of the reply, and
           -- a notice still under way says nothing of it (see `chase`).
           due_delivery_at = CASE WHEN attempt > 0 OR party.channel IN ('push', 'email') THEN now() END, failures = 0,
           attempt = attempt + CASE WHEN attempt > 0 AND party.channel IN ('push', 'email') THEN 1 ELSE 0 END
      FROM party
     WHERE party.code = dispatch.agency AND dispatch.id = :id
""")


@dataclass(frozen=True, slots=True)
class Clock:
    """When a dispatch whose clock stood is now due, expires, and is next asked about."""

    due_at: datetime
    expires_at: datetime
    next_check_at: datetime


def resume(queried_at: datetime, due_at: datetime, expires_at: datetime, now: datetime) -> Clock:
    """Pure: the time a question stood is added to what was left; the next thing asked is that it is overdue."""
    stood = now - queried_at
    return Clock(due_at + stood, expires_at + stood, due_at + stood)


async def reply(connection: Connection, actor: Actor, referral_id: UUID, dispatch_id: UUID, content: bytes) -> bool:
    """Send a message about a dispatch; False where it is not open any more. A question is answered by it."""
    row = (await connection.execute(_LOCK, {"id": dispatch_id, "referral_id": referral_id})).one_or_none()
    if row is None or row.state in FINAL or row.state == DispatchState.HELD:
        return False
    message_id = uuid7()
    key = await data_key(connection, referral_id)
    await connection.execute(
        _STORE,
        {
            "message_id": message_id,
            "id": dispatch_id,
            "referral_id": referral_id,
            "sender": actor.party,
            "content": key.seal(Place("message", "content", message_id), content),
            "sent_by": actor.name,
        },
    )
    if row.state == DispatchState.QUERY:
        clock = resume(row.queried_at, row.due_at, row.expires_at, row.now)
        await connection.execute(
            _RETURN,
            {
                "id": dispatch_id,
                "due_at": clock.due_at,
                "expires_at": clock.expires_at,
                "next_check_at": clock.next_check_at,
            },
        )
    await inboxes_changed(connection, [row.agency])
    sent = Event(Operation.DISCLOSURE, "message.sent", referral_id, dispatch_id, recipients=[row.agency])
    await record(connection, actor, [sent])
    return True
