"""`Idempotency-Key` for actions on a referral: done once, however often and however many at once it is asked for."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.crypto.keys import Keys, Purpose
from app.crypto.sameness import sameness
from app.db import Connection
from app.errors import IDEMPOTENCY_KEY_REUSED, Problem

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

    A twin that still runs is waited for. Raises `Problem` (422) where the key stands for something else.
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
    if await connection.scalar(_TAKE, parameters) is not None:
        return True
    if await connection.scalar(_TAKEN, parameters) != meaning:
        raise Problem(IDEMPOTENCY_KEY_REUSED)
    return False
