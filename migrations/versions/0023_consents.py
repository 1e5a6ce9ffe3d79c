"""Originator consent: what is asked of a body before its answer goes further, and what it decides.

Safe while the program before still runs: a new table, of which that knows nothing.
"""

import sqlalchemy as sa
from alembic import op

from migrations.wall import Grants, grant, of_referral, ours, protect

revision: str = "0023"
down_revision: str | None = "0022"
branch_labels: str | None = None
depends_on: str | None = None

# As in app.referrals.states on the day of this migration; tests/app/test_consents.py compares.
MOVES = "asked>given,asked>refused,asked>withdrawn"

_SETTLED = "state, settled_at, settled_party, settled_by"
_OVERSEER = {"SELECT, INSERT": "consent", f"UPDATE ({_SETTLED}, chased_at, chases)": "consent"}

GRANTS: Grants = {
    "originator": {"SELECT, INSERT": "consent", f"UPDATE ({_SETTLED})": "consent"},
    "agency": {"SELECT": "consent", f"UPDATE ({_SETTLED}, sealed_decision)": "consent"},
    "coordinator": _OVERSEER,
    "national": _OVERSEER,
}

# Whoever asks or oversees cannot give consent: that is the body's alone, and of what it has itself answered.
_ASKING = "state IN ('asked', 'withdrawn')"
_OURS_IN_TURN = f"{ours('asked_party')} AND {_ASKING} AND {of_referral('consent')}"

POLICIES = {
    "consent": {
        "originator": (of_referral("consent"), _OURS_IN_TURN),
        "agency": (ours("agency"), f"{ours('agency')} AND state IN ('given', 'refused')"),
        "coordinator": (of_referral("consent"), f"{_ASKING} AND {of_referral('consent')}"),
        "national": ("true", _ASKING),
    }
}


def upgrade() -> None:
    """The table, its moves, grants and policies."""
    op.create_table(
        "consent",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("referral_id", sa.Uuid(), nullable=False),
        sa.Column("dispatch_id", sa.Uuid(), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("recipient", sa.Text(), nullable=True),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), server_default="asked", nullable=False),
        sa.Column("asked_party", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("chased_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("chases", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_party", sa.Text(), nullable=True),
        sa.Column("settled_by", sa.Text(), nullable=True),
        sa.Column("sealed_decision", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("state IN ('asked', 'given', 'refused', 'withdrawn')", name=op.f("ck_consent_state")),
        sa.CheckConstraint("(state = 'asked') = (settled_at IS NULL)", name=op.f("ck_consent_settled")),
        sa.CheckConstraint(
            "(state IN ('given', 'refused')) = (sealed_decision IS NOT NULL)", name=op.f("ck_consent_decided")
        ),
        sa.ForeignKeyConstraint(["agency"], ["party.code"], name=op.f("fk_consent_agency")),
        sa.ForeignKeyConstraint(["asked_party"], ["party.code"], name=op.f("fk_consent_asked_party")),
        sa.ForeignKeyConstraint(["dispatch_id"], ["dispatch.id"], name=op.f("fk_consent_dispatch_id")),
        sa.ForeignKeyConstraint(["recipient"], ["party.code"], name=op.f("fk_consent_recipient")),
        sa.ForeignKeyConstraint(["referral_id"], ["referral.id"], name=op.f("fk_consent_referral_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent")),
    )
    op.create_index("ix_consent_referral_id", "consent", ["referral_id", "id"])
    op.create_index("ix_consent_agency", "consent", ["agency", "state", "id"])
    op.create_index("ix_consent_asked", "consent", ["region", "asked_at"], postgresql_where=sa.text("state = 'asked'"))
    op.execute(f"""
        CREATE TRIGGER consent_moves BEFORE UPDATE OF state ON consent
        FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state
                           AND (OLD.state || '>' || NEW.state) <> ALL ('{{{MOVES}}}'::text[]))
        EXECUTE FUNCTION refuse_move()
    """)
    grant(GRANTS)
    protect(POLICIES)


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
