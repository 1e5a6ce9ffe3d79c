"""The log: a row for each collection, alteration, consultation, disclosure, combination, erasure (DPA 2018 s.62)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.audit.pruned import OF_PRUNINGS
from app.db import Base

OF_OPERATORS = "actor LIKE 'command:%' OR actor LIKE 'operator %'"
"""The condition on `audit_event` of what was done by a command: its actor is an account of the machine, or the tool."""


class AuditEvent(Base):
    """What was done, by whom, when, to what. Rows are only ever inserted; a trigger refuses anything else.

    `detail` holds codes and counts, never personal data. `recipients` are the party codes a disclosure went to.
    `commitments` are salted hashes of what may be personal data, by field (app.audit.entry).
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
    commitments: Mapped[dict[str, str] | None] = mapped_column(JSONB)

    __table_args__ = (
        CheckConstraint(
            "operation IN ('collection', 'alteration', 'consultation', 'disclosure', 'combination', 'erasure')",
            name="operation",
        ),
        Index("ix_audit_event_referral_id", "referral_id", "id"),
        # Who has used the commands: few rows, so that a search knows a name the log has from one it has not.
        Index("ix_audit_event_operator", "actor", postgresql_where=text(OF_OPERATORS)),
        Index("ix_audit_event_pruned", "id", postgresql_where=text(OF_PRUNINGS)),
    )


class AuditSalt(Base):
    """The salt of an event's commitments. Deleting it leaves hashes from which nothing can be guessed."""

    __tablename__ = "audit_salt"

    event_id: Mapped[int] = mapped_column(ForeignKey("audit_event.id", ondelete="CASCADE"), primary_key=True)
    salt: Mapped[bytes] = mapped_column(LargeBinary)


class AuditEntry(Base):
    """A leaf of the tree: which event stands at this place, and the hash of its canonical form. Insert-only."""

    __tablename__ = "audit_entry"

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    event_id: Mapped[int] = mapped_column(BigInteger, unique=True)
    leaf: Mapped[bytes] = mapped_column(LargeBinary)


class AuditNode(Base):
    """The root of a complete subtree at every eighth level, from which proofs are made. Insert-only."""

    __tablename__ = "audit_node"

    level: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    place: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class AuditHead(Base):
    """One row: how far the log is sealed.

    `size` and `frontier` are the tree's. Of the events up to `sealed_to`, all are entries but those in `holes`: ids
    that were given out and not seen committed. Those up to `closing` are given up when none of `lockers` (transactions
    that may still commit one) runs any more. Entries below `pruned` may have lost their event.
    """

    __tablename__ = "audit_head"

    single: Mapped[bool] = mapped_column(Boolean, primary_key=True, server_default=text("true"))
    size: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    frontier: Mapped[bytes] = mapped_column(LargeBinary, server_default=text("''::bytea"))
    sealed_to: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    holes: Mapped[Any] = mapped_column(INT8MULTIRANGE, server_default=text("'{}'::int8multirange"))
    closing: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    lockers: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'::text[]"))
    pruned: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))

    __table_args__ = (CheckConstraint("single", name="single"),)


class AuditCheckpoint(Base):
    """A signed promise of the tree's first `size` entries. Insert-only."""

    __tablename__ = "audit_checkpoint"

    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    note: Mapped[str] = mapped_column(Text)

    __table_args__ = (Index("ix_audit_checkpoint_at", "at"),)


class AuditWitness(Base):
    """What a witness has countersigned: the checkpoint's size and the witness's lines; and since when it fails."""

    __tablename__ = "audit_witness"

    url: Mapped[str] = mapped_column(Text, primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    signatures: Mapped[str | None] = mapped_column(Text)
    failing_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    failure: Mapped[str | None] = mapped_column(Text)
