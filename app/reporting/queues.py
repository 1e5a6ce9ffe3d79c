"""The queues: what waits at every agency, counted over what the caller oversees."""

from enum import StrEnum
from typing import Any

from sqlalchemy import TextClause, text

from app.access.policy import Action, Relation
from app.access.principal import Principal
from app.db import Connection
from app.referrals import circuits
from app.reporting.counters import FIGURES, TODAY

SILENT_AFTER_SECONDS = 3600
"""An agency with items unseen for an hour, of which nothing was heard for an hour, is silent."""

# ruff: noqa: S608  the statements are made of constants of this package

_STATES = ("held", "queued", "delivered", "acknowledged", "query")
_CLOCK_RUNS = "state IN ('queued', 'delivered', 'acknowledged')"
_SUMS = ", ".join(f"CAST(sum({figure}) AS integer) AS {figure}" for figure in FIGURES if figure != "answered")
_OF_PAIR = "agency = pair.agency AND coalesce(region, '') = pair.region"
# The region is one, and yet stands in the order: behind the second wall the planner draws nothing from what is said of
# an expression that is not leakproof, as `coalesce` is not, and would sort what the index has in this order already.
_IN_ORDER = "ORDER BY coalesce(region, ''),"
_OLDEST = ", ".join(
    f"(SELECT created_at FROM dispatch WHERE pair.{state} > 0 AND {_OF_PAIR} AND state = '{state}'"
    f" {_IN_ORDER} created_at LIMIT 1)"
    for state in _STATES
)


def _queues(condition: str) -> TextClause:
    """The statement over the dispatches that meet a condition on their region.

    Nothing is counted that a counter tells. What is oldest is looked up for each agency, region and state that has any,
    in the order of a partial index. What is due and not marked yet, or urgent and late, are the first few of an index.
    """
    return text(f"""
    WITH pair AS MATERIALIZED (
        SELECT agency, coalesce(region, '') AS region, {_SUMS},
               CAST(sum(answered) FILTER (WHERE day >= {TODAY}) AS integer) AS answered
          FROM queue_count WHERE {condition} GROUP BY agency, region
    ), seen AS MATERIALIZED (
        SELECT agency, last_seen_at, CAST(extract(epoch FROM now() - last_seen_at) AS bigint) AS unheard_seconds
          FROM agency_seen
    ), unmarked AS MATERIALIZED (
        SELECT agency, count(*) AS number, min(due_at) AS oldest_due FROM dispatch
         WHERE next_check_at <= now() AND due_at < now() AND overdue_at IS NULL AND {_CLOCK_RUNS} AND {condition}
         GROUP BY agency
    ), urgent AS MATERIALIZED (
        SELECT agency, count(*) AS number FROM dispatch
         WHERE priority = 0 AND state IN ('queued', 'delivered') AND queued_at < now() - interval '30 minutes'
           AND {condition}
         GROUP BY agency
    ), waiting AS MATERIALIZED (
        SELECT agency, {", ".join(f"sum({name}) AS {name}" for name in FIGURES)},
               min(oldest) AS oldest, min(oldest_due) AS oldest_due, min(unseen_since) AS unseen_since
          FROM pair LEFT JOIN seen USING (agency)
         CROSS JOIN LATERAL (
               SELECT least({_OLDEST}) AS oldest,
                      (SELECT due_at FROM dispatch
                        WHERE pair.overdue > 0 AND {_OF_PAIR} AND overdue_at IS NOT NULL AND {_CLOCK_RUNS}
                        {_IN_ORDER} due_at LIMIT 1) AS oldest_due,
                      (SELECT queued_at FROM dispatch
                        WHERE pair.queued > 0 AND coalesce(seen.unheard_seconds > {SILENT_AFTER_SECONDS}, true)
                          AND {_OF_PAIR} AND state = 'queued'
                          AND created_at < now() - interval '{SILENT_AFTER_SECONDS} seconds'
                          AND queued_at < now() - interval '{SILENT_AFTER_SECONDS} seconds'
                        {_IN_ORDER} created_at LIMIT 1) AS unseen_since) AS found
         GROUP BY agency
    )
    SELECT party.code AS agency, party.name,
           {", ".join(f"coalesce(waiting.{name}, 0) AS {name}" for name in (*_STATES, "failing"))},
           coalesce(waiting.overdue, 0) + coalesce(unmarked.number, 0) AS overdue,
           coalesce(urgent.number, 0) AS urgent, waiting.oldest,
           least(waiting.oldest_due, unmarked.oldest_due) AS oldest_due,
           CAST(extract(epoch FROM now() - waiting.unseen_since) AS bigint) AS unseen_seconds, seen.unheard_seconds,
           CAST(extract(epoch FROM now() - waiting.oldest) AS bigint) AS oldest_age_seconds,
           coalesce(waiting.answered, 0) AS answered_today, seen.last_seen_at,
           party.code IN ({circuits.PAUSED_AGENCIES}) AS not_called
      FROM party
      LEFT JOIN waiting ON waiting.agency = party.code
      LEFT JOIN unmarked ON unmarked.agency = party.code
      LEFT JOIN urgent ON urgent.agency = party.code
      LEFT JOIN seen ON seen.agency = party.code
     WHERE party.kind IN ('agency', 'local_authority', 'fire_service', 'private')
     ORDER BY party.code
    """)


