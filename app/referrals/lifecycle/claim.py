"""Claims: several consumers of one agency share its inbox; each item goes to one of them until its lease ends."""

from uuid import UUID

from uuid_utils.compat import uuid7

from app.db import Connection, Numbered

_CLAIM = Numbered.of("""
    WITH free AS MATERIALIZED (
        SELECT id, referral_id, priority, number, said_bytes FROM dispatch
         WHERE agency = :agency AND state IN ('queued', 'delivered')
           AND (claim_expires_at IS NULL OR claim_expires_at <= now())
         ORDER BY priority, number
         LIMIT CAST(:limit AS integer)
           FOR NO KEY UPDATE SKIP LOCKED
    ), sized AS (
        SELECT free.id, octet_length(content) + said_bytes AS size,
               sum(octet_length(content) + said_bytes)
                   OVER (ORDER BY free.priority, number ROWS UNBOUNDED PRECEDING) AS size_so_far
          FROM free JOIN referral ON referral.id = free.referral_id
    )
    UPDATE dispatch
       SET claim_id = :claim, claim_expires_at = now() + make_interval(secs => CAST(:lease AS double precision))
     WHERE id = ANY(ARRAY(SELECT id FROM sized WHERE size_so_far <= :most_bytes OR size_so_far = size))
    RETURNING id
""")


async def claim(connection: Connection, agency: str, limit: int, lease_seconds: int, most_bytes: int) -> list[UUID]:
    """Claim up to `limit` waiting items of an agency that nobody holds, under one new claim; their ids.

    Those first in the queue whose documents, questions and replies have `most_bytes` together; at least one.
    """
    parameters = {
        "claim": uuid7(),
        "agency": agency,
        "limit": limit,
        "lease": lease_seconds,
        "most_bytes": most_bytes,
    }
    return [id for (id,) in await _CLAIM.within(connection, parameters)]


def claim_holds(given: UUID | None, current: UUID | None, *, lives: bool) -> bool:
    """Pure: whether a caller may act on an item: under its living claim, or without one while nobody else's lives."""
    if given is None:
        return current is None or not lives
    return lives and given == current
