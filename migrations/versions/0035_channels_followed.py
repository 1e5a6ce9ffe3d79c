"""What had been put off for an agency is brought forward once for each setting of its channel, whoever leads by then.

Safe while the program before still runs: a column that it does not know, and one more right. What was set before is
followed once more: what its agencies had put off is tried early, once.
"""

import sqlalchemy as sa
from alembic import op

from migrations.wall import grant

revision: str = "0035"
down_revision: str | None = "0034"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """The column, and that workers write it."""
    op.add_column("party", sa.Column("channel_followed_at", sa.DateTime(timezone=True)))
    grant({"worker": {"UPDATE (channel_followed_at)": "party"}})


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
