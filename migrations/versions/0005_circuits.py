"""What has failed, to be seen: the agencies that are not called for now, and referrals that cannot be fanned out."""

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Two tables that hold a row only while something is wrong."""
    op.create_table(
        "circuit",
        sa.Column("process", sa.Uuid(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("failures", sa.SmallInteger(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["agency"], ["party.code"], name=op.f("fk_circuit_agency")),
        sa.PrimaryKeyConstraint("process", "agency", name=op.f("pk_circuit")),
    )
    op.create_table(
        "fan_out_try",
        sa.Column("referral_id", sa.Uuid(), nullable=False),
        sa.Column("tries", sa.SmallInteger(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["referral_id"], ["referral.id"], name=op.f("fk_fan_out_try_referral_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("referral_id", name=op.f("pk_fan_out_try")),
    )
    op.create_index(
        "ix_fan_out_try_next_at",
        "fan_out_try",
        ["next_at"],
        unique=False,
        postgresql_where=sa.text("next_at IS NOT NULL"),
    )


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
