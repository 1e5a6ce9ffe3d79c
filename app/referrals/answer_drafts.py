"""Answers being written: one for each item, shared by the colleagues of its agency, sealed like what it will become."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import DateTime, ForeignKey, Integer, Text, Uuid, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from app.audit.record import Actor
from app.crypto.models import WrappedKey
from app.crypto.sealing import Place
from app.crypto.vault import Opener, data_key
from app.db import Base, Connection
from app.referrals.whole import keep_whole


class AnswerDraft(Base):
    """What has been written so far. `content` is a document like a response's, not yet valid, sealed."""

    __tablename__ = "answer_draft"

    dispatch_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("dispatch.id"), primary_key=True)
    referral_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("referral.id"), index=True)
    agency: Mapped[str] = mapped_column(Text, ForeignKey("party.code"))
    content: Mapped[bytes]
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    saved_by: Mapped[str] = mapped_column(Text)
    saved_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft as it stands; each saving makes another `version`."""

    document: dict[str, Any]
    version: int


async def find(connection: Connection, dispatch_id: UUID) -> Draft | None:
    """The draft of an answer to this item, if there is one. Raises `Unopenable`."""
    row = (
        await connection.execute(
            select(
                AnswerDraft.referral_id,
                AnswerDraft.content,
                AnswerDraft.version,
                WrappedKey.ring_key,
                WrappedKey.wrapped,
            )
            .outerjoin(WrappedKey, WrappedKey.referral_id == AnswerDraft.referral_id)
            .where(AnswerDraft.dispatch_id == dispatch_id)
        )
    ).one_or_none()
    if row is None:
        return None
    opened = Opener(connection).value(_place(dispatch_id), row.referral_id, row, row.content)
    return Draft(orjson.loads(opened), row.version)


async def save(
    connection: Connection, actor: Actor, dispatch_id: UUID, referral_id: UUID, document: dict[str, Any]
) -> None:
    """Keep the draft in place of what was there. The item must be open.

    Raises `Problem` (410) where its referral was disposed of.
    """
    await keep_whole(connection, referral_id)
    key = await data_key(connection, referral_id)
    statement = insert(AnswerDraft).values(
        dispatch_id=dispatch_id,
        referral_id=referral_id,
        agency=actor.party,
        content=key.seal(_place(dispatch_id), orjson.dumps(document)),
        saved_by=actor.name,
    )
    changes = {
        "content": statement.excluded.content,
        "saved_by": statement.excluded.saved_by,
        "saved_at": func.now(),
        "version": AnswerDraft.version + 1,
    }
    await connection.execute(statement.on_conflict_do_update(index_elements=[AnswerDraft.dispatch_id], set_=changes))


async def drop(connection: Connection, dispatch_id: UUID) -> None:
    """Forget the draft of this item: it was sent, or will not be."""
    await connection.execute(delete(AnswerDraft).where(AnswerDraft.dispatch_id == dispatch_id))


def _place(dispatch_id: UUID) -> Place:
    return Place("answer_draft", "content", dispatch_id)
