"""Small indexes for the pages: what is overdue, pressing or held back until released; an originator's open referrals.

Safe while the program before still runs: they are made beside the work.
"""

from alembic import op

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: str | None = None
depends_on: str | None = None

INDEXES = {
    "ix_dispatch_late": "dispatch (coalesce(region, ''), due_at)"
    " WHERE overdue_at IS NOT NULL AND state IN ('queued', 'delivered', 'acknowledged')",
    "ix_dispatch_pressing": "dispatch (coalesce(region, ''), priority, due_at)"
    " WHERE priority < 2 AND state IN ('queued', 'delivered', 'acknowledged')",
    "ix_referral_originator_open": "referral (originator, id DESC) WHERE state IN ('held', 'accepted', 'in_progress')",
    "ix_dispatch_release": "dispatch (coalesce(region, ''), created_at) WHERE state = 'held' AND needs_release",
}


def upgrade() -> None:
    """With no lock that stops anybody."""
    with op.get_context().autocommit_block():
        for name, definition in INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # what an interrupted run left
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
