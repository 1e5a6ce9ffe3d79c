"""From when an agency's time counts, where that is not when its dispatch was made."""

import sqlalchemy as sa
from alembic import op

from migrations.wall import grant

revision: str = "0025"
down_revision: str | None = "0024"
branch_labels: str | None = None
depends_on: str | None = None

_UPDATE = "UPDATE (clock_from)"


def upgrade() -> None:
    """A column that what runs before this leaves empty: then it counts from `created_at`."""
    op.add_column("dispatch", sa.Column("clock_from", sa.DateTime(timezone=True), nullable=True), if_not_exists=True)
    grant({role: {_UPDATE: "dispatch"} for role in ("coordinator", "national", "originator")})


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
