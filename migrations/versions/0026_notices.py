"""Of a reply to its question an agency is told by a notice of its own; what was in flight meanwhile says nothing of it.

Safe while the program before still runs: it leaves both columns alone, and what it told then counts as no reply.
"""

import sqlalchemy as sa
from alembic import op

from migrations.wall import grant

revision: str = "0026"
down_revision: str | None = "0025"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Two columns, and who may write what a reply and a reminder change. No row is written."""
    op.add_column("dispatch", sa.Column("replies", sa.SmallInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("dispatch", sa.Column("replied_at", sa.DateTime(timezone=True), nullable=True))
    reminds = {"UPDATE (attempt, failures)": "dispatch"}
    grant(
        {
            "originator": {"UPDATE (attempt, failures, replies, replied_at)": "dispatch"},
            "coordinator": reminds,
            "national": reminds,
        }
    )


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
