"""No key for what was disposed of.

Safe while the program before still runs: it makes such a key by a race alone, and fails there now.
"""

from alembic import op

revision: str = "0028"
down_revision: str | None = "0024"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """A trigger that asks once a statement."""
    # As the owner: whoever keeps a key may not see the table of referrals. And always by the index, as in 0012.
    op.execute("""
        CREATE FUNCTION refuse_key_of_disposed() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
        SET enable_hashjoin = off SET enable_mergejoin = off AS $$
        BEGIN
            IF EXISTS (SELECT FROM made WHERE EXISTS
                       (SELECT FROM referral WHERE referral.id = made.referral_id
                           AND referral.disposed_at IS NOT NULL)) THEN
                RAISE EXCEPTION 'a referral that was disposed of gets no data key' USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER data_key_of_what_is_whole AFTER INSERT ON data_key REFERENCING NEW TABLE AS made
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_key_of_disposed()
    """)


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
