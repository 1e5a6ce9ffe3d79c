"""Outcomes of referrals, whose answers were useful, and possible duplicates between parties.

Safe while the program before still runs: new tables, and an index that serves its look-ups as the one before did.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.wall import ALL, Grants, Policies, grant, of_referral, of_region, ours, protect

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | None = None
depends_on: str | None = None

_DECIDED = "decision, decided_at, decided_party, decided_by, reason_of, sealed_reason"
_OVERSEER = {"SELECT": "referral_outcome, useful_answer, duplicate", f"UPDATE ({_DECIDED})": "duplicate"}

GRANTS: Grants = {
    "originator": {"SELECT, INSERT": "referral_outcome, useful_answer"},
    "coordinator": _OVERSEER,
    "national": _OVERSEER,
    "worker": {"SELECT, INSERT": "duplicate", "SELECT": "subject_index"},
}

POLICIES: Policies = {
    "referral_outcome": {
        "originator": (
            of_referral("referral_outcome"),
            f"{ours('originator')} AND {of_referral('referral_outcome')}",
        ),
        "coordinator": of_referral("referral_outcome"),
        "national": ALL,
    },
    "useful_answer": {
        "originator": of_referral("useful_answer"),
        "coordinator": of_referral("useful_answer"),
        "national": ALL,
    },
    "duplicate": {
        # Either of its two referrals is of the region. No originator, no agency: that another looks is telling.
        "coordinator": f"{of_region('earlier_region')} OR {of_region('later_region')}",
        "national": ALL,
        "worker": ALL,
    },
}


def upgrade() -> None:
    """Three tables, and the blind index in the order in which duplicates are looked for."""
    op.create_table(
        "referral_outcome",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("referral_id", sa.Uuid(), nullable=False),
        sa.Column("originator", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("acted_on", sa.Date(), nullable=False),
        sa.Column("disruption", sa.Text(), nullable=True),
        sa.Column("arrests", sa.Integer(), nullable=True),
        sa.Column("charged", sa.Integer(), nullable=True),
        sa.Column("prohibition_orders", sa.Integer(), nullable=True),
        sa.Column("children_safeguarded", sa.Integer(), nullable=True),
        sa.Column("adults_safeguarded", sa.Integer(), nullable=True),
        sa.Column("assets_frozen_pence", sa.BigInteger(), nullable=True),
        sa.Column("seized_pence", sa.BigInteger(), nullable=True),
        sa.Column("seizures", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("sealed_summary", sa.LargeBinary(), nullable=True),
        sa.Column("replaces", sa.Uuid(), nullable=True),
        sa.Column("recorded_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "disruption IS NULL OR disruption IN ('major', 'moderate', 'minor', 'negative')",
            name=op.f("ck_referral_outcome_disruption"),
        ),
        sa.ForeignKeyConstraint(["originator"], ["party.code"], name=op.f("fk_referral_outcome_originator")),
        sa.ForeignKeyConstraint(["referral_id"], ["referral.id"], name=op.f("fk_referral_outcome_referral_id")),
        sa.ForeignKeyConstraint(["replaces"], ["referral_outcome.id"], name=op.f("fk_referral_outcome_replaces")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_referral_outcome")),
        sa.UniqueConstraint("replaces", name=op.f("uq_referral_outcome_replaces")),
    )
    op.create_index("ix_referral_outcome_referral_id", "referral_outcome", ["referral_id", "id"], unique=False)
    op.create_index("ix_referral_outcome_recorded_at", "referral_outcome", ["recorded_at"], unique=False)
    op.create_table(
        "useful_answer",
        sa.Column("outcome_id", sa.Uuid(), nullable=False),
        sa.Column("dispatch_id", sa.Uuid(), nullable=False),
        sa.Column("referral_id", sa.Uuid(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["dispatch_id"], ["dispatch.id"], name=op.f("fk_useful_answer_dispatch_id")),
        sa.ForeignKeyConstraint(["outcome_id"], ["referral_outcome.id"], name=op.f("fk_useful_answer_outcome_id")),
        sa.ForeignKeyConstraint(["referral_id"], ["referral.id"], name=op.f("fk_useful_answer_referral_id")),
        sa.PrimaryKeyConstraint("outcome_id", "dispatch_id", name=op.f("pk_useful_answer")),
    )
    op.create_index("ix_useful_answer_agency", "useful_answer", ["agency"], unique=False)
    op.create_index("ix_useful_answer_referral_id", "useful_answer", ["referral_id"], unique=False)
    op.create_table(
        "duplicate",
        sa.Column("id", sa.Uuid(), nullable=False),
        *(
            column
            for side in ("earlier", "later")
            for column in (
                sa.Column(side, sa.Uuid(), nullable=False),
                sa.Column(f"{side}_reference", sa.Text(), nullable=False),
                sa.Column(f"{side}_party", sa.Text(), nullable=False),
                sa.Column(f"{side}_region", sa.Text(), nullable=True),
                sa.Column(f"{side}_at", sa.DateTime(timezone=True), nullable=False),
            )
        ),
        sa.Column("kinds", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_party", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("reason_of", sa.Uuid(), nullable=True),
        sa.Column("sealed_reason", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("decision IN ('same', 'different')", name=op.f("ck_duplicate_decision")),
        sa.CheckConstraint("(decision IS NULL) = (decided_at IS NULL)", name=op.f("ck_duplicate_decided")),
        sa.ForeignKeyConstraint(["earlier"], ["referral.id"], name=op.f("fk_duplicate_earlier")),
        sa.ForeignKeyConstraint(["later"], ["referral.id"], name=op.f("fk_duplicate_later")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_duplicate")),
        sa.UniqueConstraint("earlier", "later", name=op.f("uq_duplicate_earlier_later")),
    )
    op.create_index("ix_duplicate_later", "duplicate", ["later"], unique=False)
    op.create_index(
        "ix_duplicate_open", "duplicate", ["id"], unique=False, postgresql_where=sa.text("decision IS NULL")
    )
    grant(GRANTS)
    protect(POLICIES)
    # The new one first, beside whatever writes meanwhile; what it makes needless goes after.
    with op.get_context().autocommit_block():
        protect({"subject_index": {"worker": ALL}})
        op.create_index(
            "ix_subject_index_digest_referral_id",
            "subject_index",
            ["digest", "referral_id"],
            unique=False,
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        op.drop_index(
            "ix_subject_index_digest", table_name="subject_index", postgresql_concurrently=True, if_exists=True
        )


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
