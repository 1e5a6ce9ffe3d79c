"""Delivery: an agency sees a dispatch for the first time, usually before it says anything about it."""

from collections.abc import Sequence
from uuid import UUID

from app.audit.record import Actor
from app.db import Connection, Numbered

_DELIVER = Numbered.of("""
    WITH moved AS (
        UPDATE dispatch
           SET state = CASE WHEN state = 'queued' THEN 'delivered' ELSE state END, delivered_at = now()
         WHERE id = ANY(ARRAY(
                   SELECT id FROM dispatch
                    WHERE id = ANY(CAST(:ids AS uuid[])) AND delivered_at IS NULL AND queued_at IS NOT NULL
                      AND state <> 'cancelled'
                    ORDER BY referral_id, id FOR NO KEY UPDATE))
        RETURNING id, referral_id, agency
    ), logged AS (
        INSERT INTO audit_event (operation, action, party, actor, request_id, referral_id, dispatch_id, recipients)
        SELECT 'disclosure', 'dispatch.delivered', :actor_party, :actor_name, :request_id, referral_id, id,
               ARRAY[agency]
          FROM moved ORDER BY referral_id, id
    )
    SELECT id FROM moved
""")


async def deliver(connection: Connection, actor: Actor, dispatch_ids: Sequence[UUID]) -> set[UUID]:
    """Mark those among these that nobody has seen yet as delivered and log the disclosure; returns which they are.

    One that was acknowledged or answered unseen keeps its state. What was cancelled unseen stays undisclosed.
    Commit before the content leaves the process: what the log does not hold must not have been disclosed.
    """
    if not dispatch_ids:
        return set()
    rows = await _DELIVER.within(connection, {"ids": dispatch_ids, **actor.parameters()})
    return {id for (id,) in rows}
