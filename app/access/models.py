"""Credentials: API keys, revoked tokens, the sessions of the pages. Only keyed hashes of secrets are stored."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, DateTime, ForeignKey, Index, Text, Uuid, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class ApiKey(Base):
    """An API key of one party in one role. `hash` is HMAC-SHA-256 of its secret; the secret itself is shown once.

    `scope` holds the actions it is limited to (none: all of its role), `networks` those it is taken from (none: any).
    `mark` is what it carries of the environment it was made in: `dev` or `live` (none: before that was noted).
    `replaces` is the key it was rotated from. `asked_as` and `sameness` stand for the `Idempotency-Key` and the body
    that it was asked for with.
    """

    __tablename__ = "api_key"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    party: Mapped[str] = mapped_column(Text, ForeignKey("party.code"))
    role: Mapped[str] = mapped_column(Text)
    hash: Mapped[bytes]
    mark: Mapped[str | None] = mapped_column(Text)
    label: Mapped[str] = mapped_column(Text, server_default="")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    scope: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    networks: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    replaces: Mapped[str | None] = mapped_column(Text, ForeignKey("api_key.id"))
    asked_as: Mapped[bytes | None] = mapped_column(unique=True)
    sameness: Mapped[bytes | None]

    __table_args__ = (Index("ix_api_key_label", "label", postgresql_where="label <> ''"),)


class Session(Base):
    """A signed-in browser. `id` is a keyed hash of the cookie; what it was opened with must stay in force.

    That is a key, or a person's account in one of its `role`s. `seen_at` is when it was last used, to within a minute;
    `confirmed_at` when its owner last showed that it is still them. `purpose` is the code of why its owner reads.
    """

    __tablename__ = "session"

    id: Mapped[bytes] = mapped_column(primary_key=True)
    key_id: Mapped[str | None] = mapped_column(Text, ForeignKey("api_key.id"))
    account_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("account.id"), index=True)
    role: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    confirmed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    purpose: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        CheckConstraint("(key_id IS NULL) = (account_id IS NOT NULL AND role IS NOT NULL)", name="opened_with"),
    )


class RevokedToken(Base):
    """A token that is refused before its time, and after it until no gateway's clock can be before `expires_at`."""

    __tablename__ = "revoked_token"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    key_id: Mapped[str] = mapped_column(Text, ForeignKey("api_key.id"), index=True)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
