"""Drafts of referrals; the key of one goes with it. An index of the questions that wait for a reply."""

import sqlalchemy as sa
from alembic import op

from migrations.wall import ALL, grant, of_referral, ours, protect

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """A new table; `data_key` shows an originator the keys of its drafts too."""
    op.create_table(
        "draft",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["party"], ["party.code"], name=op.f("fk_draft_party")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_draft")),
    )
    op.create_index("ix_draft_party_updated_at", "draft", ["party", "updated_at"], unique=False)
    op.create_index("ix_draft_updated_at", "draft", ["updated_at"], unique=False)
    # Neither an originator nor a worker may delete data keys: that is disposal's.
    op.execute("""
        CREATE FUNCTION forget_draft_key() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
        BEGIN
            DELETE FROM data_key WHERE referral_id = OLD.id;
            RETURN NULL;
        END
        $$
    """)
    op.execute("REVOKE ALL ON FUNCTION forget_draft_key() FROM PUBLIC")
    op.execute("""
        CREATE TRIGGER draft_key_goes_too AFTER DELETE ON draft
        FOR EACH ROW EXECUTE FUNCTION forget_draft_key()
    """)
    grant(
        {
            "originator": {
                "SELECT, INSERT, DELETE": "draft",
                "UPDATE (sealed, updated_by, updated_at)": "draft",
            },
            # To find what has expired it need not read what is sealed; to lock a row it must be able to change one.
            "worker": {"SELECT (id, updated_at), DELETE, UPDATE (updated_at)": "draft"},
        }
    )
    protect({"draft": {"originator": ours("party"), "worker": ALL}})
    with op.get_context().autocommit_block():
        of_draft = "EXISTS (SELECT FROM draft WHERE draft.id = data_key.referral_id)"
        protect({"data_key": {"originator": (f"{of_referral('data_key')} OR {of_draft}", ALL)}})
        op.create_index(
            "ix_dispatch_query",
            "dispatch",
            ["referral_id"],
            unique=False,
            postgresql_where=sa.text("state = 'query'"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
