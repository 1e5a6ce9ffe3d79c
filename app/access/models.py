"""Credentials: API keys and the sessions of the pages. Only keyed hashes are stored."""

from datetime import datetime

from sqlalchemy import DateTime, ForeignKey, Index, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class ApiKey(Base):
    """An API key of one party in one role. `hash` is HMAC-SHA-256 of its secret; the secret itself is shown once."""

    __tablename__ = "api_key"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    party: Mapped[str] = mapped_column(Text, ForeignKey("party.code"))
    role: Mapped[str] = mapped_column(Text)
    hash: Mapped[bytes]
    label: Mapped[str] = mapped_column(Text, server_default="")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (Index("ix_api_key_label", "label", postgresql_where="label <> ''"),)


class Session(Base):
    """A signed-in page. `id` is a keyed hash of the cookie; the key it was opened with must stay in force."""

    __tablename__ = "session"

    id: Mapped[bytes] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(Text, ForeignKey("api_key.id"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
