"""No key for what was disposed of; nobody reads salts; why a co-ordinator noted an alert is for co-ordinators alone.

Safe while the program before still runs: it makes such a key by a race alone, and fails there now; the rights that end
it does not use.
"""

from alembic import op

from migrations.wall import grant

revision: str = "0028"
down_revision: str | None = "0026"
branch_labels: str | None = None
depends_on: str | None = None


_RAISED = "kind, dispatch_id, referral_id, agency, region"
_ALERT = f"id, {_RAISED}, raised_at, settled_at"


def upgrade() -> None:
    """A trigger that asks once a statement; then rights, all of which are columns' afterwards."""
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
    op.execute("REVOKE SELECT ON audit_salt FROM gain_as_auditor, gain_as_worker")
    op.execute("REVOKE SELECT ON alert FROM gain_as_originator, gain_as_agency, gain_as_worker")
    op.execute("REVOKE INSERT ON alert FROM gain_as_agency, gain_as_worker")
    reads, raises = {f"SELECT ({_ALERT})": "alert"}, {f"INSERT ({_RAISED})": "alert"}
    grant({"originator": reads, "agency": reads | raises, "worker": reads | raises})


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
