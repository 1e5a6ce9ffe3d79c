"""Which referrals are about the same subject, found by the blind index: nothing is opened for it."""

from collections.abc import Collection, Mapping
from uuid import UUID

from sqlalchemy import text

from app.crypto.blind_index import Kind
from app.db import Connection

_SAME = text("""
    SELECT referral_id, array_agg(DISTINCT kind) AS kinds FROM subject_index
     WHERE digest = ANY(CAST(:digests AS bytea[])) AND referral_id IS DISTINCT FROM CAST(:besides AS uuid)
     GROUP BY referral_id ORDER BY referral_id DESC LIMIT :limit
""")


async def same_subject(
    connection: Connection, digests: Collection[bytes], *, besides: UUID | None = None, limit: int = 100
) -> Mapping[UUID, frozenset[Kind]]:
    """The newest referrals that share a digest, but for the one `besides`, and what kinds of compound they share.

    Whether the caller may know of them is not asked here: that one force looks at another's subject is itself telling.
    """
    parameters = {"digests": list(digests), "besides": besides, "limit": limit}
    rows = await connection.execute(_SAME, parameters)
    return {row.referral_id: frozenset(row.kinds) for row in rows}
