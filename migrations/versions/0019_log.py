"""The auditor's page: a referral's reference leads to its events, and a time to its checkpoint.

Safe while the program before still runs: one more grant and policy, and an index of a small table.
"""

from alembic import op

from migrations.wall import ALL, Grants, Policies, grant, protect

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | None = None
depends_on: str | None = None

GRANTS: Grants = {"auditor": {"SELECT (id, reference)": "referral"}}
POLICIES: Policies = {"referral": {"auditor": ALL}}


def upgrade() -> None:
    """The number of a referral is no content: an auditor sees that, and nothing else of it."""
    grant(GRANTS)
    with op.get_context().autocommit_block():
        op.create_index(
            "ix_audit_checkpoint_at", "audit_checkpoint", ["at"], postgresql_concurrently=True, if_not_exists=True
        )
        protect(POLICIES)


def downgrade() -> None:
    """Never: migrations only go forward."""
    raise NotImplementedError("migrations only go forward; restore a backup instead")
