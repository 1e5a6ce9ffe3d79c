"""The tables of encryption: wrapped data keys, and the blind index. Neither says anything without the keys."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, Index, LargeBinary, Text, Uuid, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class RingKey(Base):
    """A key of the ring that something here was wrapped under; `proof` tells it from another of the same name."""

    __tablename__ = "ring_key"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    proof: Mapped[bytes] = mapped_column(LargeBinary)
    first_used_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class WrappedKey(Base):
    """The data key of a referral, wrapped under a key of the ring. Deleting the row ends what was sealed under it.

    Without a foreign key, which would cost each referral accepted 10 µs: both are written by one statement.
    """

    __tablename__ = "data_key"

    referral_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    ring_key: Mapped[str] = mapped_column(Text)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)


class SubjectIndex(Base):
    """A digest by which a referral's subject is found again; `kind` is `person` or `identifier`."""

    __tablename__ = "subject_index"

    referral_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)

    # With the referral: of what shares a digest the newest come first, without a sort.
    __table_args__ = (Index("ix_subject_index_digest_referral_id", "digest", "referral_id"),)
