"""Answers being written: one for each item, shared by the colleagues of its agency, sealed like what it will become."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import DateTime, ForeignKey, Integer, Text, Uuid, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from app.audit.record import Actor, Event, Operation, record
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


async def is_there(connection: Connection, dispatch_id: UUID) -> bool:
    """Whether an answer to this item is being written; nothing of it is opened."""
    query = select(AnswerDraft.version).where(AnswerDraft.dispatch_id == dispatch_id)
    return await connection.scalar(query) is not None


async def find(connection: Connection, actor: Actor, dispatch_id: UUID) -> Draft | None:
    """The draft of an answer to this item, if there is one, read by the actor. Raises `Unopenable`."""
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
    await record(connection, actor, [_told(Operation.CONSULTATION, "answer_draft.read", dispatch_id)])
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
    merged = statement.on_conflict_do_update(index_elements=[AnswerDraft.dispatch_id], set_=changes)
    version = await connection.scalar(merged.returning(AnswerDraft.version))
    if version == 1:
        event = _told(Operation.COLLECTION, "answer_draft.begun", dispatch_id)
    else:
        event = _told(Operation.ALTERATION, "answer_draft.saved", dispatch_id)
    await record(connection, actor, [event])


async def drop(connection: Connection, actor: Actor, dispatch_id: UUID) -> None:
    """Forget the draft of this item, if there is one: it was sent, or will not be."""
    statement = delete(AnswerDraft).where(AnswerDraft.dispatch_id == dispatch_id).returning(AnswerDraft.version)
    if await connection.scalar(statement) is not None:
        await record(connection, actor, [_told(Operation.ERASURE, "answer_draft.dropped", dispatch_id)])


def _told(operation: Operation, action: str, dispatch_id: UUID) -> Event:
    """By the dispatch alone: what an agency has not sent yet is no part of the referral's timeline."""
    return Event(operation, action, detail={"dispatch": str(dispatch_id)})


def _place(dispatch_id: UUID) -> Place:
    return Place("answer_draft", "content", dispatch_id)
