"""The handover note: what a co-ordinator leaves for whoever comes next. One a region, sealed under a key of its own.

It may name people, as whatever is written by hand may: so it is content, and opened only to be shown.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, LargeBinary, Text, Uuid, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.audit.record import Actor, Event, Operation, record
from app.crypto.sealing import Place
from app.crypto.vault import data_key, vault_of
from app.db import Base, Connection

MOST_CHARACTERS = 5_000


class HandoverNote(Base):
    """`content` is the text, sealed under the data key of `id`; `party` is the region, or GAIN."""

    __tablename__ = "handover_note"

    party: Mapped[str] = mapped_column(Text, ForeignKey("party.code"), primary_key=True)
    id: Mapped[UUID] = mapped_column(Uuid, server_default=text("uuidv7()"))
    content: Mapped[bytes] = mapped_column(LargeBinary)
    written_party: Mapped[str] = mapped_column(Text)
    written_by: Mapped[str] = mapped_column(Text)
    written_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


@dataclass(frozen=True, slots=True)
class Note:
    """A note: its text, of which party's co-ordinator, and when.

    `written_by` is the writer's name, where the reader may know that; else the id of the account or key.
    """

    text: str
    written_party: str
    written_by: str
    written_at: datetime


_READ = text("""
    SELECT note.id, note.content, note.written_party, coalesce(account.name, note.written_by) AS written_by,
           note.written_at, data_key.ring_key, data_key.wrapped
      FROM handover_note AS note JOIN data_key ON data_key.referral_id = note.id
      LEFT JOIN account ON CAST(account.id AS text) = note.written_by
     WHERE note.party = :party
""")

_ID = text("""
    INSERT INTO handover_note (party, content, written_party, written_by) VALUES (:party, '', :by_party, :name)
    ON CONFLICT (party) DO UPDATE SET written_party = excluded.written_party
    RETURNING id
""")

_WRITE = text("""
    UPDATE handover_note SET content = :content, written_party = :by_party, written_by = :name, written_at = now()
     WHERE party = :party
""")


async def note_of(connection: Connection, party: str) -> Note | None:
    """The note of a region, opened; None where nothing is left. Raises `Unopenable`."""
    row = (await connection.execute(_READ, {"party": party})).one_or_none()
    if row is None or not row.content:
        return None
    key = vault_of(connection).key(row.id, row.ring_key, row.wrapped)
    words = key.open(_place(row.id), row.content).decode()
    return Note(words, row.written_party, row.written_by, row.written_at) if words else None


async def write_note(connection: Connection, actor: Actor, party: str, words: str) -> None:
    """Leave this note in place of the one before; an empty one clears it. Logged without its words."""
    given = {"party": party, "by_party": actor.party, "name": actor.name}
    id: UUID = (await connection.execute(_ID, given)).scalar_one()
    key = await data_key(connection, id)
    await connection.execute(_WRITE, {**given, "content": key.seal(_place(id), words.encode())})
    await record(connection, actor, [Event(Operation.ALTERATION, "handover_note.written", detail={"of": party})])


def _place(id: UUID) -> Place:
    return Place("handover_note", "content", id)
