"""Referrals that a person has begun and not yet submitted: their party's own, sealed, kept for a while.

A draft holds the fields of its form as they were typed. Its data key lies beside those of referrals, under the draft's
id, so that rotation finds it; the database deletes it with the draft.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import DateTime, ForeignKey, Index, Text, Uuid, func, select, text
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from app.audit.record import Actor, Event, Operation, record
from app.crypto.keys import Keys, Purpose
from app.crypto.sealing import Place
from app.crypto.vault import Opener, data_key
from app.db import Base, Connection
from app.referrals.models import Referral
from app.referrals.same_subject import same_subject

KEPT_DAYS = 30
"""How long a draft is kept that nobody goes on with."""

_LISTED = 50
_EXPIRED_AT_ONCE = 100

Content = dict[str, dict[str, Any]]
"""By section of the form, its fields."""


class Draft(Base):
    """A referral in the making. `sealed` is its content (JSON), sealed under a data key of its own id."""

    __tablename__ = "draft"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    party: Mapped[str] = mapped_column(Text, ForeignKey("party.code"))
    created_by: Mapped[str] = mapped_column(Text)
    updated_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    sealed: Mapped[bytes | None]

    __table_args__ = (
        Index("ix_draft_party_updated_at", "party", "updated_at"),
        Index("ix_draft_updated_at", "updated_at"),
    )


_BEGIN = text("INSERT INTO draft (id, party, created_by, updated_by) VALUES (:id, :party, :actor, :actor)")

_LOCK = text("SELECT id FROM draft WHERE id = :id AND party = :party FOR NO KEY UPDATE")

_SAVE = text("UPDATE draft SET sealed = :sealed, updated_by = :actor, updated_at = now() WHERE id = :id")

_READ = text("""
    SELECT draft.id, draft.updated_at, draft.sealed, data_key.ring_key, data_key.wrapped
      FROM draft LEFT JOIN data_key ON data_key.referral_id = draft.id
     WHERE draft.id = :id AND draft.party = :party
""")

_LIST = text("""
    SELECT draft.id, draft.updated_by, draft.updated_at, draft.sealed, data_key.ring_key, data_key.wrapped
      FROM draft LEFT JOIN data_key ON data_key.referral_id = draft.id
     WHERE draft.party = :party ORDER BY draft.updated_at DESC, draft.id LIMIT :limit
""")

_DISCARD = text("DELETE FROM draft WHERE id = :id AND party = :party RETURNING id")

_EXPIRE = text("""
    DELETE FROM draft WHERE id = ANY(ARRAY(
        SELECT id FROM draft WHERE updated_at < now() - make_interval(days => CAST(:days AS integer))
         ORDER BY updated_at LIMIT :limit FOR UPDATE SKIP LOCKED))
    RETURNING id
""")

_SUBMITTED = text("SELECT referral_id FROM submission WHERE party = :party AND key = :key")


def key_of(id: UUID) -> str:
    """The `Idempotency-Key` that a draft is submitted with: submitted twice, it is one referral."""
    return f"draft-{id}"


async def begin(connection: Connection, actor: Actor) -> UUID:
    """A new draft, empty; returns its id."""
    id = uuid7()
    await connection.execute(_BEGIN, {"id": id, "party": actor.party, "actor": actor.name})
    await record(connection, actor, [_told(Operation.COLLECTION, "draft.begun", id)])
    return id


async def save(connection: Connection, actor: Actor, id: UUID, section: str, fields: Mapping[str, Any]) -> bool:
    """Keep one section of a draft of the actor's party; False where there is none of this id."""
    if await connection.scalar(_LOCK, {"id": id, "party": actor.party}) is None:
        return False
    content = await read(connection, actor.party, id) or {}
    content[section] = dict(fields)
    sealed = (await data_key(connection, id)).seal(_place(id), orjson.dumps(content))
    await connection.execute(_SAVE, {"id": id, "sealed": sealed, "actor": actor.name})
    await record(connection, actor, [_told(Operation.ALTERATION, "draft.saved", id, section=section)])
    return True


async def read(connection: Connection, party: str, id: UUID) -> Content | None:
    """What a draft of this party holds; None where there is none of this id."""
    row = (await connection.execute(_READ, {"id": id, "party": party})).one_or_none()
    return None if row is None else _opened(Opener(connection), row)


async def of_party(connection: Connection, party: str) -> list[dict[str, Any]]:
    """A party's drafts, the last worked on first: `id`, `updated_by`, `updated_at`, `content`."""
    opener = Opener(connection)
    return [
        {"id": row.id, "updated_by": row.updated_by, "updated_at": row.updated_at, "content": _opened(opener, row)}
        for row in await connection.execute(_LIST, {"party": party, "limit": _LISTED})
    ]


async def discard(connection: Connection, actor: Actor, id: UUID, *, because: str = "draft.discarded") -> bool:
    """Delete a draft of the actor's party with its key; False where there is none of this id."""
    if await connection.scalar(_DISCARD, {"id": id, "party": actor.party}) is None:
        return False
    await record(connection, actor, [_told(Operation.ERASURE, because, id)])
    return True


async def expire(connection: Connection, actor: Actor) -> int:
    """Delete drafts that nobody went on with for `KEPT_DAYS`, a few at a time; returns how many."""
    rows = await connection.execute(_EXPIRE, {"days": KEPT_DAYS, "limit": _EXPIRED_AT_ONCE})
    events = [_told(Operation.ERASURE, "draft.expired", row.id) for row in rows]
    await record(connection, actor, events)
    return len(events)


async def submitted_as(connection: Connection, keys: Keys, party: str, id: UUID) -> UUID | None:
    """The referral that a draft of this party has become; None where it has not."""
    digest = keys.digest(Purpose.IDEMPOTENCY, key_of(id).encode())
    found: UUID | None = await connection.scalar(_SUBMITTED, {"party": party, "key": digest})
    return found


async def same_subject_of_own(connection: Connection, party: str, digests: Sequence[bytes]) -> list[dict[str, Any]]:
    """The party's referrals that share a digest with a draft's subject, newest first, as `duplicates.of_own`."""
    found = await same_subject(connection, digests)
    rows = await connection.execute(
        select(Referral.id, Referral.reference, Referral.state, Referral.created_at)
        .where(Referral.id == func.any(list(found)), Referral.originator == party)
        .order_by(Referral.id.desc())
    )
    return [{**row._mapping, "matched_on": sorted(found[row.id])} for row in rows]


def _opened(opener: Opener, row: Any) -> Content:
    if row.sealed is None:
        return {}
    loaded: Content = orjson.loads(opener.value(_place(row.id), row.id, row, row.sealed))
    return loaded


def _place(id: UUID) -> Place:
    return Place("draft", "sealed", id)


def _told(operation: Operation, action: str, id: UUID, **detail: str) -> Event:
    return Event(operation, action, detail={"draft": str(id), **detail})
