"""Reports: what they count is kept with the rows by triggers, by month and by hour; why an agency declines, as a code.

Safe while the program before still runs: a column that may be empty, three tables, and triggers that only insert. What
was there before is counted by the scheduler's first comparison, so that nobody waits for it here.
"""

import sqlalchemy as sa
from alembic import op

from migrations.wall import ALL, Grants, Policies, grant, of_region, ours, protect

# ruff: noqa: S608  the statements are made of constants of this file

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | None = None
depends_on: str | None = None

_MADE = "SELECT *, 1 AS sign FROM made"
_GONE = "SELECT *, -1 AS sign FROM gone"
_HAS_ENDED = "EXISTS (SELECT FROM %s WHERE closed_at IS NOT NULL)"

# As in app.reporting.histogram: four buckets for each doubling of the seconds.
_BUCKET = (
    "least(95, CAST(floor(5.770780163555854 * ln(greatest(1, date_part('epoch', answered_at - queued_at))))"
    " AS smallint))"
)

SUBMITTED = """
    INSERT INTO report_change (report, hour, party, region, figure, detail, number)
    SELECT 'referrals', date_trunc('hour', created_at), originator, coalesce(region, ''), 'submitted', '', sum(sign)
      FROM (%s) AS change
     GROUP BY 2, 3, 4 HAVING sum(sign) <> 0
"""

# What changes in a dispatch that has ended already comes to nothing, and most statements end none.
ENDED = f"""
    INSERT INTO report_change (report, hour, party, region, figure, detail, bucket, number)
    SELECT 'agencies', hour, agency, region, figure, detail, bucket, sum(sign)
      FROM (SELECT date_trunc('hour', closed_at) AS hour, agency, coalesce(region, '') AS region,
                   CASE WHEN state = 'answered' THEN outcome ELSE state END AS figure,
                   CASE WHEN state = 'declined' THEN coalesce(decline_reason, '')
                        WHEN state <> 'expired' THEN ''
                        WHEN queried_at IS NOT NULL THEN 'question_open'
                        WHEN acknowledged_at IS NOT NULL THEN 'acknowledged'
                        WHEN delivered_at IS NOT NULL THEN 'seen'
                        ELSE 'unseen' END AS detail,
                   CASE WHEN state IN ('answered', 'declined') THEN {_BUCKET} END AS bucket, sign
              FROM (%s) AS change
             WHERE closed_at IS NOT NULL AND state IN ('answered', 'declined', 'expired', 'undeliverable', 'cancelled')
               AND (state <> 'answered' OR outcome IS NOT NULL)) AS ended
     GROUP BY hour, agency, region, figure, detail, bucket HAVING sum(sign) <> 0
"""

FIGURES = (
    "arrests charged prohibition_orders children_safeguarded adults_safeguarded assets_frozen_pence seized_pence"
).split()

# One that is replaced counts no more. Rows are only ever added.
RECORDED = f"""
    INSERT INTO report_change (report, hour, party, region, figure, detail, number)
    SELECT 'outcomes', CAST(acted_on AS timestamp) AT TIME ZONE 'Europe/London', originator, coalesce(region, ''),
           figure, detail, sum(sign * number)
      FROM (SELECT made.*, 1 AS sign FROM made
             UNION ALL
            SELECT replaced.*, -1 FROM referral_outcome AS replaced JOIN made ON made.replaces = replaced.id) AS change
     CROSS JOIN LATERAL (VALUES ('actions', '', CAST(1 AS bigint)),
                                ('disruption', disruption, CASE WHEN disruption IS NOT NULL THEN 1 END),
                                {", ".join(f"('{name}', '', {name})" for name in FIGURES)}
                        ) AS counted (figure, detail, number)
     WHERE number <> 0
     GROUP BY acted_on, originator, region, figure, detail HAVING sum(sign * number) <> 0
"""

GRANTS: Grants = {
    "originator": {"SELECT": "report_month, report_change"},
    "agency": {"UPDATE (decline_reason)": "dispatch"},
    "coordinator": {"SELECT": "report_month, report_change, report_hour"},
    "national": {"SELECT": "report_month, report_change, report_hour"},
    "worker": {
        "SELECT": "report_month, report_change, report_hour, referral_outcome",
        "INSERT": "report_month, report_change, report_hour",
        "UPDATE": "report_month, report_hour",
        "DELETE": "report_change, report_hour",
    },
}
# How an agency answers is no force's to see: not even a force that is an agency too.
_OWN = f"report <> 'agencies' AND {ours('party')}"
_OF_MONTHS = {"originator": _OWN, "coordinator": of_region(), "national": ALL, "worker": ALL}
POLICIES: Policies = {
    "report_change": _OF_MONTHS,
    "report_month": _OF_MONTHS,
    "report_hour": {"coordinator": of_region(), "national": ALL, "worker": ALL},
    "referral_outcome": {"worker": ALL},
}

TRIGGERS = {
    "report_outcome_insert": ("referral_outcome", "INSERT", "NEW TABLE AS made", RECORDED),
    "report_referral_insert": ("referral", "INSERT", "NEW TABLE AS made", SUBMITTED % _MADE),
    "report_referral_delete": ("referral", "DELETE", "OLD TABLE AS gone", SUBMITTED % _GONE),
    "report_dispatch_update": (
        "dispatch",
        "UPDATE",
        "OLD TABLE AS gone NEW TABLE AS made",
        f"IF {_HAS_ENDED % 'made'} OR {_HAS_ENDED % 'gone'} THEN {ENDED % f'{_MADE} UNION ALL {_GONE}'}; END IF",
    ),
    "report_dispatch_delete": ("dispatch", "DELETE", "OLD TABLE AS gone", ENDED % _GONE),
}


def upgrade() -> None:
    """Each trigger takes a moment's lock of its table."""
    op.add_column("dispatch", sa.Column("decline_reason", sa.Text(), nullable=True))
    op.create_table(
        "report_change",
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("figure", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), nullable=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "report_month",
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("figure", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("report", "month", "region", "party", "figure", "detail", name=op.f("pk_report_month")),
    )
    op.create_table(
        "report_hour",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "agency", "region", name=op.f("pk_report_hour")),
    )
    for name, (table, operation, tables, statement) in TRIGGERS.items():
        op.execute(f"""
            CREATE FUNCTION {name} () RETURNS trigger LANGUAGE plpgsql
            SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
            BEGIN
                {statement};
                RETURN NULL;
            END $$
        """)
        op.execute(f"""
            CREATE TRIGGER {name} AFTER {operation} ON {table}
            REFERENCING {tables} FOR EACH STATEMENT EXECUTE FUNCTION {name} ()
        """)
    grant(GRANTS)
    protect(POLICIES)
    # VACUUM is no part of a transaction, and so acts for nobody.
    op.execute("GRANT MAINTAIN ON report_change TO gain_worker")


def downgrade() -> None:
    """Migrations go forward only: restore a backup instead."""
    raise NotImplementedError("migrations go forward only")
