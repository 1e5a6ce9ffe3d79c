"""A small index of the declarations of pruning: for the proof of an entry that was pruned the log is not walked.

Safe while the program before still runs: it is made beside the work.
"""

from alembic import op

revision: str = "0030"
down_revision: str | None = "0029"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """With no lock that stops anybody."""
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_audit_event_pruned")  # what an interrupted run left
        op.execute("CREATE INDEX CONCURRENTLY ix_audit_event_pruned ON audit_event (id) WHERE action = 'audit.pruned'")


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
