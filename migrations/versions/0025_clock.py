"""From when an agency's time counts, where that is not when its dispatch was made."""

import sqlalchemy as sa
from alembic import op

from migrations.wall import grant

revision: str = "0025"
down_revision: str | None = "0024"
branch_labels: str | None = None
depends_on: str | None = None

_UPDATE = "UPDATE (clock_from)"

# Fanned out after it was due by its referral's age, a dispatch was never called overdue, or never ended. By an index.
_MISSED = """
    UPDATE dispatch SET next_check_at = due_at
     WHERE overdue_at IS NULL AND state IN ('queued', 'delivered', 'acknowledged') AND due_at < now()
       AND (next_check_at IS NULL OR next_check_at > due_at)
"""


def upgrade() -> None:
    """A column that what runs before this leaves empty: then it counts from `created_at`."""
    op.add_column("dispatch", sa.Column("clock_from", sa.DateTime(timezone=True), nullable=True), if_not_exists=True)
    grant({role: {_UPDATE: "dispatch"} for role in ("coordinator", "national", "originator")})
    with op.get_context().autocommit_block():  # so that whoever writes meanwhile does not wait for the column's lock
        op.execute(_MISSED)


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
