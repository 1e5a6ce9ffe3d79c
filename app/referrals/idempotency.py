"""`Idempotency-Key` for actions on a referral: done once, however often and however many at once it is asked for."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.crypto.keys import Keys, Purpose
from app.crypto.sameness import sameness
from app.db import Connection
from app.errors import IDEMPOTENCY_IN_FLIGHT, IDEMPOTENCY_KEY_REUSED, Problem

# A twin's commit is waited for, but not for ever; what is done afterwards waits for its locks as long as it must.
_LIMIT = text("SELECT set_config('lock_timeout', :longest, true)")
_LONGEST, _NO_LIMIT = "700ms", "0"
_LOCK_NOT_AVAILABLE = "55P03"

_TAKE = text("""
    INSERT INTO submission (party, key, sameness, referral_id) VALUES (:party, :key, :sameness, :referral_id)
    ON CONFLICT (party, key) DO NOTHING
    RETURNING key
""")

_TAKEN = text("SELECT sameness FROM submission WHERE party = :party AND key = :key")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for: by which party, about which referral, doing what, with which body."""

    party: str
    referral_id: UUID
    action: str
    body: dict[str, Any]


async def first_time(connection: Connection, keys: Keys, key: str | None, asked: Asked) -> bool:
    """Whether this is asked for the first time; without a `key` it always is. Taken with the transaction.

    A twin that still runs is waited for. Raises `Problem`: 409 where that takes too long, 422 where the key stands for
    something else.
    """
    if key is None:
        return True
    meaning = sameness(keys, {"referral": str(asked.referral_id), "action": asked.action, "body": asked.body})
    parameters = {
        "party": asked.party,
        "key": keys.digest(Purpose.IDEMPOTENCY, key.encode()),
        "sameness": meaning,
        "referral_id": asked.referral_id,
    }
    if await _take(connection, parameters):
        return True
    if await connection.scalar(_TAKEN, parameters) != meaning:
        raise Problem(IDEMPOTENCY_KEY_REUSED)
    return False


async def _take(connection: Connection, parameters: dict[str, Any]) -> bool:
    await connection.execute(_LIMIT, {"longest": _LONGEST})
    try:
        taken = await connection.scalar(_TAKE, parameters)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise Problem(IDEMPOTENCY_IN_FLIGHT, retry_after=1) from None
        raise
    await connection.execute(_LIMIT, {"longest": _NO_LIMIT})
    return taken is not None
