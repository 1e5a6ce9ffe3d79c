"""The tables of people: accounts, recovery codes, sign-ins under way, and failed attempts.

Nothing here opens an account by itself: passwords are Argon2id hashes, codes keyed hashes, TOTP secrets are sealed.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    Text,
    UniqueConstraint,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class AccountState(StrEnum):
    """How an account stands. Only an active one can sign in or keep a session."""

    INVITED = "invited"  # its owner has yet to set it up
    ACTIVE = "active"
    LOCKED = "locked"  # by an administrator, until one unlocks it
    REMOVED = "removed"  # for ever; the row tells who the log means


class Account(Base):
    """A person of one party. `id` is what the log calls them; `username` and `name` are shown to people only.

    `totp` is sealed under a data key of the account's own (`data_key`), `totp_step` the last time step a code was taken
    for. `manager`: they may change what their party decides of its policy. `issuer` and `subject` are what an OpenID
    provider calls the person, once they came from there. `demonstration` marks accounts whose secrets were printed for
    all to see: production does not start with any.
    """

    __tablename__ = "account"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    party: Mapped[str] = mapped_column(Text, ForeignKey("party.code"))
    username: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    state: Mapped[str] = mapped_column(Text, server_default=AccountState.INVITED.value)
    password: Mapped[str | None] = mapped_column(Text)
    totp: Mapped[bytes | None]
    totp_step: Mapped[int] = mapped_column(BigInteger, server_default="0")
    setup: Mapped[bytes | None]
    setup_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    issuer: Mapped[str | None] = mapped_column(Text)
    subject: Mapped[str | None] = mapped_column(Text)
    manager: Mapped[bool] = mapped_column(server_default="false")
    demonstration: Mapped[bool] = mapped_column(server_default="false")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    signed_in_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        CheckConstraint("state IN ('invited', 'active', 'locked', 'removed')", name="state"),
        CheckConstraint("username = lower(username)", name="username"),
        UniqueConstraint("issuer", "subject"),
        Index("ix_account_username", "username", unique=True, postgresql_where="state <> 'removed'"),
        Index("ix_account_party", "party"),
    )


class RecoveryCode(Base):
    """A code that stands in for the authenticator, once: using it deletes the row."""

    __tablename__ = "recovery_code"

    hash: Mapped[bytes] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("account.id"), index=True)


class SignInStep(Base):
    """A sign-in that is under way. `id` is a keyed hash of a cookie; `stage` what it still lacks."""

    __tablename__ = "sign_in_step"

    id: Mapped[bytes] = mapped_column(primary_key=True)
    account_id: Mapped[UUID | None] = mapped_column(Uuid, ForeignKey("account.id"))
    stage: Mapped[str] = mapped_column(Text)
    detail: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)


class SignInFailure(Base):
    """Failed attempts of late, by a keyed hash of the user name that was given or of the address they came from."""

    __tablename__ = "sign_in_failure"

    whose: Mapped[bytes] = mapped_column(primary_key=True)
    failures: Mapped[int] = mapped_column(Integer)
    last_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now(), index=True)
    locked_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
