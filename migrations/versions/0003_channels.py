"""Where agencies are told by push and email, how many notices they got, and an index to claim by agency."""

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Three tables; and claims take each agency's own dispatches, however many another has waiting."""
    op.create_table(
        "push_endpoint",
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("version", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("set_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["agency"], ["party.code"], name=op.f("fk_push_endpoint_agency")),
        sa.PrimaryKeyConstraint("agency", name=op.f("pk_push_endpoint")),
    )
    op.create_table(
        "email_mailbox",
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("bounced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bounce_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["agency"], ["party.code"], name=op.f("fk_email_mailbox_agency")),
        sa.PrimaryKeyConstraint("agency", name=op.f("pk_email_mailbox")),
    )
    op.create_table(
        "notice_count",
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("minute", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("in_minute", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("day", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("in_day", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["agency"], ["party.code"], name=op.f("fk_notice_count_agency")),
        sa.PrimaryKeyConstraint("agency", name=op.f("pk_notice_count")),
    )
    op.drop_index("ix_dispatch_due_delivery", table_name="dispatch")
    op.create_index(
        "ix_dispatch_due_delivery",
        "dispatch",
        ["agency", "priority", "due_delivery_at"],
        unique=False,
        postgresql_where=sa.text("due_delivery_at IS NOT NULL"),
    )


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
