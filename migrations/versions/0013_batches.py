"""Batches: many referrals in one upload, its rows while they wait, and what was wrong with those refused."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.wall import ALL, Grants, Policies, grant, ours, protect

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | None = None
depends_on: str | None = None


_OF_BATCH = "EXISTS (SELECT FROM batch WHERE batch.id = {table}.batch_id)"

GRANTS: Grants = {
    "originator": {
        "SELECT, INSERT": "batch, batch_error",
        "UPDATE (state, key, sameness, total, rejected, touched_at, received_at)": "batch",
        # To take back what was cut off; what a row said it cannot read again.
        "INSERT, DELETE, SELECT (batch_id)": "batch_row",
    },
    "worker": {
        "SELECT, UPDATE, DELETE": "batch",
        "SELECT, DELETE": "batch_row",
        "SELECT, INSERT, DELETE": "batch_error",
        # What a single referral's force writes itself: workers accept rows for theirs.
        "INSERT": "referral, subject_index",
        "SELECT, INSERT": "submission",
        "USAGE": "SEQUENCE referral_number",
        "DELETE": "data_key",
    },
}

POLICIES: Policies = {
    "batch": {"originator": ours("party"), "worker": ALL},
    "batch_row": {"originator": _OF_BATCH.format(table="batch_row"), "worker": ALL},
    "batch_error": {"originator": _OF_BATCH.format(table="batch_error"), "worker": ALL},
}

OF_WORKERS: Policies = {"submission": {"worker": ALL}, "subject_index": {"worker": ALL}}


def upgrade() -> None:
    """Three tables of their own, and what workers need to accept: the code before this goes on running beside it."""
    op.create_table(
        "batch",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'receiving'"), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=True),
        sa.Column("sameness", sa.LargeBinary(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        *(
            sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)
            for name in ("total", "accepted", "repeated", "rejected")
        ),
        *(
            sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
            for name in ("created_at", "touched_at")
        ),
        *(
            sa.Column(name, sa.DateTime(timezone=True), nullable=True)
            for name in ("received_at", "completed_at", "next_at")
        ),
        sa.CheckConstraint(
            "state IN ('receiving', 'accepting', 'completed', 'incomplete')", name=op.f("ck_batch_state")
        ),
        sa.CheckConstraint("format IN ('csv', 'ndjson')", name=op.f("ck_batch_format")),
        sa.ForeignKeyConstraint(["party"], ["party.code"], name=op.f("fk_batch_party")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch")),
    )
    op.create_index(
        "uq_batch_party_key", "batch", ["party", "key"], unique=True, postgresql_where=sa.text("key IS NOT NULL")
    )
    op.create_index("ix_batch_party_id", "batch", ["party", sa.text("id DESC")], unique=False)
    op.create_index(
        "ix_batch_accepting", "batch", ["party", "id"], unique=False, postgresql_where=sa.text("state = 'accepting'")
    )
    op.create_index(
        "ix_batch_unsettled",
        "batch",
        ["touched_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('receiving', 'incomplete') AND completed_at IS NULL"),
    )
    op.create_table(
        "batch_row",
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("referral_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("sameness", sa.LargeBinary(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name=op.f("fk_batch_row_batch_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("batch_id", "priority", "number", name=op.f("pk_batch_row")),
    )
    op.create_table(
        "batch_error",
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("faults", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batch.id"], name=op.f("fk_batch_error_batch_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("batch_id", "number", name=op.f("pk_batch_error")),
    )
    grant(GRANTS)
    protect(POLICIES)
    with op.get_context().autocommit_block():
        protect(OF_WORKERS)
        # The key of a batch goes with its rows. That of a referral only its disposal takes.
        op.execute("DROP POLICY IF EXISTS data_key_worker_deletes ON data_key")
        op.execute("""
            CREATE POLICY data_key_worker_deletes ON data_key AS RESTRICTIVE FOR DELETE TO gain_as_worker
            USING (EXISTS (SELECT FROM batch WHERE batch.id = data_key.referral_id))
        """)


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
