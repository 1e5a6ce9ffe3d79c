"""Acknowledgement: an agency says that it has a dispatch, or has seen that one is cancelled."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from app.audit.record import Actor
from app.db import Connection, Numbered
from app.referrals.lifecycle.notify import inboxes_changed


class Acknowledgement(StrEnum):
    """What an acknowledgement came to."""

    ACKNOWLEDGED = "acknowledged"  # now or before: repeating gives the same answer
    NO_LONGER_OPEN = "no_longer_open"  # expired or undeliverable before it was acknowledged
    HELD_BY_ANOTHER = "held_by_another"  # another consumer of the agency holds it, or the claim named has ended
    NOT_FOUND = "not_found"  # unknown, not this agency's, or not yet released to it


class Acknowledged(NamedTuple):
    """What an acknowledgement came to, and the state of its dispatch after it (None where it is not found)."""

    result: Acknowledgement
    state: str | None = None


# One statement locks, judges, moves, settles and logs: a batch goes over the wire once, and each row is written once.
# `holds` is the rule of `claim_holds`. The log has acknowledgements first.
_ACKNOWLEDGE = Numbered.of("""
    WITH locked AS MATERIALIZED (
        SELECT id, referral_id, state, acknowledged_at, cancellation_seen_at,
               CASE WHEN CAST(:claim AS uuid) IS NULL THEN claim_id IS NULL OR (claim_expires_at > now()) IS NOT TRUE
                    ELSE (claim_id = :claim AND claim_expires_at > now()) IS TRUE END AS holds
          FROM dispatch
         WHERE id = ANY(CAST(:ids AS uuid[])) AND agency = :actor_party AND queued_at IS NOT NULL
         ORDER BY referral_id, id FOR NO KEY UPDATE
    ), judged AS MATERIALIZED (
        SELECT id, referral_id,
               CASE WHEN state IN ('queued', 'delivered') AND NOT holds THEN 'held_by_another'
                    WHEN state IN ('expired', 'undeliverable') AND acknowledged_at IS NULL THEN 'no_longer_open'
                    ELSE 'acknowledged' END AS verdict,
               CASE WHEN state IN ('queued', 'delivered') AND holds THEN 'acknowledged' ELSE state END AS state,
               CASE WHEN state IN ('queued', 'delivered') AND holds THEN 'acknowledged'
                    WHEN state = 'cancelled' AND cancellation_seen_at IS NULL THEN 'cancellation_seen' END AS change
          FROM locked
    ), moved AS (
        UPDATE dispatch
           SET state = judged.state,
               acknowledged_at = CASE change WHEN 'acknowledged' THEN now() ELSE acknowledged_at END,
               cancellation_seen_at = CASE change WHEN 'cancellation_seen' THEN now() ELSE cancellation_seen_at END
          FROM judged WHERE dispatch.id = judged.id AND change IS NOT NULL
    ), settled AS (
        UPDATE alert SET settled_at = now()
         WHERE dispatch_id = ANY(ARRAY(SELECT id FROM judged WHERE change = 'acknowledged'))
           AND settled_at IS NULL AND kind IN ('urgent_unacknowledged', 'notice_failed')
    ), logged AS (
        INSERT INTO audit_event (operation, action, party, actor, request_id, referral_id, dispatch_id)
        SELECT 'alteration', 'dispatch.' || change, :actor_party, :actor_name, :request_id, referral_id, id
          FROM judged WHERE change IS NOT NULL ORDER BY change, referral_id, id
    )
    SELECT id, verdict, state, change IS NOT NULL FROM judged
""")


async def acknowledge(
    connection: Connection, actor: Actor, dispatch_ids: Sequence[UUID], claim_id: UUID | None = None
) -> Mapping[UUID, Acknowledged]:
    """Acknowledge for the actor's party, under a claim where one is named; the answer names every id given."""
    given = {"ids": dispatch_ids, "claim": claim_id, **actor.parameters()}
    judged = await _ACKNOWLEDGE.within(connection, given)
    if any(changes for *_, changes in judged):
        await inboxes_changed(connection, [actor.party])
    results = dict.fromkeys(dispatch_ids, Acknowledged(Acknowledgement.NOT_FOUND))
    return results | {id: Acknowledged(_VERDICTS[verdict], state) for id, verdict, state, _ in judged}


_VERDICTS = {verdict.value: verdict for verdict in Acknowledgement}
