"""The tables: parties, routing, credentials, referrals, dispatches, responses, the log."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | Sequence[str] | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "audit_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("referral_id", sa.Uuid(), nullable=True),
        sa.Column("dispatch_id", sa.Uuid(), nullable=True),
        sa.Column("recipients", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.CheckConstraint(
            "operation IN ('collection', 'alteration', 'consultation', 'disclosure', 'combination', 'erasure')",
            name=op.f("ck_audit_event_operation"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
    )
    op.create_index("ix_audit_event_referral_id", "audit_event", ["referral_id", "id"], unique=False)
    op.create_table(
        "inbox_change",
        sa.Column("transaction", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("transaction", "agency", name=op.f("pk_inbox_change")),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "heartbeat",
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("part", name=op.f("pk_heartbeat")),
    )
    op.create_table(
        "reference_release",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_reference_release")),
    )
    op.create_table(
        "routing_release",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_routing_release")),
    )
    op.create_table(
        "party",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("nation", sa.Text(), nullable=True),
        sa.Column("territory", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("channel", sa.Text(), server_default="inbox", nullable=False),
        sa.Column("bears_on", sa.Text(), nullable=True),
        sa.Column("policy", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("can_refer", sa.Boolean(), nullable=False),
        sa.CheckConstraint("channel IN ('inbox', 'push', 'email', 'simulated')", name=op.f("ck_party_channel")),
        sa.CheckConstraint(
            "kind IN ('region', 'force', 'agency', 'local_authority', 'fire_service', 'private', 'national')",
            name=op.f("ck_party_kind"),
        ),
        sa.ForeignKeyConstraint(["release"], ["reference_release.version"], name=op.f("fk_party_release")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_party")),
    )
    op.create_table(
        "party_revision",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("document", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["release"], ["reference_release.version"], name=op.f("fk_party_revision_release")),
        sa.PrimaryKeyConstraint("code", "release", name=op.f("pk_party_revision")),
    )
    op.create_table(
        "routing_gateway",
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("legal_basis", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["release"], ["routing_release.version"], name=op.f("fk_routing_gateway_release")),
        sa.PrimaryKeyConstraint("release", "position", name=op.f("pk_routing_gateway")),
    )
    op.create_table(
        "agency_seen",
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["agency"], ["party.code"], name=op.f("fk_agency_seen_agency")),
        sa.PrimaryKeyConstraint("agency", name=op.f("pk_agency_seen")),
    )
    op.create_table(
        "api_key",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("label", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["party"], ["party.code"], name=op.f("fk_api_key_party")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
    )
    op.create_index("ix_api_key_label", "api_key", ["label"], unique=False, postgresql_where="label <> ''")
    op.create_table(
        "referral",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("originator", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("crime_types", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("addressees", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("respond_by", sa.DateTime(timezone=True), nullable=False),
        sa.Column("open_dispatches", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('held', 'accepted', 'in_progress', 'completed', 'cancelled', 'rejected')",
            name=op.f("ck_referral_state"),
        ),
        sa.ForeignKeyConstraint(["originator"], ["party.code"], name=op.f("fk_referral_originator")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_referral")),
        sa.UniqueConstraint("reference", name=op.f("uq_referral_reference")),
    )
    op.create_index(
        "ix_referral_accepted",
        "referral",
        ["priority", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'accepted'"),
    )
    op.create_index(
        "ix_referral_in_progress",
        "referral",
        ["region", sa.literal_column("id DESC")],
        unique=False,
        postgresql_where=sa.text("state IN ('held', 'accepted', 'in_progress')"),
    )
    op.create_index("ix_referral_originator_id", "referral", ["originator", sa.literal_column("id DESC")], unique=False)
    op.create_index("ix_referral_originator_updated", "referral", ["originator", "updated_at"], unique=False)
    op.create_index("ix_referral_region_id", "referral", ["region", sa.literal_column("id DESC")], unique=False)
    op.create_table(
        "routing_rule",
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("crime_type", sa.Text(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["agency"], ["party.code"], name=op.f("fk_routing_rule_agency")),
        sa.ForeignKeyConstraint(["release"], ["routing_release.version"], name=op.f("fk_routing_rule_release")),
        sa.PrimaryKeyConstraint("release", "rule", name=op.f("pk_routing_rule")),
    )
    op.create_table(
        "dispatch",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("referral_id", sa.Uuid(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("round", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("overdue_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("chased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("chases", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("needs_release", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("queried_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancellation_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("claim_id", sa.Uuid(), nullable=True),
        sa.Column("claim_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_delivery_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failures", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_failure", sa.Text(), nullable=True),
        sa.Column("ended_because", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "outcome IS NULL OR outcome IN ('hit', 'no_hit', 'declined', 'more_information')",
            name=op.f("ck_dispatch_outcome"),
        ),
        sa.CheckConstraint(
            "state IN ('held', 'queued', 'delivered', 'acknowledged', 'query', 'answered', 'declined', 'expired', "
            "'undeliverable', 'cancelled')",
            name=op.f("ck_dispatch_state"),
        ),
        sa.ForeignKeyConstraint(["agency"], ["party.code"], name=op.f("fk_dispatch_agency")),
        sa.ForeignKeyConstraint(["referral_id"], ["referral.id"], name=op.f("fk_dispatch_referral_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dispatch")),
        sa.UniqueConstraint("referral_id", "agency", "round", name=op.f("uq_dispatch_referral_id_agency_round")),
    )
    op.create_index("ix_dispatch_agency_state", "dispatch", ["agency", "state", "priority", "number"], unique=False)
    op.create_index(
        "ix_dispatch_closed_at",
        "dispatch",
        ["closed_at"],
        unique=False,
        postgresql_where=sa.text("closed_at IS NOT NULL"),
    )
    op.create_index(
        "ix_dispatch_due_delivery",
        "dispatch",
        ["priority", "due_delivery_at"],
        unique=False,
        postgresql_where=sa.text("due_delivery_at IS NOT NULL"),
    )
    op.create_index(
        "ix_dispatch_inbox",
        "dispatch",
        ["agency", "priority", "number"],
        unique=False,
        postgresql_where=sa.text(
            "state IN ('queued', 'delivered') OR "
            "(state = 'cancelled' AND cancellation_seen_at IS NULL AND queued_at IS NOT NULL)"
        ),
    )
    op.create_index(
        "ix_dispatch_next_check_at",
        "dispatch",
        ["next_check_at"],
        unique=False,
        postgresql_where=sa.text("next_check_at IS NOT NULL"),
    )
    op.create_index(
        "ix_dispatch_open",
        "dispatch",
        ["agency", "region", "state"],
        unique=False,
        postgresql_where=sa.text("state IN ('acknowledged', 'delivered', 'held', 'query', 'queued')"),
    )
    op.create_index(
        "uq_dispatch_open",
        "dispatch",
        ["referral_id", "agency"],
        unique=True,
        postgresql_where=sa.text("state IN ('acknowledged', 'delivered', 'held', 'query', 'queued')"),
    )
    op.create_table(
        "session",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_key.id"], name=op.f("fk_session_key_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
    )
    op.create_table(
        "submission",
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("sameness", sa.LargeBinary(), nullable=False),
        sa.Column("referral_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["referral_id"], ["referral.id"], name=op.f("fk_submission_referral_id")),
        sa.PrimaryKeyConstraint("party", "key", name=op.f("pk_submission")),
    )
    op.create_table(
        "alert",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("dispatch_id", sa.Uuid(), nullable=False),
        sa.Column("referral_id", sa.Uuid(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("raised_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('urgent_unacknowledged', 'notice_failed', 'undeliverable', 'expired', 'conflicting_answer', "
            "'late_answer')",
            name=op.f("ck_alert_kind"),
        ),
        sa.ForeignKeyConstraint(["dispatch_id"], ["dispatch.id"], name=op.f("fk_alert_dispatch_id")),
        sa.ForeignKeyConstraint(["referral_id"], ["referral.id"], name=op.f("fk_alert_referral_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
    )
    op.create_index(
        "ix_alert_standing",
        "alert",
        ["region", "raised_at"],
        unique=False,
        postgresql_where=sa.text("settled_at IS NULL"),
    )
    op.create_index(
        "uq_alert_standing",
        "alert",
        ["dispatch_id", "kind"],
        unique=True,
        postgresql_where=sa.text("settled_at IS NULL"),
    )
    op.create_table(
        "message",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("dispatch_id", sa.Uuid(), nullable=False),
        sa.Column("referral_id", sa.Uuid(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("sent_by", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["dispatch_id"], ["dispatch.id"], name=op.f("fk_message_dispatch_id")),
        sa.ForeignKeyConstraint(["referral_id"], ["referral.id"], name=op.f("fk_message_referral_id")),
        sa.ForeignKeyConstraint(["sender"], ["party.code"], name=op.f("fk_message_sender")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message")),
    )
    op.create_index("ix_message_dispatch_id", "message", ["dispatch_id", "id"], unique=False)
    op.create_table(
        "response",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("dispatch_id", sa.Uuid(), nullable=False),
        sa.Column("referral_id", sa.Uuid(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("sameness", sa.LargeBinary(), nullable=False),
        sa.Column("flag", sa.Text(), nullable=True),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("flag IN ('conflict', 'late')", name=op.f("ck_response_flag")),
        sa.CheckConstraint(
            "outcome IN ('hit', 'no_hit', 'declined', 'more_information')", name=op.f("ck_response_outcome")
        ),
        sa.ForeignKeyConstraint(["dispatch_id"], ["dispatch.id"], name=op.f("fk_response_dispatch_id")),
        sa.ForeignKeyConstraint(["referral_id"], ["referral.id"], name=op.f("fk_response_referral_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_response")),
        sa.UniqueConstraint("dispatch_id", "sameness", name=op.f("uq_response_dispatch_id_sameness")),
    )
    op.create_index("ix_response_referral_id", "response", ["referral_id", "recorded_at"], unique=False)
    op.create_index(
        "uq_response_accepted_answer",
        "response",
        ["dispatch_id"],
        unique=True,
        postgresql_where=sa.text("flag IS NULL AND outcome <> 'more_information'"),
    )


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
