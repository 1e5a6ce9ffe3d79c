"""Keys with scope, networks, expiry, last use and rotation; tokens revoked before their time."""

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Columns that may be empty, and a new table: the code before this goes on running beside it."""
    for column in (
        sa.Column("scope", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("networks", sa.ARRAY(sa.Text()), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("replaces", sa.Text(), nullable=True),
        sa.Column("asked_as", sa.LargeBinary(), nullable=True),
        sa.Column("sameness", sa.LargeBinary(), nullable=True),
    ):
        op.add_column("api_key", column)
    op.create_unique_constraint(op.f("uq_api_key_asked_as"), "api_key", ["asked_as"])
    op.create_foreign_key(op.f("fk_api_key_replaces"), "api_key", "api_key", ["replaces"], ["id"])
    op.create_table(
        "revoked_token",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_key.id"], name=op.f("fk_revoked_token_key_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revoked_token")),
    )
    op.create_index("ix_revoked_token_key_id", "revoked_token", ["key_id"])


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
