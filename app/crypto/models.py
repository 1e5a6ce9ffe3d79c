"""The tables of encryption: wrapped data keys, and the blind index. Neither says anything without the keys."""

from uuid import UUID

from sqlalchemy import Index, LargeBinary, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


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

    __table_args__ = (Index("ix_subject_index_digest", "digest"),)
