"""What the reports count: triggers add what every statement changes, the scheduler adds it up by month and by hour.

A figure is the sum of its rows in `report_month` and `report_change`. Writers only ever insert into `report_change`, so
they wait for nobody; to fold takes rows from there and adds them to the months in one transaction, so every reader sees
the same figures before and after (docs/decisions/0025-reports.md).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prometheus_client import Counter
from sqlalchemy import BigInteger, Column, Date, DateTime, Row, SmallInteger, Table, Text, text

from app.db import AS_WORKER, Base, Connection, Database
from app.reporting.figures import ANSWER_TIME


def _figure() -> list[Column[str]]:
    return [Column(name, Text, nullable=False) for name in ("party", "region", "figure", "detail")]


# `report` is the report that the row is for: `referrals` and `outcomes` (`party` is the originator), `agencies`.
# `region` is empty where there is none. `detail` divides a figure: why it was declined, when it was given up.
REPORT_CHANGE = Table(
    "report_change",
    Base.metadata,
    Column("report", Text, nullable=False),
    Column("hour", DateTime(timezone=True), nullable=False),
    *_figure(),
    Column("bucket", SmallInteger),
    Column("number", BigInteger, nullable=False),
)
REPORT_MONTH = Table(
    "report_month",
    Base.metadata,
    Column("report", Text, primary_key=True),
    Column("month", Date, primary_key=True),
    Column("region", Text, primary_key=True),
    Column("party", Text, primary_key=True),
    Column("figure", Text, primary_key=True),
    Column("detail", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
)
REPORT_HOUR = Table(
    "report_hour",
    Base.metadata,
    Column("hour", DateTime(timezone=True), primary_key=True),
    Column("agency", Text, primary_key=True),
    Column("region", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
)

FOLD_ROWS = 1_000
"""So many rows are read in about a millisecond."""

EVERYWHERE = "*"
"""In `report_month`, the region of the rows that hold the sum of all regions: whoever sees all reads a tenth."""

# ruff: noqa: S608  the statements are made of constants of this file

_MENDED = Counter("gain_reports_mended_total", "Figures of a report that had to be set right.")

_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:key)")
_FOLDING, _RECONCILING = 0x4741494E_0017, 0x4741494E_0018
"""One at a time folds, and one compares; the numbers only have to be nobody else's."""

_ROWS = text("SELECT count(*) FROM report_change")

_MONTH = "CAST(date_trunc('month', {} AT TIME ZONE 'Europe/London') AS date)"

BY_MONTH = f"""
    SELECT report, {_MONTH.format("hour")} AS month, party, region, figure, detail, number FROM {{0}}
     UNION ALL
    SELECT report, {_MONTH.format("hour")}, party, region, '{ANSWER_TIME}', CAST(bucket AS text), number
      FROM {{0}} WHERE bucket IS NOT NULL
"""
"""SQL: the rows of `report_change`, or of what was taken from there, as they are added to the months."""

_FOLD = text(f"""
    WITH taken AS (
        DELETE FROM report_change RETURNING *
    ), added AS (
        INSERT INTO report_month AS kept (report, month, party, region, figure, detail, number)
        SELECT report, month, party, place, figure, detail, sum(number)
          FROM ({BY_MONTH.format("taken")}) AS change
         CROSS JOIN LATERAL (VALUES (region), ('{EVERYWHERE}')) AS of (place)
         GROUP BY report, month, party, place, figure, detail HAVING sum(number) <> 0
        ON CONFLICT (report, month, region, party, figure, detail) DO UPDATE SET number = kept.number + excluded.number
    )
    INSERT INTO report_hour AS kept (hour, agency, region, number)
    SELECT hour, party, region, sum(number) FROM taken
     WHERE bucket IS NOT NULL AND hour > now() - interval '1 day'
     GROUP BY hour, party, region HAVING sum(number) <> 0
    ON CONFLICT (hour, agency, region) DO UPDATE SET number = kept.number + excluded.number
""")
_FORGET = text("DELETE FROM report_hour WHERE hour <= now() - interval '1 day'")

# The pages of what was folded are used again at once, so they stay few. To give them back could wait for writers.
_VACUUM = text("VACUUM (SKIP_LOCKED, TRUNCATE false) report_change")

_BUCKET = (
    "least(95, CAST(floor(5.770780163555854 * ln(greatest(1, date_part('epoch', answered_at - queued_at))))"
    " AS smallint))"
)
_OUTCOMES = (
    "arrests charged prohibition_orders children_safeguarded adults_safeguarded assets_frozen_pence seized_pence"
).split()

