"""The co-ordinator's desk: cover for a colleague, a handover note, search by subject, and two indexes of what is late.

Safe while the program before still runs: new tables, wider policies, indexes made beside the work.
"""

import sqlalchemy as sa
from alembic import op

from migrations.wall import ALL, Grants, Policies, grant, of_referral, of_region, ours, protect

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | None = None
depends_on: str | None = None

_RUNS = "state IN ('queued', 'delivered', 'acknowledged')"
_INDEXES = {
    "ix_dispatch_due": ("due_at", f"overdue_at IS NULL AND {_RUNS}"),
    "ix_dispatch_expires": ("expires_at", f"overdue_at IS NOT NULL AND {_RUNS}"),
}
"""In the order in which a region's are shown: what is due, and what is overdue."""

_OVERSEER = {
    "SELECT": "subject_index, notice_count",
    "SELECT, INSERT, UPDATE (ended_at)": "cover",
    "SELECT, INSERT, UPDATE (content, written_party, written_by, written_at)": "handover_note",
}

GRANTS: Grants = {"coordinator": _OVERSEER, "national": _OVERSEER, "gateway": {"SELECT": "cover"}}

# A co-ordinator acts for its own region, and for those that it covers: first and further parties of the transaction.
_NOTE_KEY = "EXISTS (SELECT FROM handover_note WHERE handover_note.id = data_key.referral_id)"
_COMPLETION = "party = 'GAIN' AND actor = 'lifecycle' AND action = 'referral.completed'"

NEW: Policies = {
    "cover": {
        "coordinator": (f"{ours('region')} OR {ours('by_region')}", of_region()),
        "national": ALL,
        "gateway": ALL,
    },
    "handover_note": {"coordinator": ours("party"), "national": ALL},
}

WIDER: Policies = {
    "referral": {"coordinator": ours("region")},
    "dispatch": {"coordinator": ours("coalesce(region, '')")},
    "alert": {"coordinator": ours("region")},
    "queue_count": {"coordinator": ours("region")},
    "duplicate": {"coordinator": f"{ours('earlier_region')} OR {ours('later_region')}"},
    "subject_index": {"coordinator": of_referral("subject_index"), "national": ALL},
    "data_key": {"coordinator": f"{of_referral('data_key')} OR {_NOTE_KEY}"},
    # What is done under a cover is its doer's: it neither logs nor repeats in the covered region's name.
    "submission": {"coordinator": of_region("party")},
    "audit_event": {
        "coordinator": (
            f"operation <> 'consultation' AND {of_referral('audit_event')}",
            f"{of_region('party')} OR {_COMPLETION}",
        )
    },
}


def upgrade() -> None:
    """Tables, grants, policies, indexes."""
    op.create_table(
        "cover",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("by_region", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("granted_party", sa.Text(), nullable=False),
        sa.Column("granted_by", sa.Text(), nullable=False),
        sa.Column("granted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("region <> by_region", name=op.f("ck_cover_of_another")),
        sa.CheckConstraint("ends_on BETWEEN starts_on AND starts_on + 366", name=op.f("ck_cover_days")),
        sa.ForeignKeyConstraint(["region"], ["party.code"], name=op.f("fk_cover_region")),
        sa.ForeignKeyConstraint(["by_region"], ["party.code"], name=op.f("fk_cover_by_region")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cover")),
    )
    op.create_table(
        "handover_note",
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("written_party", sa.Text(), nullable=False),
        sa.Column("written_by", sa.Text(), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["party"], ["party.code"], name=op.f("fk_handover_note_party")),
        sa.PrimaryKeyConstraint("party", name=op.f("pk_handover_note")),
    )
    grant(GRANTS)
    protect(NEW)
    with op.get_context().autocommit_block():
        protect(WIDER)
        for name, (column, condition) in _INDEXES.items():
            op.create_index(
                name,
                "dispatch",
                [sa.text("coalesce(region, '')"), column],
                postgresql_where=sa.text(condition),
                postgresql_concurrently=True,
                if_not_exists=True,
            )


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
