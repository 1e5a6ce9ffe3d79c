"""Where data keys and the blind index are kept, and which rows are sealed.

Safe while the program before still runs: three new tables, and columns whose defaults cost no rewriting. What it stores
is marked as not sealed by the default, and `gain migrate` seals it (app.referrals.seal_earlier).
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | None = None
depends_on: str | None = None

LYING_OPEN = {
    "referral": "NOT sealed OR reason IS NOT NULL",
    "response": "NOT sealed",
    "message": "NOT sealed",
    "dispatch": "state = 'cancelled' AND ended_because IS NOT NULL",
}


def upgrade() -> None:
    """Three tables; a mark on each row that holds content; a place for sealed reasons."""
    op.create_table(
        "ring_key",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("proof", sa.LargeBinary(), nullable=False),
        sa.Column("first_used_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ring_key")),
    )
    op.create_table(
        "data_key",
        sa.Column("referral_id", sa.Uuid(), nullable=False),
        sa.Column("ring_key", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("referral_id", name=op.f("pk_data_key")),
    )
    op.create_table(
        "subject_index",
        sa.Column("referral_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("referral_id", "digest", name=op.f("pk_subject_index")),
    )
    op.create_index("ix_subject_index_digest", "subject_index", ["digest"], unique=False)
    for table in ("referral", "response", "message"):
        op.add_column(table, sa.Column("sealed", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    for table in ("referral", "dispatch"):
        op.add_column(table, sa.Column("sealed_reason", sa.LargeBinary(), nullable=True))
    op.add_column("referral", sa.Column("held_because", sa.Text(), nullable=True))
    # What is still to be sealed, and nothing else. Built beside whatever writes meanwhile.
    with op.get_context().autocommit_block():
        for table, condition in LYING_OPEN.items():
            op.create_index(
                f"ix_{table}_lying_open",
                table,
                ["id"],
                postgresql_where=sa.text(condition),
                postgresql_concurrently=True,
                if_not_exists=True,
            )


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