# The same as the triggers count (migration 0017), of all rows at once.
_TRUTH = f"""
    SELECT 'referrals' AS report, {_MONTH.format("created_at")} AS month, originator AS party,
           coalesce(region, '') AS region, 'submitted' AS figure, '' AS detail, CAST(NULL AS smallint) AS bucket,
           count(*) AS number
      FROM referral GROUP BY 2, 3, 4
     UNION ALL
    SELECT 'agencies', {_MONTH.format("closed_at")}, agency, coalesce(region, ''),
           CASE WHEN state = 'answered' THEN outcome ELSE state END AS figure,
           CASE WHEN state = 'declined' THEN coalesce(decline_reason, '')
                WHEN state <> 'expired' THEN ''
                WHEN queried_at IS NOT NULL THEN 'question_open'
                WHEN acknowledged_at IS NOT NULL THEN 'acknowledged'
                WHEN delivered_at IS NOT NULL THEN 'seen'
                ELSE 'unseen' END AS detail,
           CASE WHEN state IN ('answered', 'declined') THEN {_BUCKET} END AS bucket, count(*)
      FROM dispatch
     WHERE closed_at IS NOT NULL AND state IN ('answered', 'declined', 'expired', 'undeliverable', 'cancelled')
       AND (state <> 'answered' OR outcome IS NOT NULL)
     GROUP BY 2, 3, 4, 5, 6, 7
     UNION ALL
    SELECT 'outcomes', CAST(date_trunc('month', acted_on) AS date), originator, coalesce(region, ''), figure, detail,
           CAST(NULL AS smallint), sum(number)
      FROM referral_outcome AS outcome
     CROSS JOIN LATERAL (VALUES ('actions', '', CAST(1 AS bigint)),
                                ('disruption', disruption, CASE WHEN disruption IS NOT NULL THEN 1 END),
                                {", ".join(f"('{name}', '', {name})" for name in _OUTCOMES)}
                        ) AS counted (figure, detail, number)
     WHERE number <> 0
       AND NOT EXISTS (SELECT FROM referral_outcome AS later WHERE later.replaces = outcome.id)
     GROUP BY 2, 3, 4, 5, 6
"""

DIFFERENCES = f"""
    WITH truth AS MATERIALIZED ({_TRUTH})
    SELECT report, month, party, region, figure, detail, sum(number) AS number
      FROM (SELECT report, month, party, region, figure, detail, number FROM truth
             UNION ALL
            SELECT report, month, party, region, '{ANSWER_TIME}', CAST(bucket AS text), number
              FROM truth WHERE bucket IS NOT NULL
             UNION ALL
            SELECT report, month, party, region, figure, detail, -number FROM report_month
             WHERE region <> '{EVERYWHERE}'
             UNION ALL
            SELECT report, month, party, region, figure, detail, -number
              FROM ({BY_MONTH.format("report_change")}) AS change) AS both_ways
     GROUP BY report, month, party, region, figure, detail HAVING sum(number) <> 0
"""
"""SQL: what would have to be added to each figure to make it what the rows add up to. Nothing, that is."""

# Rows and figures are of one snapshot, and what is inserted adds to whatever others insert meanwhile.
_MEND = text(f"""
    WITH difference AS ({DIFFERENCES})
    INSERT INTO report_change (report, hour, party, region, figure, detail, number)
    SELECT report, CAST(month AS timestamp) AT TIME ZONE 'Europe/London', party, region, figure, detail, number
      FROM difference
    RETURNING report, hour, party, region, figure, detail, number
""")


# The sums of all regions are written with their parts only, so that this finds nothing either.
_MEND_SUMS = text(f"""
    INSERT INTO report_month AS kept (report, month, party, region, figure, detail, number)
    SELECT report, month, party, '{EVERYWHERE}', figure, detail,
           sum(CASE region WHEN '{EVERYWHERE}' THEN -number ELSE number END)
      FROM report_month GROUP BY report, month, party, figure, detail
    HAVING sum(CASE region WHEN '{EVERYWHERE}' THEN -number ELSE number END) <> 0
    ON CONFLICT (report, month, region, party, figure, detail) DO UPDATE SET number = kept.number + excluded.number
""")
_LOCK = text("SELECT pg_advisory_xact_lock(:key)")


@dataclass(frozen=True, slots=True)
class Mended:
    """How many figures of a report differed from the rows, and since when; `number` is all that was added to them."""

    report: str
    figures: int
    since: datetime
    number: int


async def fold(database: Database, most: int = FOLD_ROWS) -> bool:
    """Add what changed to the months if it is more than `most` rows. False where it is not, or another does it now."""
    async with database.transaction(AS_WORKER) as connection:
        if int(await connection.scalar(_ROWS) or 0) <= most:
            return False
        if not await connection.scalar(_TRY_LOCK, {"key": _FOLDING}):
            return False
        await connection.execute(_FOLD)
        await connection.execute(_FORGET)
    async with database.engine.connect() as connection:
        await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(_VACUUM)
    return True


async def reconcile(connection: Connection) -> list[Mended]:
    """Compare every figure with the rows and set it right where they differ; returns what did, by report.

    Reads every referral and dispatch, so the first one counts what was there before the reports were: for the
    scheduler once a day, never for a request. Nobody waits for it.
    """
    if not await connection.scalar(_TRY_LOCK, {"key": _RECONCILING}):
        return []
    found: dict[str, list[Row[Any]]] = {}
    for row in await connection.execute(_MEND):
        found.setdefault(row.report, []).append(row)
    await connection.execute(_LOCK, {"key": _FOLDING})
    sums = (await connection.execute(_MEND_SUMS)).rowcount
    _MENDED.inc(sum(map(len, found.values())) + sums)
    return [
        Mended(report, len(rows), min(row.hour for row in rows), sum(row.number for row in rows))
        for report, rows in sorted(found.items())
    ]
