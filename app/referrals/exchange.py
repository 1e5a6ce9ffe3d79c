"""The exchange on an item: what its agency asked, what the originator answered."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, SQLColumnExpression, func, literal_column, select, union_all

from app.crypto.models import WrappedKey
from app.crypto.vault import Opener
from app.db import Connection
from app.referrals.models import Message, Response
from app.referrals.states import Outcome
from app.referrals.views import document


async def messages(connection: Connection, dispatch_ids: Sequence[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    """The messages of each of these dispatches, oldest first; one without any is left out."""
    among = func.any(list(dispatch_ids))  # one parameter, and so one prepared statement, however many there are
    asked = _sealed(Response, Response.agency.label("sender"), Response.recorded_at.label("at"))
    sent = _sealed(Message, Message.sender, Message.sent_at.label("at"))
    both = union_all(
        asked.where(
            Response.dispatch_id == among,
            Response.outcome == Outcome.MORE_INFORMATION,
            Response.flag.is_(None),
        ),
        sent.where(Message.dispatch_id == among),
    ).order_by("at")
    found: dict[UUID, list[dict[str, Any]]] = {}
    opener = Opener(connection)
    for row in await connection.execute(both):
        if row.sealed and not row.content:  # emptied by disposal: what is sealed is never empty
            continue
        said = document(opener.content(row.table, row.id, row.referral_id, row))
        message = {"from": row.sender, "at": row.at, "text": said.get("text") or said["summary"]}
        found.setdefault(row.dispatch_id, []).append(message)
    return found


def _sealed(table: type[Response | Message], *columns: SQLColumnExpression[Any]) -> Select[*tuple[Any, ...]]:
    """These columns of a table, with its content and what that is opened with."""
    return select(
        literal_column(f"'{table.__tablename__}'").label("table"),
        table.id,
        table.dispatch_id,
        table.referral_id,
        table.content,
        table.sealed,
        WrappedKey.ring_key,
        WrappedKey.wrapped,
        *columns,
    ).outerjoin(WrappedKey, WrappedKey.referral_id == table.referral_id)
