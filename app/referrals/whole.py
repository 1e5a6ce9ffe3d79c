"""Who seals what somebody wrote about a referral keeps it whole: disposal waits, or has gone before and is seen."""

from uuid import UUID

from sqlalchemy import text

from app.db import Connection
from app.errors import DISPOSED, Problem

# Disposal holds the same lock: whoever comes second sees what the first has done.
_LOCK = text("SELECT disposed_at FROM referral WHERE id = :id FOR NO KEY UPDATE")


async def keep_whole(connection: Connection, referral_id: UUID) -> None:
    """Keep a referral from disposal to the end of the transaction. Raises `Problem` (410) where it was disposed of."""
    if await connection.scalar(_LOCK, {"id": referral_id}) is not None:
        raise Problem(DISPOSED)
