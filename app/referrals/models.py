"""The tables of the aggregate: referral, dispatch, response. Across slices only ids and foreign-key strings."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.referrals.states import OPEN, AlertKind, DispatchState, Outcome, ReferralState


def _one_of(column: str, values: Iterable[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(value.value) for value in values)})"


_IS_OPEN = "state IN (" + ", ".join(f"'{state}'" for state in sorted(OPEN)) + ")"
_CLOCK_RUNS = "state IN ('queued', 'delivered', 'acknowledged')"
_UNREAD = (DispatchState.QUEUED, DispatchState.DELIVERED)
_REGION = text("coalesce(region, '')")


class Referral(Base):
    """One referral: what an originator asks about one subject.

    `content` is the submitted document (JSON, UTF-8), sealed: the only place of what identifies anybody.
    `sealed_reason` is why somebody held, cancelled or rejected it; `held_because` is our own code. Where `sealed` is
    false an older version stored it: `content` lies open until `gain migrate` has sealed it, as does `reason`, which
    nothing writes any more. `disposed_at` marks the tombstone of one that was disposed of: its content is empty, its
    data key gone; `retention_group` is the MoPI group under which it went.
    `priority` is 0 urgent, 1 priority, 2 routine: the order of every queue. `open_dispatches` counts the dispatches
    that can still be answered; the referral is completed when it falls to 0.
    """

    __tablename__ = "referral"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    reference: Mapped[str] = mapped_column(Text)
    originator: Mapped[str] = mapped_column(Text, ForeignKey("party.code"))
    region: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    priority: Mapped[int] = mapped_column(SmallInteger)
    crime_types: Mapped[list[str]] = mapped_column(ARRAY(Text))
    addressees: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    content: Mapped[bytes]
    sealed: Mapped[bool] = mapped_column(server_default=text("false"))
    created_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    respond_by: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    open_dispatches: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    reason: Mapped[str | None] = mapped_column(Text)
    sealed_reason: Mapped[bytes | None]
    held_because: Mapped[str | None] = mapped_column(Text)
    disposed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    retention_group: Mapped[int | None] = mapped_column(SmallInteger)

    __table_args__ = (
        CheckConstraint(_one_of("state", ReferralState), name="state"),
        CheckConstraint(
            "disposed_at IS NULL OR state IN ('completed', 'cancelled', 'rejected')",
            name="disposed",
        ),
        UniqueConstraint("reference"),
        Index("ix_referral_lying_open", "id", postgresql_where=text("NOT sealed OR reason IS NOT NULL")),
        Index("ix_referral_originator_id", "originator", text("id DESC")),
        Index(
            "ix_referral_originator_open",
            "originator",
            text("id DESC"),
            postgresql_where=text("state IN ('held', 'accepted', 'in_progress')"),
        ),
        Index("ix_referral_region_id", "region", text("id DESC")),
        Index("ix_referral_originator_updated", "originator", "updated_at"),
        Index(
            "ix_referral_accepted",
            "priority",
            "id",
            postgresql_where=text("state = 'accepted'"),
        ),
        Index(
            "ix_referral_in_progress",
            "region",
            text("id DESC"),
            postgresql_where=text("state IN ('held', 'accepted', 'in_progress')"),
        ),
        Index("ix_referral_held", "region", "id", postgresql_where=text("state = 'held'")),
    )


class Dispatch(Base):
    """One referral to one agency, in one round.

    `number` gives the stable order of an inbox. `rule`, `release`, `reason` say what chose the agency; `gateway` is the
    legal basis proposed. `queued_at` is when it entered the agency's inbox (null while held); `needs_release` says that
    the agency's policy holds it, rather than its referral being held. `next_check_at` is when the clock next asks
    something of it (a chase, an alert, overdue, expiry); it stands in `query`, since `queried_at`. `clock_from` is from
    when the agency's time counts where that is not `created_at`: its release, and later by as long as its clock stood.
    Until the claim ends the item belongs to the consumer that holds `claim_id`. `due_delivery_at` is when an adapter
    takes it next (null: no adapter has anything to do); `attempt` fences: a result is recorded only for the attempt
    that is current, and telling of something new makes another; `failures` counts failed hand-overs. `replies` counts
    the originator's answers to the agency's questions, the last at `replied_at`; `said_bytes` is what questions and
    answers take as they are kept: a page is measured without reading them. `holds` counts how often it was taken out of
    the inbox before its agency had seen it. `ended_because` is our own word for it, `sealed_reason` a person's;
    `decline_reason` is the agency's code (null where it declined before codes were kept).
    """

    __tablename__ = "dispatch"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    referral_id: Mapped[UUID] = mapped_column(Uuid)
    agency: Mapped[str] = mapped_column(Text)
    round: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    state: Mapped[str] = mapped_column(Text)
    priority: Mapped[int] = mapped_column(SmallInteger)
    region: Mapped[str | None] = mapped_column(Text)
    rule: Mapped[str] = mapped_column(Text)
    release: Mapped[int]
    reason: Mapped[str] = mapped_column(Text)
    gateway: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    next_check_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    overdue_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    chased_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    chases: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    needs_release: Mapped[bool] = mapped_column(server_default=text("false"))
    queried_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    replies: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    replied_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    said_bytes: Mapped[int] = mapped_column(server_default=text("0"))
    holds: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    clock_from: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    queued_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    delivered_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    acknowledged_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    answered_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    closed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    cancellation_seen_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    outcome: Mapped[str | None] = mapped_column(Text)
    claim_id: Mapped[UUID | None] = mapped_column(Uuid)
    claim_expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    due_delivery_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    attempt: Mapped[int] = mapped_column(server_default=text("0"))
    failures: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    last_failure: Mapped[str | None] = mapped_column(Text)
    ended_because: Mapped[str | None] = mapped_column(Text)
    sealed_reason: Mapped[bytes | None]
    decline_reason: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        CheckConstraint(_one_of("state", DispatchState), name="state"),
        CheckConstraint(f"outcome IS NULL OR {_one_of('outcome', Outcome)}", name="outcome"),
        UniqueConstraint("referral_id", "agency", "round"),
        Index("uq_dispatch_open", "referral_id", "agency", unique=True, postgresql_where=text(_IS_OPEN)),
        Index(
            "ix_dispatch_inbox",
            "agency",
            "priority",
            "number",
            postgresql_where=text(
                "state IN ('queued', 'delivered') OR "
                "(state = 'cancelled' AND cancellation_seen_at IS NULL AND queued_at IS NOT NULL)"
            ),
        ),
        Index(
            "ix_dispatch_agency_state_read",
            "agency",
            "state",
            "priority",
            "number",
            postgresql_where=text(_one_of("state", [state for state in DispatchState if state not in _UNREAD])),
        ),
        Index(
            "ix_dispatch_due_delivery",
            "agency",
            "priority",
            "due_delivery_at",
            postgresql_where=text("due_delivery_at IS NOT NULL"),
        ),
        Index("ix_dispatch_waiting", "agency", _REGION, "state", "created_at", postgresql_where=text(_IS_OPEN)),
        Index(
            "ix_dispatch_overdue",
            "agency",
            _REGION,
            "due_at",
            postgresql_where=text(f"overdue_at IS NOT NULL AND {_CLOCK_RUNS}"),
        ),
        Index("ix_dispatch_due", _REGION, "due_at", postgresql_where=text(f"overdue_at IS NULL AND {_CLOCK_RUNS}")),
        Index(
            "ix_dispatch_expires",
            _REGION,
            "expires_at",
            postgresql_where=text(f"overdue_at IS NOT NULL AND {_CLOCK_RUNS}"),
        ),
        Index(
            "ix_dispatch_late",
            _REGION,
            "due_at",
            postgresql_where=text(f"overdue_at IS NOT NULL AND {_CLOCK_RUNS}"),
        ),
        Index(
            "ix_dispatch_pressing",
            _REGION,
            "priority",
            "due_at",
            postgresql_where=text(f"priority < 2 AND {_CLOCK_RUNS}"),
        ),
        Index(
            "ix_dispatch_release",
            _REGION,
            "created_at",
            postgresql_where=text("state = 'held' AND needs_release"),
        ),
        Index(
            "ix_dispatch_urgent",
            "queued_at",
            postgresql_where=text("priority = 0 AND state IN ('queued', 'delivered')"),
        ),
        Index("ix_dispatch_query", "referral_id", postgresql_where=text("state = 'query'")),
        Index("ix_dispatch_next_check_at", "next_check_at", postgresql_where=text("next_check_at IS NOT NULL")),
        Index("ix_dispatch_closed_at_brin", "closed_at", postgresql_using="brin"),
        Index(
            "ix_dispatch_lying_open",
            "id",
            postgresql_where=text("state = 'cancelled' AND ended_because IS NOT NULL"),
        ),
    )


class Response(Base):
    """What an agency said to one dispatch. The first accepted answer wins; later ones are kept and flagged.

    `content` is the response's document (JSON, UTF-8), sealed where `sealed` says so. `sameness` is a keyed hash of its
    meaning (RFC 8785), by which a repetition is told from a second answer. `flag` is null for what was
    accepted, else `conflict` or `late`.
    """

    __tablename__ = "response"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    dispatch_id: Mapped[UUID] = mapped_column(Uuid)
    referral_id: Mapped[UUID] = mapped_column(Uuid)
    agency: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    content: Mapped[bytes]
    sealed: Mapped[bool] = mapped_column(server_default=text("false"))
    sameness: Mapped[bytes]
    flag: Mapped[str | None] = mapped_column(Text)
    recorded_by: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (
        CheckConstraint(_one_of("outcome", Outcome), name="outcome"),
        CheckConstraint("flag IN ('conflict', 'late')", name="flag"),
        UniqueConstraint("dispatch_id", "sameness"),
        Index(
            "uq_response_accepted_answer",
            "dispatch_id",
            unique=True,
            postgresql_where=text("flag IS NULL AND outcome <> 'more_information'"),
        ),
        Index("ix_response_lying_open", "id", postgresql_where=text("NOT sealed")),
        Index("ix_response_referral_id", "referral_id", "recorded_at"),
    )


class Message(Base):
    """One message of the originator to an agency about a dispatch.

    `content` is its document (JSON, UTF-8), sealed where `sealed` says so.
    """

    __tablename__ = "message"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    dispatch_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("dispatch.id"))
    referral_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("referral.id"))
    sender: Mapped[str] = mapped_column(Text, ForeignKey("party.code"))
    content: Mapped[bytes]
    sealed: Mapped[bool] = mapped_column(server_default=text("false"))
    sent_by: Mapped[str] = mapped_column(Text)
    sent_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (
        Index("ix_message_lying_open", "id", postgresql_where=text("NOT sealed")),
        Index("ix_message_dispatch_id", "dispatch_id", "id"),
    )


class Alert(Base):
    """Something that needs a co-ordinator, about one dispatch. Settled when it was dealt with or no longer matters.

    `sealed_reason` is why a co-ordinator noted it: read, and nothing needs doing. It stands under the referral's key.
    """

    __tablename__ = "alert"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    dispatch_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("dispatch.id"))
    referral_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("referral.id"))
    agency: Mapped[str] = mapped_column(Text)
    region: Mapped[str | None] = mapped_column(Text)
    raised_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    settled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    sealed_reason: Mapped[bytes | None]

    __table_args__ = (
        CheckConstraint(_one_of("kind", AlertKind), name="kind"),
        Index("ix_alert_noted", "referral_id", postgresql_where=text("sealed_reason IS NOT NULL")),
        Index("uq_alert_standing", "dispatch_id", "kind", unique=True, postgresql_where=text("settled_at IS NULL")),
        Index("ix_alert_standing", "region", "raised_at", postgresql_where=text("settled_at IS NULL")),
    )


class InboxChange(Base):
    """What an agency's inbox shows was changed by a transaction, for gateways that do not hear the notification.

    `transaction` is its number (`pg_current_xact_id()`). A row is kept for some minutes, and not at all over a crash,
    which no gateway's connection outlives either.
    """

    __tablename__ = "inbox_change"
    __table_args__ = ({"prefixes": ["UNLOGGED"]},)

    transaction: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    agency: Mapped[str] = mapped_column(Text, primary_key=True)


class Submission(Base):
    """One `Idempotency-Key` of one party, and the referral it made or acted on. Kept as long as the referral.

    `sameness` is empty once that was disposed of: what the key stood for is not known any more.
    """

    __tablename__ = "submission"

    party: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[bytes] = mapped_column(primary_key=True)
    sameness: Mapped[bytes]
    referral_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("referral.id"))

    __table_args__ = (
        Index(
            "ix_submission_referral_id_brin",
            "referral_id",
            postgresql_using="brin",
            postgresql_ops={"referral_id": "uuid_minmax_multi_ops"},
        ),
    )


class AgencySeen(Base):
    """When an agency was last heard of: it looked into its inbox, or its adapter answered."""

    __tablename__ = "agency_seen"

    agency: Mapped[str] = mapped_column(Text, ForeignKey("party.code"), primary_key=True)
    last_seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
