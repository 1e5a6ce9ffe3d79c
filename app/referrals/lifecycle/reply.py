"""The originator answers an agency's question: the item returns to the inbox, and the clock goes on."""

from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from uuid_utils.compat import uuid7

from app.audit.record import Actor, Event, Operation, record
from app.crypto.sealing import Place
from app.crypto.vault import data_key
from app.db import Connection
from app.parties.codes import Priority
from app.parties.directory import Directory
from app.parties.policy import Policy
from app.referrals.codes import priority_of
from app.referrals.lifecycle.notify import inboxes_changed, referral_changed
from app.referrals.schedule import Span, first_check, resume, steps
from app.referrals.states import DispatchState

_LOCK = text("""
    SELECT dispatch.state, dispatch.queried_at, dispatch.due_at, dispatch.expires_at, dispatch.agency,
           dispatch.priority, coalesce(dispatch.clock_from, dispatch.created_at) AS received, now() AS now
      FROM dispatch JOIN referral ON referral.id = dispatch.referral_id
     WHERE dispatch.id = :id AND dispatch.referral_id = :referral_id
       FOR NO KEY UPDATE OF referral, dispatch
""")

_STORE = text("""
    WITH stored AS (
        INSERT INTO message (id, dispatch_id, referral_id, sender, content, sealed, sent_by)
        VALUES (:message_id, :id, :referral_id, :sender, :content, true, :sent_by)
    )
    UPDATE dispatch SET said_bytes = said_bytes + octet_length(CAST(:content AS bytea)) WHERE id = :id
""")

_RETURN = text("""
    UPDATE dispatch
       SET state = 'delivered', queried_at = NULL, clock_from = :clock_from, due_at = :due_at,
           expires_at = :expires_at, next_check_at = :next_check_at, claim_id = NULL, claim_expires_at = NULL,
           replies = replies + 1, replied_at = now(),
           -- An adapter that handed it over before hands it over again; who is told by notice is told of the reply, and
           -- a notice still under way says nothing of it (see `chase`).
           due_delivery_at = CASE WHEN attempt > 0 OR party.channel IN ('push', 'email') THEN now() END, failures = 0,
           attempt = attempt + CASE WHEN attempt > 0 AND party.channel IN ('push', 'email') THEN 1 ELSE 0 END
      FROM party
     WHERE party.code = dispatch.agency AND dispatch.id = :id
""")


async def reply(
    connection: Connection, actor: Actor, referral_id: UUID, dispatch_id: UUID, content: bytes, directory: Directory
) -> bool:
    """Answer the question that a dispatch's agency has asked; False where none waits for an answer."""
    row = (await connection.execute(_LOCK, {"id": dispatch_id, "referral_id": referral_id})).one_or_none()
    if row is None or row.state != DispatchState.QUERY:
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
    await connection.execute(_RETURN, {"id": dispatch_id, **_resumed(row, directory[row.agency].policy)})
    await referral_changed(connection, referral_id)
    await inboxes_changed(connection, [row.agency])
    sent = Event(Operation.DISCLOSURE, "message.sent", referral_id, dispatch_id, recipients=[row.agency])
    await record(connection, actor, [sent])
    return True


def _resumed(row: Row[Any], policy: Policy) -> dict[str, Any]:
    """The times of a dispatch whose clock goes on."""
    priority = Priority(priority_of(row.priority))
    given = Span(row.received, row.due_at, row.expires_at)
    resumed = resume(given, row.queried_at, row.now, priority, policy)
    return {
        "clock_from": resumed.received,
        "due_at": resumed.due,
        "expires_at": resumed.expires,
        "next_check_at": first_check(steps(resumed, priority, policy), row.now),
    }
