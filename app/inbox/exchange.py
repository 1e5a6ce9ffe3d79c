"""The exchange on an item: what its agency asked, what the originator answered."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, union_all

from app.db import Connection
from app.referrals.models import Message, Response
from app.referrals.states import Outcome
from app.referrals.views import document


async def messages(connection: Connection, dispatch_ids: Sequence[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    """The messages of each of these dispatches, oldest first; one without any is left out."""
    among = func.any(list(dispatch_ids))  # one parameter, and so one prepared statement, however many there are
    asked = select(
        Response.dispatch_id, Response.agency.label("sender"), Response.recorded_at.label("at"), Response.content
    )
    sent = select(Message.dispatch_id, Message.sender, Message.sent_at.label("at"), Message.content)
    both = union_all(
        asked.where(
            Response.dispatch_id == among,
            Response.outcome == Outcome.MORE_INFORMATION,
            Response.flag.is_(None),
        ),
        sent.where(Message.dispatch_id == among),
    ).order_by("at")
    found: dict[UUID, list[dict[str, Any]]] = {}
    for row in await connection.execute(both):
        said = document(row.content)
        message = {"from": row.sender, "at": row.at, "text": said.get("text") or said["summary"]}
        found.setdefault(row.dispatch_id, []).append(message)
    return found
