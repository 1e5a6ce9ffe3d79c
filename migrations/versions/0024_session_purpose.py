"""Why somebody reads, said once a session of the pages."""

import sqlalchemy as sa
from alembic import op

from migrations.wall import grant

revision: str = "0024"
down_revision: str | None = "0023"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """A column that what runs before this leaves empty."""
    op.add_column("session", sa.Column("purpose", sa.Text(), nullable=True))
    grant({"gateway": {"UPDATE (purpose)": "session"}})


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
