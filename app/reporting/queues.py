"""The queues: what waits at every agency, counted over what the caller oversees."""

from enum import StrEnum
from typing import Any

from sqlalchemy import text

from app.access.policy import Action, Relation
from app.access.principal import Principal
from app.db import Connection

# Open dispatches are few beside all there ever were: a partial index holds just them.
_QUEUES = text("""
    SELECT party.code AS agency, party.name,
           coalesce(open.held, 0) AS held, coalesce(open.queued, 0) AS queued,
           coalesce(open.delivered, 0) AS delivered, coalesce(open.acknowledged, 0) AS acknowledged,
           coalesce(open.query, 0) AS query, coalesce(open.overdue, 0) AS overdue,
           coalesce(open.failing, 0) AS failing, coalesce(open.urgent, 0) AS urgent,
           open.oldest, open.oldest_due,
           CAST(extract(epoch FROM now() - open.oldest_unseen) AS bigint) AS unseen_seconds,
           CAST(extract(epoch FROM now() - seen.last_seen_at) AS bigint) AS unheard_seconds,
           CAST(extract(epoch FROM now() - open.oldest) AS bigint) AS oldest_age_seconds,
           coalesce(closed.answered_today, 0) AS answered_today,
           seen.last_seen_at
      FROM party
      LEFT JOIN (
           SELECT agency,
                  count(*) FILTER (WHERE state = 'held') AS held,
                  count(*) FILTER (WHERE state = 'queued') AS queued,
                  count(*) FILTER (WHERE state = 'delivered') AS delivered,
                  count(*) FILTER (WHERE state = 'acknowledged') AS acknowledged,
                  count(*) FILTER (WHERE state = 'query') AS query,
                  count(*) FILTER (WHERE due_at < now() AND state <> 'query') AS overdue,
                  count(*) FILTER (WHERE failures > 1) AS failing,
                  count(*) FILTER (WHERE priority = 0 AND state IN ('queued', 'delivered')
                                     AND queued_at < now() - interval '30 minutes') AS urgent,
                  min(due_at) FILTER (WHERE due_at < now() AND state <> 'query') AS oldest_due,
                  min(created_at) AS oldest,
                  min(queued_at) FILTER (WHERE state = 'queued') AS oldest_unseen
             FROM dispatch
            WHERE state IN ('held', 'queued', 'delivered', 'acknowledged', 'query')
              AND (CAST(:region AS text) IS NULL OR region = :region)
            GROUP BY agency) AS open ON open.agency = party.code
      LEFT JOIN (
           SELECT agency, count(*) AS answered_today FROM dispatch
            WHERE closed_at >= date_trunc('day', now(), 'Europe/London') AND state IN ('answered', 'declined')
              AND (CAST(:region AS text) IS NULL OR region = :region)
            GROUP BY agency) AS closed ON closed.agency = party.code
      LEFT JOIN agency_seen AS seen ON seen.agency = party.code
     WHERE party.kind IN ('agency', 'local_authority', 'fire_service', 'private')
     ORDER BY party.code
""")

SILENT_AFTER_SECONDS = 3600
"""An agency with items unseen for an hour, of which nothing was heard for an hour, is silent."""


class Health(StrEnum):
    """How an agency does, the worst that is true of it."""

    OK = "ok"
    SLOW = "slow"  # something is overdue
    FAILING = "failing"  # hand-overs to it fail
    SILENT = "silent"  # it does not look into its inbox


def health(*, overdue: int, failing: int, unseen_seconds: int | None, unheard_seconds: int | None) -> Health:
    """Pure: an agency's health.

    `unseen_seconds` is the age of the oldest unseen item, `unheard_seconds` the time since the agency was last heard
    of; None where there is none.
    """
    if unseen_seconds is not None and min(unseen_seconds, unheard_seconds or unseen_seconds) > SILENT_AFTER_SECONDS:
        return Health.SILENT
    if failing:
        return Health.FAILING
    return Health.SLOW if overdue else Health.OK


_SIGNS = frozenset({"failing", "urgent", "oldest", "oldest_due", "unseen_seconds", "unheard_seconds"})
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

    `failing` counts dispatches with repeated failures, `urgent` those that nobody acknowledged within half an hour
    (domain.md, section 4); `oldest` and `oldest_due` are times, None where there is none.
    """
    rows = await connection.execute(_QUEUES, {"region": region})
    return [_with_health(dict(row._mapping)) for row in rows]


def _with_health(row: dict[str, Any]) -> dict[str, Any]:
    signs = {name: row[name] for name in ("overdue", "failing", "unseen_seconds", "unheard_seconds")}
    return {**row, "health": health(**signs)}
