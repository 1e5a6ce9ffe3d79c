"""Less to write for each dispatch: fewer index entries and look-ups, and moves of state judged without a function call.

Each state a dispatch enters writes it anew, and an entry in every index whose condition it meets.
"""

from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None

# As in app.referrals.states on the day of this migration; a guard test compares the triggers with the tables there.
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

# What waits unread is found by ix_dispatch_inbox, whatever asks for it by its state.
_BY_STATE = (
    "dispatch (agency, state, priority, number) WHERE state IN "
    "('held', 'acknowledged', 'query', 'answered', 'declined', 'expired', 'undeliverable', 'cancelled')"
)


def upgrade() -> None:
    """The new indexes first, with no lock that stops anybody; the rest takes a moment's lock."""
    with op.get_context().autocommit_block():
        for name, definition in (
            ("ix_dispatch_agency_state_read", _BY_STATE),
            # Only the reconciliation of counters asks for it, a day at a time: rows are closed in the order of time.
            ("ix_dispatch_closed_at_brin", "dispatch USING brin (closed_at)"),
        ):
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # what an interrupted run left
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")
    op.execute("DROP INDEX ix_dispatch_agency_state")
    op.execute("DROP INDEX ix_dispatch_closed_at")
    # A response's dispatch names the referral; an agency comes from the directory, and no party is ever deleted.
    op.execute("ALTER TABLE response DROP CONSTRAINT fk_response_referral_id")
    op.execute("ALTER TABLE dispatch DROP CONSTRAINT fk_dispatch_agency")
    op.execute("""
        CREATE FUNCTION refuse_move() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% cannot move from % to %', TG_TABLE_NAME, OLD.state, NEW.state
                USING ERRCODE = 'check_violation';
        END $$
    """)
    for table, moves in (("referral", REFERRAL_MOVES), ("dispatch", DISPATCH_MOVES)):
        allowed = ",".join(moves.split())
        op.execute(f"DROP TRIGGER {table}_moves ON {table}")
        op.execute(f"""
            CREATE TRIGGER {table}_moves BEFORE UPDATE OF state ON {table}
            FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state
                               AND (OLD.state || '>' || NEW.state) <> ALL ('{{{allowed}}}'::text[]))
            EXECUTE FUNCTION refuse_move()
        """)
    op.execute("DROP FUNCTION refuse_unknown_move()")


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
