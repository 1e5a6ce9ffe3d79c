"""Counters of the queues, kept with the rows by triggers; indexes for the oldest of each, and for what is held."""

import sqlalchemy as sa
from alembic import op

# ruff: noqa: S608  the statements are made of constants of this file

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None

_OPEN = "state IN ('acknowledged', 'delivered', 'held', 'query', 'queued')"
_RUNNING = "state IN ('queued', 'delivered', 'acknowledged')"

INDEXES = {
    "ix_dispatch_waiting": f"dispatch (agency, coalesce(region, ''), state, created_at) WHERE {_OPEN}",
    "ix_dispatch_overdue": (
        f"dispatch (agency, coalesce(region, ''), due_at) WHERE overdue_at IS NOT NULL AND {_RUNNING}"
    ),
    "ix_dispatch_urgent": "dispatch (queued_at) WHERE priority = 0 AND state IN ('queued', 'delivered')",
    "ix_referral_held": "referral (region, id) WHERE state = 'held'",
}

# What these rows add to the counters (`sign` 1) or take away (-1): of all that changed, mostly one row for an agency.
COUNTED = f"""
    INSERT INTO queue_count
           (agency, region, day, held, queued, delivered, acknowledged, query, overdue, failing, answered)
    SELECT agency, region, day,
           coalesce(sum(number) FILTER (WHERE state = 'held'), 0),
           coalesce(sum(number) FILTER (WHERE state = 'queued'), 0),
           coalesce(sum(number) FILTER (WHERE state = 'delivered'), 0),
           coalesce(sum(number) FILTER (WHERE state = 'acknowledged'), 0),
           coalesce(sum(number) FILTER (WHERE state = 'query'), 0),
           coalesce(sum(number) FILTER (WHERE overdue AND {_RUNNING}), 0),
           coalesce(sum(number) FILTER (WHERE failing AND {_OPEN}), 0),
           coalesce(sum(number) FILTER (WHERE state IN ('answered', 'declined')), 0)
      FROM (SELECT agency, region, state, overdue, failing, CAST(sum(sign) AS integer) AS number,
                   CAST(coalesce(CASE WHEN state IN ('answered', 'declined') THEN closed_at END, now())
                        AT TIME ZONE 'Europe/London' AS date) AS day
              FROM (%s) AS change
             GROUP BY agency, region, state, overdue, failing, closed_at
            HAVING sum(sign) <> 0) AS difference
     GROUP BY agency, region, day
"""
_ROWS = (
    "SELECT agency, region, state, overdue_at IS NOT NULL AS overdue, failures > 1 AS failing, closed_at, {} AS sign"
    " FROM {}"
)
_MADE, _GONE = _ROWS.format(1, "made"), _ROWS.format(-1, "gone")

TRIGGERS = {
    "insert": ("NEW TABLE AS made", _MADE),
    "update": ("OLD TABLE AS gone NEW TABLE AS made", f"{_MADE} UNION ALL {_GONE}"),
    "delete": ("OLD TABLE AS gone", _GONE),
}


def upgrade() -> None:
    """First the indexes, with no lock that stops anybody; then table, triggers and backfill in one transaction."""
    with op.get_context().autocommit_block():
        for name, definition in INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # what an interrupted run left
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")
    op.create_table(
        "queue_count",
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("day", sa.Date(), nullable=False),
        *(
            sa.Column(name, sa.Integer(), nullable=False)
            for name in (
                "held",
                "queued",
                "delivered",
                "acknowledged",
                "query",
                "overdue",
                "failing",
                "answered",
            )
        ),
    )
    for operation, (tables, changed) in TRIGGERS.items():
        op.execute(f"""
            CREATE FUNCTION count_{operation} () RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                {COUNTED % changed};
                RETURN NULL;
            END $$
        """)
        op.execute(f"""
            CREATE TRIGGER dispatch_count_{operation} AFTER {operation.upper()} ON dispatch
            REFERENCING {tables} FOR EACH STATEMENT EXECUTE FUNCTION count_{operation} ()
        """)
    # The triggers' lock lets nobody write until this commits: what is here now is what they have not counted.
    op.execute(COUNTED % f"{_ROWS.format(1, 'dispatch')} WHERE {_OPEN}")
    op.execute(
        COUNTED % f"{_ROWS.format(1, 'dispatch')} WHERE state IN ('answered', 'declined')"
        " AND closed_at >= date_trunc('day', now(), 'Europe/London')"
    )
    op.execute("DROP INDEX ix_dispatch_open")


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
