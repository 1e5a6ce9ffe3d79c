"""A key's mark is kept beside it: production does not start with keys that were made elsewhere, like a demonstration's.

Safe while the program before still runs: a column that it leaves empty. Keys made before have none, and are believed by
what they say themselves, as before.
"""

import sqlalchemy as sa
from alembic import op

from migrations.wall import Grants, grant

revision: str = "0034"
down_revision: str | None = "0033"
branch_labels: str | None = None
depends_on: str | None = None

GRANTS: Grants = {"administrator": {"SELECT (mark)": "api_key"}}


def upgrade() -> None:
    """A column, and who may read it."""
    op.add_column("api_key", sa.Column("mark", sa.Text()))
    grant(GRANTS)


def downgrade() -> None:
    """Never: migrations only go forward."""
    raise NotImplementedError("migrations only go forward; restore a backup instead")
