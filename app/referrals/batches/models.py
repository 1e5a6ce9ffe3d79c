"""The tables of batches: the batch with its counts, the rows that wait, and what was wrong with those refused."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, SmallInteger, Text, Uuid, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class BatchState(StrEnum):
    """What becomes of a batch. Nothing of it is accepted before all of it was received."""

    RECEIVING = "receiving"
    ACCEPTING = "accepting"
    COMPLETED = "completed"
    INCOMPLETE = "incomplete"  # cut off on its way: nothing of it was accepted, nothing of it is kept


class Format(StrEnum):
    """How the rows of a batch are written."""

    CSV = "csv"
    NDJSON = "ndjson"


def _one_of(column: str, values: type[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(value.value) for value in values)})"


class Batch(Base):
    """One upload of a party, and how far it is. Its rows are sealed under a data key of its own id.

    `key` is a keyed hash of the `Idempotency-Key`, `sameness` one of the bytes that came; `touched_at` is when rows
    last came. Of `total` rows `rejected` were refused and `accepted` stand for a referral, `repeated` of them for one
    that was there before. `next_at` puts off what could not be accepted just now;
    `tries` counts how often its next rows were begun on and nothing was heard of it again.
    """

    __tablename__ = "batch"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    party: Mapped[str] = mapped_column(Text, ForeignKey("party.code"))
    region: Mapped[str | None] = mapped_column(Text)
    format: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, server_default=text("'receiving'"))
    key: Mapped[bytes | None]
    sameness: Mapped[bytes | None]
    created_by: Mapped[str] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    total: Mapped[int] = mapped_column(server_default=text("0"))
    accepted: Mapped[int] = mapped_column(server_default=text("0"))
    repeated: Mapped[int] = mapped_column(server_default=text("0"))
    rejected: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    touched_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    received_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    completed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    next_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    tries: Mapped[int] = mapped_column(server_default=text("0"))

    __table_args__ = (
        CheckConstraint(_one_of("state", BatchState), name="state"),
        CheckConstraint(_one_of("format", Format), name="format"),
        Index("uq_batch_party_key", "party", "key", unique=True, postgresql_where=text("key IS NOT NULL")),
        Index("ix_batch_party_id", "party", text("id DESC")),
        Index("ix_batch_accepting", "party", "id", postgresql_where=text("state = 'accepting'")),
        Index(
            "ix_batch_unsettled",
            "touched_at",
            postgresql_where=text("state IN ('receiving', 'incomplete') AND completed_at IS NULL"),
        ),
    )


class BatchRow(Base):
    """A sound row that waits to become a referral. Gone with the transaction in which it does.

    `referral_id` is made beforehand, so that a retry is the same referral; `content` is the validated document, sealed
    and bound to that id. `key` is a keyed hash of its `client_reference`, `sameness` one of its meaning.
    """

    __tablename__ = "batch_row"

    batch_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("batch.id", ondelete="CASCADE"), primary_key=True)
    priority: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    referral_id: Mapped[UUID] = mapped_column(Uuid)
    key: Mapped[bytes]
    sameness: Mapped[bytes]
    content: Mapped[bytes]


class BatchError(Base):
    """What was wrong with a row: its number, the kind of refusal, and where. Never what the row said."""

    __tablename__ = "batch_error"

    batch_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("batch.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(Text)
    faults: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