# One statement for a region and one for all, so that each has a plan of its own.
_OF_REGION, _OF_ALL = _queues("region = :region"), _queues("true")


class Health(StrEnum):
    """How an agency does, the worst that is true of it."""

    OK = "ok"
    SLOW = "slow"  # something is overdue
    FAILING = "failing"  # hand-overs to it fail
    SILENT = "silent"  # it does not look into its inbox


def health(*, overdue: int, failing: int, unseen_seconds: int | None, unheard_seconds: int | None) -> Health:
    """Pure: an agency's health.

    `unseen_seconds` is for how long an item has been unseen that has been so for long, `unheard_seconds` the time since
    the agency was last heard of; None where there is none.
    """
    if unseen_seconds is not None and min(unseen_seconds, unheard_seconds or unseen_seconds) > SILENT_AFTER_SECONDS:
        return Health.SILENT
    if failing:
        return Health.FAILING
    return Health.SLOW if overdue else Health.OK


_SIGNS = frozenset({"failing", "not_called", "urgent", "oldest", "oldest_due", "unseen_seconds", "unheard_seconds"})
"""What a row of `observed` has and the contract's row does not."""


async def queues(connection: Connection, principal: Principal) -> list[dict[str, Any]]:
    """One row an agency, by code: counts of open dispatches by state, overdue, the oldest's age, when last heard of.

    A co-ordinator's counts are of its region's referrals; `last_seen_at` is the agency's own.
    """
    rows = await observed(connection, region_of(principal, Action.READ_QUEUES))
    return [{name: value for name, value in row.items() if name not in _SIGNS} for row in rows]


def region_of(principal: Principal, action: Action) -> str | None:
    """The region an overseer's figures are of; None where they are of all."""
    return principal.party if principal.relation(action) is Relation.REGION else None


async def observed(connection: Connection, region: str | None) -> list[dict[str, Any]]:
    """The rows of `queues`, with the signs that health was told from.

    Figures are told from the counters (`reporting.counters`), so the cost does not grow with what is stored. `failing`
    counts dispatches with repeated failures, `urgent` those that nobody acknowledged within half an hour (domain.md,
    section 4); `oldest` and `oldest_due` are times, None where there is none.
    """
    statement, parameters = (_OF_ALL, {}) if region is None else (_OF_REGION, {"region": region})
    rows = await connection.execute(statement, parameters)
    return [_with_health(dict(row._mapping)) for row in rows]


def _with_health(row: dict[str, Any]) -> dict[str, Any]:
    signs = {name: row[name] for name in ("overdue", "unseen_seconds", "unheard_seconds")}
    return {**row, "health": health(**signs, failing=row["failing"] or row["not_called"])}
