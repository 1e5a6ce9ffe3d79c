"""An operator sets, rotates and mends the channels of agencies, and what was set outlives new reference data.

Safe while the program before still runs: a column that it does not know, which is empty, and more rights.
"""

import sqlalchemy as sa
from alembic import op

from migrations.wall import grant

revision: str = "0031"
down_revision: str | None = "0030"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """The column, then what an operator's command may do."""
    op.add_column("party", sa.Column("channel_set_at", sa.DateTime(timezone=True)))
    grant(
        {
            "administrator": {
                "SELECT": "push_endpoint, email_mailbox",
                "INSERT (agency, url)": "push_endpoint",
                "UPDATE (url, version, previous_until, set_at, disabled_at, disabled_reason)": "push_endpoint",
                "INSERT (agency, address)": "email_mailbox",
                "UPDATE (address, set_at, bounced_at, bounce_reason)": "email_mailbox",
                "UPDATE (channel, channel_set_at)": "party",
            }
        }
    )


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
