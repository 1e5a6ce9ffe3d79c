"""The answers that an agency has given to an item, opened: what stands, and what is only kept as evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.crypto.models import WrappedKey
from app.crypto.vault import Opener
from app.db import Connection
from app.inbox.web_inbox.route import lenient
from app.referrals.models import Response
from app.referrals.states import Outcome
from app.referrals.views import document


@dataclass(frozen=True, slots=True)
class Given:
    """One answer. `flag`: None for the one that stands, else `conflict` or `late`."""

    at: datetime
    outcome: str
    flag: str | None
    said: dict[str, Any]


async def answers_of(connection: Connection, dispatch_id: UUID) -> Sequence[Given]:
    """Every answer to this item, but no question, in order. Raises `Unopenable`."""
    query = (
        select(
            Response.id,
            Response.referral_id,
            Response.outcome,
            Response.flag,
            Response.recorded_at,
            Response.content,
            Response.sealed,
            WrappedKey.ring_key,
            WrappedKey.wrapped,
        )
        .outerjoin(WrappedKey, WrappedKey.referral_id == Response.referral_id)
        .where(Response.dispatch_id == dispatch_id, Response.outcome != Outcome.MORE_INFORMATION.value)
        .order_by(Response.recorded_at, Response.id)
    )
    opener = Opener(connection)
    return [
        Given(row.recorded_at, row.outcome, row.flag, _said(opener, row)) for row in await connection.execute(query)
    ]


def _said(opener: Opener, row: Any) -> dict[str, Any]:
    if row.sealed and not row.content:  # emptied by disposal
        return {}
    said: dict[str, Any] = lenient(document(opener.content("response", row.id, row.referral_id, row)))
    return said
