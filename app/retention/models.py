"""The tables of retention. Both hold rows of what is kept only: disposal takes them, and leaves the tombstone."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import Date, DateTime, ForeignKey, Index, LargeBinary, SmallInteger, Text, Uuid, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class Retention(Base):
    """When a closed referral is reviewed, and what a review decided.

    `closed_at` is the end that the date counts from: where the referral's own differs, it was reopened, and nothing
    here holds any more. `release` is that of the rules which gave the group. `dispose`: a review has decided that it
    goes; `reviewed_by` names the reviewer.
    """

    __tablename__ = "retention"

    referral_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("referral.id"), primary_key=True)
    mopi_group: Mapped[int] = mapped_column(SmallInteger)
    release: Mapped[int]
    closed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    review_on: Mapped[date] = mapped_column(Date)
    reviewed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    reviewed_by: Mapped[str | None] = mapped_column(Text)
    dispose: Mapped[bool] = mapped_column(server_default=text("false"))

    __table_args__ = (
        Index("ix_retention_review_on", "review_on", "referral_id", postgresql_where=text("NOT dispose")),
        Index("ix_retention_decided", "referral_id", postgresql_where=text("dispose")),
    )


class LegalHold(Base):
    """A referral that must be kept whatever its date and a review say: since when, set by whom, and why (sealed)."""

    __tablename__ = "legal_hold"

    referral_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("referral.id"), primary_key=True)
    since: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    party: Mapped[str] = mapped_column(Text, ForeignKey("party.code"))
    set_by: Mapped[str] = mapped_column(Text)
    sealed_reason: Mapped[bytes] = mapped_column(LargeBinary)
