"""Why a co-ordinator settled an alert by hand; how often a batch was begun on without an end.

Safe while the program before still runs: it leaves both columns alone.
"""

import sqlalchemy as sa
from alembic import op

from migrations.wall import grant

revision: str = "0022"
down_revision: str | None = "0021"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Two columns, who may write them, and an index of the alerts that were settled so."""
    op.add_column("alert", sa.Column("sealed_reason", sa.LargeBinary(), nullable=True))
    op.add_column("batch", sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False))
    settles = {"UPDATE (sealed_reason)": "alert"}
    grant({"coordinator": settles, "national": settles})
    with op.get_context().autocommit_block():
        op.create_index(
            "ix_alert_noted",
            "alert",
            ["referral_id"],
            unique=False,
            postgresql_where=sa.text("sealed_reason IS NOT NULL"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
