"""The counters of the queues: triggers add what every statement changes, the scheduler adds up and compares.

The counters of an agency and region are the sum of their rows in `queue_count`. Writers only ever insert, so they wait
for nobody, whatever the order of their statements. To fold is to replace rows by their sum in one transaction, so every
reader sees the same figures before and after (docs/decisions/0012-counters.md).
"""

from dataclasses import dataclass

from prometheus_client import Counter
from sqlalchemy import Column, Date, Integer, RowMapping, Table, Text, text

from app.db import AS_WORKER, Base, Connection, Database

FIGURES = ("held", "queued", "delivered", "acknowledged", "query", "overdue", "failing", "answered")
"""What is counted: open dispatches by state, of these the ones marked overdue and those whose hand-over has failed
repeatedly, and what was answered or declined on `day`, the day in London."""

QUEUE_COUNT = Table(
    "queue_count",
    Base.metadata,
    Column("agency", Text, nullable=False),
    Column("region", Text),
    Column("day", Date, nullable=False),
    *(Column(figure, Integer, nullable=False) for figure in FIGURES),
)

TODAY = "CAST(now() AT TIME ZONE 'Europe/London' AS date)"
"""SQL: the day in London."""

FOLD_ROWS = 1_000
"""So many rows are read in well under a millisecond; there are some hundred pairs of an agency and a region."""

_MENDED = Counter("gain_counters_mended_total", "Counters of an agency's queue in a region that had to be set right.")

_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_LOCK_KEY = 0x4741494E_0004
"""One at a time folds or mends; the number only has to be nobody else's."""

_ROWS = text("SELECT count(*) FROM queue_count")

_COLUMNS = ", ".join(FIGURES)
_SUMS = ", ".join(f"sum({figure}) AS {figure}" for figure in FIGURES)
_ANY = " OR ".join(f"sum({figure}) <> 0" for figure in FIGURES)

# ruff: noqa: S608  the statements are made of constants of this file

# What was answered on earlier days is forgotten.
_FOLD = text(f"""
    WITH taken AS (
        DELETE FROM queue_count
        RETURNING agency, region, greatest(day, {TODAY}) AS day, {", ".join(FIGURES[:-1])},
                  CASE WHEN day >= {TODAY} THEN answered ELSE 0 END AS answered
    )
    INSERT INTO queue_count (agency, region, day, {_COLUMNS})
    SELECT agency, region, day, {_SUMS} FROM taken GROUP BY agency, region, day HAVING {_ANY}
""")

# The pages of what was folded are used again at once, so they stay few. To give them back could wait for writers.
_VACUUM = text("VACUUM (SKIP_LOCKED, TRUNCATE false) queue_count")

_BY_STATE = ", ".join(
    f"CAST(state = '{figure}' AS integer)" for figure in ("held", "queued", "delivered", "acknowledged", "query")
)

# Rows and counters are of one snapshot, and what is inserted adds to whatever others insert meanwhile.
_MEND = text(f"""
    INSERT INTO queue_count (agency, region, day, {_COLUMNS})
    SELECT agency, region, {TODAY}, {_SUMS}
      FROM (SELECT agency, region, {_BY_STATE},
                   CAST(overdue_at IS NOT NULL AND state IN ('queued', 'delivered', 'acknowledged') AS integer),
                   CAST(failures > 1 AS integer), 0
              FROM dispatch WHERE state IN ('held', 'queued', 'delivered', 'acknowledged', 'query')
             UNION ALL
            SELECT agency, region, 0, 0, 0, 0, 0, 0, 0, 1 FROM dispatch
             WHERE closed_at >= date_trunc('day', now(), 'Europe/London') AND state IN ('answered', 'declined')
             UNION ALL
            SELECT agency, region, {", ".join(f"-{figure}" for figure in FIGURES[:-1])},
                   CASE WHEN day >= {TODAY} THEN -answered ELSE 0 END
              FROM queue_count) AS counted (agency, region, {_COLUMNS})
     GROUP BY agency, region
    HAVING {_ANY}
    RETURNING agency, region, {_COLUMNS}
""")


@dataclass(frozen=True, slots=True)
class Mended:
    """Counters of an agency in a region that differed from the rows; `by` is what was added, by figure."""

    agency: str
    region: str | None
    by: dict[str, int]


async def fold(database: Database, most: int = FOLD_ROWS) -> bool:
    """Add up the counters if they have more than `most` rows; returns whether they had."""
    async with database.transaction(AS_WORKER) as connection:
        if int(await connection.scalar(_ROWS) or 0) <= most:
            return False
        await connection.execute(_LOCK, {"key": _LOCK_KEY})
        await connection.execute(_FOLD)
    async with database.engine.connect() as connection:
        await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(_VACUUM)
    return True


async def reconcile(connection: Connection) -> list[Mended]:
    """Compare every counter with the rows and set it right where they differ; returns what did.

    Reads every open dispatch and what was closed today: for the scheduler now and then, never for a request.
    """
    await connection.execute(_LOCK, {"key": _LOCK_KEY})
    rows = (await connection.execute(_MEND)).all()
    _MENDED.inc(len(rows))
    return [Mended(row.agency, row.region, _changes(row._mapping)) for row in rows]


def _changes(row: RowMapping) -> dict[str, int]:
    return {figure: row[figure] for figure in FIGURES if row[figure]}
