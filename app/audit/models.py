"""The log: a row for each collection, alteration, consultation, disclosure, combination, erasure (DPA 2018 s.62)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, DateTime, Identity, Index, Text, Uuid, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class AuditEvent(Base):
    """What was done, by whom, when, to what. Rows are only ever inserted; a trigger refuses anything else.

    `detail` holds codes and counts, never personal data. `recipients` are the party codes a disclosure went to.
    """

    __tablename__ = "audit_event"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    operation: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    party: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    referral_id: Mapped[UUID | None] = mapped_column(Uuid)
    dispatch_id: Mapped[UUID | None] = mapped_column(Uuid)
    recipients: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSONB)

    __table_args__ = (
        CheckConstraint(
            "operation IN ('collection', 'alteration', 'consultation', 'disclosure', 'combination', 'erasure')",
            name="operation",
        ),
        Index("ix_audit_event_referral_id", "referral_id", "id"),
    )
