"""What the database itself keeps true: references, the moves of state, an append-only log."""

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

# As in app.referrals.states on the day of this migration; a guard test compares the trigger with the tables there.
REFERRAL_MOVES = (
    "held>accepted held>in_progress held>completed held>cancelled held>rejected "
    "accepted>held accepted>in_progress accepted>cancelled accepted>rejected "
    "in_progress>held in_progress>completed in_progress>cancelled in_progress>rejected completed>in_progress"
)
DISPATCH_MOVES = (
    "held>queued held>cancelled held>expired "
    "queued>held queued>delivered queued>acknowledged queued>answered queued>declined queued>query queued>expired "
    "queued>undeliverable queued>cancelled "
    "delivered>acknowledged delivered>answered delivered>declined delivered>query delivered>expired "
    "delivered>undeliverable delivered>cancelled "
    "acknowledged>answered acknowledged>declined acknowledged>query acknowledged>expired "
    "acknowledged>undeliverable acknowledged>cancelled "
    "query>delivered query>answered query>declined query>expired query>cancelled"
)


def upgrade() -> None:
    """Functions and triggers."""
    op.execute("CREATE SEQUENCE referral_number")
    op.execute("""
        CREATE FUNCTION next_reference() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
        DECLARE number text := nextval('referral_number')::text;
        BEGIN
            RETURN 'GAIN-' || to_char(now() AT TIME ZONE 'UTC', 'YYYY') || '-' ||
                   lpad(number, greatest(6, length(number)), '0');
        END $$
    """)
    # Nothing that commits from now on can carry an `updated_at` (its transaction's start) before this moment.
    # It may look at other sessions' start times, whoever calls it.
    op.execute("""
        CREATE FUNCTION settled_before() RETURNS timestamptz LANGUAGE sql STABLE SECURITY DEFINER
        SET search_path = pg_catalog AS $$
            SELECT coalesce(min(xact_start), now()) FROM pg_stat_activity
             WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        $$
    """)
    op.execute("""
        CREATE FUNCTION refuse_unknown_move() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NOT (OLD.state || '>' || NEW.state = ANY(string_to_array(TG_ARGV[0], ' '))) THEN
                RAISE EXCEPTION '% cannot move from % to %', TG_TABLE_NAME, OLD.state, NEW.state
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
        END $$
    """)
    for table, moves in (("referral", REFERRAL_MOVES), ("dispatch", DISPATCH_MOVES)):
        op.execute(f"""
            CREATE TRIGGER {table}_moves BEFORE UPDATE OF state ON {table}
            FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state)
            EXECUTE FUNCTION refuse_unknown_move('{moves}')
        """)
    for table in ("audit_event", "party_revision"):
        op.execute(f"""
            CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """)


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
