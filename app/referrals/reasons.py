"""Reasons that people give: sealed as all they write. What the broker says of itself stays open."""

from uuid import UUID

from app.crypto.sealing import Place
from app.crypto.vault import data_key
from app.db import Connection
from app.referrals.whole import keep_whole


def reason_of(table: str, row: UUID) -> Place:
    """Where the reason for what was done to a referral or a dispatch is kept."""
    return Place(table, "sealed_reason", row)


async def seal_reason(connection: Connection, referral_id: UUID, place: Place, reason: str) -> bytes:
    """The reason as it is kept at this place; its referral stays whole until the transaction ends.

    Raises `Unopenable`, and `Problem` (410) where the referral was disposed of.
    """
    await keep_whole(connection, referral_id)
    return (await data_key(connection, referral_id)).seal(place, reason.encode())
