"""Retention: review dates, legal holds, the marks of a referral that was disposed of, and its submissions found."""

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Two tables, two columns that may be empty, and a check: the code before this goes on running beside it."""
    op.add_column("referral", sa.Column("disposed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("referral", sa.Column("retention_group", sa.SmallInteger(), nullable=True))
    op.execute("""
        ALTER TABLE referral ADD CONSTRAINT ck_referral_disposed
        CHECK (disposed_at IS NULL OR state IN ('completed', 'cancelled', 'rejected')) NOT VALID
    """)
    op.create_table(
        "retention",
        sa.Column("referral_id", sa.Uuid(), nullable=False),
        sa.Column("mopi_group", sa.SmallInteger(), nullable=False),
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("review_on", sa.Date(), nullable=False),
        sa.Column("reviewed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reviewed_by", sa.Text(), nullable=True),
        sa.Column("dispose", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(["referral_id"], ["referral.id"], name=op.f("fk_retention_referral_id")),
        sa.PrimaryKeyConstraint("referral_id", name=op.f("pk_retention")),
    )
    op.create_index(
        "ix_retention_review_on",
        "retention",
        ["review_on", "referral_id"],
        unique=False,
        postgresql_where=sa.text("NOT dispose"),
    )
    op.create_index(
        "ix_retention_decided", "retention", ["referral_id"], unique=False, postgresql_where=sa.text("dispose")
    )
    op.create_table(
        "legal_hold",
        sa.Column("referral_id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("sealed_reason", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["party"], ["party.code"], name=op.f("fk_legal_hold_party")),
        sa.ForeignKeyConstraint(["referral_id"], ["referral.id"], name=op.f("fk_legal_hold_referral_id")),
        sa.PrimaryKeyConstraint("referral_id", name=op.f("pk_legal_hold")),
    )
    # Built and looked at in transactions of their own, so that nobody waits for them.
    with op.get_context().autocommit_block():
        op.create_index(
            "ix_submission_referral_id_brin",
            "submission",
            ["referral_id"],
            unique=False,
            postgresql_using="brin",
            postgresql_ops={"referral_id": "uuid_minmax_multi_ops"},
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        op.execute("ALTER TABLE referral VALIDATE CONSTRAINT ck_referral_disposed")


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
