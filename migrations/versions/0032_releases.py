"""Of an item that was held and let go again an agency is told anew: by a notice of its own, with all its tries.

Safe while the program before still runs: it leaves the column alone, and tells of such a release as it did.
"""

import sqlalchemy as sa
from alembic import op

from migrations.wall import grant

revision: str = "0032"
down_revision: str | None = "0031"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """A column, and who may write it. No row is written."""
    op.add_column("dispatch", sa.Column("holds", sa.SmallInteger(), server_default=sa.text("0"), nullable=False))
    held = {"UPDATE (holds)": "dispatch"}
    grant({"coordinator": held, "national": held})


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
