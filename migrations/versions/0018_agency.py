"""An agency's web inbox: who works on an item, answers being written; and what it decides of its own policy."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.wall import ALL, grant, ours, protect

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: str | None = None
depends_on: str | None = None


_WHO_DECIDES = ("originator", "agency", "coordinator", "national", "gateway", "worker")


def upgrade() -> None:
    """New tables, and a column that what runs before this leaves to its default."""
    op.add_column("account", sa.Column("manager", sa.Boolean(), server_default="false", nullable=False))
    op.create_table(
        "assignment",
        sa.Column("dispatch_id", sa.Uuid(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("assigned_by", sa.Text(), nullable=False),
        sa.Column("assigned_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["dispatch_id"], ["dispatch.id"], name=op.f("fk_assignment_dispatch_id")),
        sa.ForeignKeyConstraint(["agency"], ["party.code"], name=op.f("fk_assignment_agency")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_assignment_account_id")),
        sa.PrimaryKeyConstraint("dispatch_id", name=op.f("pk_assignment")),
    )
    op.create_index(op.f("ix_assignment_account_id"), "assignment", ["account_id"])
    op.create_table(
        "answer_draft",
        sa.Column("dispatch_id", sa.Uuid(), nullable=False),
        sa.Column("referral_id", sa.Uuid(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("saved_by", sa.Text(), nullable=False),
        sa.Column("saved_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["dispatch_id"], ["dispatch.id"], name=op.f("fk_answer_draft_dispatch_id")),
        sa.ForeignKeyConstraint(["referral_id"], ["referral.id"], name=op.f("fk_answer_draft_referral_id")),
        sa.ForeignKeyConstraint(["agency"], ["party.code"], name=op.f("fk_answer_draft_agency")),
        sa.PrimaryKeyConstraint("dispatch_id", name=op.f("pk_answer_draft")),
    )
    op.create_index(op.f("ix_answer_draft_referral_id"), "answer_draft", ["referral_id"])
    op.create_table(
        "own_policy",
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("document", postgresql.JSONB(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["agency"], ["party.code"], name=op.f("fk_own_policy_agency")),
        sa.PrimaryKeyConstraint("agency", "version", name=op.f("pk_own_policy")),
    )
    grant(
        {
            "agency": {
                "SELECT, INSERT, UPDATE, DELETE": "assignment, answer_draft",
                "SELECT (crime_types)": "referral",
                "INSERT": "own_policy",
            },
            "administrator": {"SELECT (manager)": "account"},
        }
    )
    grant({role: {"SELECT": "own_policy"} for role in _WHO_DECIDES})
    # Whoever routes a referral or reckons its time reads them all; each agency writes its own.
    everybody = dict.fromkeys(_WHO_DECIDES, ALL)
    protect({"own_policy": {**everybody, "agency": (ALL, ours("agency"))}})
    protect({table: {"agency": (ours("agency"), _own(table))} for table in ("assignment", "answer_draft")})


def _own(table: str) -> str:
    """Written for one's own items only."""
    return (
        f"{ours('agency')} AND EXISTS (SELECT FROM dispatch WHERE dispatch.id = {table}.dispatch_id"
        f" AND dispatch.agency = {table}.agency)"
    )


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
