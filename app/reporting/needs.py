"""What needs a co-ordinator, case by case, in four groups; told from partial indexes, never from a count of a table.

Critically overdue is what ends without an answer within a day unless somebody acts; due soon what is due within a day
[mem]. A decision is whatever the broker does not take by itself: a referral or a dispatch that is held, an alert,
a possible duplicate, an originator's consent that is asked for and not decided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text

from app.db import Connection
from app.parties.codes import Priority
from app.referrals.codes import priority_of, rank

COUNTED = 1_000
"""Up to so many are counted; more is told as more."""

SHOWN = 10
MOST_SHOWN = 200
MOST_EXPORTED = 10_000

# ruff: noqa: S608  the statements are made of constants of this file


class Group(StrEnum):
    """The groups, the most pressing first."""

    CRITICAL = "critical"
    OVERDUE = "overdue"
    SOON = "soon"
    DECISION = "decision"


@dataclass(frozen=True, slots=True)
class Scope:
    """What is looked at: these regions, the own one first (None: all), and what it is narrowed to."""

    regions: tuple[str, ...] | None
    group: Group | None = None
    agency: str | None = None
    priority: Priority | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One case. `kind` says what it is: a group's name, `held`, `release`, `duplicate`, `consent`, or an alert's kind.

    `at` is when it is due, or since when it waits. `matter` is the id of its dispatch, or of the possible duplicate, or
    of the consent asked for; a held referral has none, and no agency. `because` is the broker's own code for why a
    referral is held.
    """

    kind: str
    referral_id: UUID
    reference: str
    originator: str
    region: str | None
    priority: str
    at: datetime
    matter: UUID | None = None
    agency: str | None = None
    because: str | None = None


@dataclass(frozen=True, slots=True)
class Needs:
    """The cases of one group: how many there are (`COUNTED` + 1: more than that), and the first of them."""

    group: Group
    number: int
    cases: Sequence[Case]


_RUNS = "state IN ('queued', 'delivered', 'acknowledged')"
_DAY = "interval '24 hours'"

# For each region a look-up of its own: the index then gives the first of each, whatever the second wall adds.
_PLACES = """
    place AS MATERIALIZED (
        SELECT region, number FROM unnest(CAST(:regions AS text[])) WITH ORDINALITY AS given (region, number)
         UNION ALL
        SELECT code, 1 FROM party WHERE kind = 'region' AND CAST(:regions AS text[]) IS NULL
         UNION ALL
        SELECT '', 1 WHERE CAST(:regions AS text[]) IS NULL
    )
"""


def _in_place(kind: str, condition: str, narrowed: str, at: str = "due_at", order: str = "due_at") -> str:
    return f"""
        SELECT '{kind}' AS kind, place.number AS place, found.* FROM place CROSS JOIN LATERAL (
            SELECT id AS matter, referral_id, agency, {at} AS at FROM dispatch
             WHERE coalesce(region, '') = place.region AND {condition}{narrowed}
             ORDER BY {order} LIMIT :most) AS found
    """


def _dispatches(group: Group, narrowed: str) -> str:
    if group is Group.CRITICAL:
        due = f"overdue_at IS NOT NULL AND {_RUNS} AND expires_at <= now() + {_DAY}"
        return _in_place(group, due, narrowed, order="expires_at")
    unmarked = f"overdue_at IS NULL AND {_RUNS} AND due_at "
    if group is Group.SOON:
        return _in_place(group, f"{unmarked} > now() AND due_at <= now() + {_DAY}", narrowed)
    late = f"overdue_at IS NOT NULL AND {_RUNS} AND expires_at > now() + {_DAY}"
    marked = _in_place(group, late, narrowed, order="expires_at")
    return f"{marked} UNION ALL {_in_place(group, f'{unmarked} <= now()', narrowed)}"


_DETAILS = """
    SELECT (SELECT count(*) FROM found) AS number, shown.kind, shown.matter, shown.agency, shown.at, referral.id,
           referral.reference, referral.originator, referral.region, referral.priority, referral.held_because
      FROM (SELECT * FROM found ORDER BY least(place, 2), at LIMIT :shown) AS shown
      JOIN referral ON referral.id = shown.referral_id
     ORDER BY least(place, 2), shown.at, referral.id
"""

_HELD = """
    SELECT 'held' AS kind, coalesce(array_position(CAST(:regions AS text[]), region), 1) AS place,
           CAST(NULL AS uuid) AS matter, id AS referral_id, CAST(NULL AS text) AS agency, updated_at AS at
      FROM referral
     WHERE state = 'held' AND (CAST(:regions AS text[]) IS NULL OR region = ANY(CAST(:regions AS text[])))
"""

_RELEASES = """
    SELECT 'release' AS kind, pair.number AS place, found.* FROM (
        SELECT agency, place.region, place.number
          FROM queue_count JOIN place ON place.region = coalesce(queue_count.region, '')
         GROUP BY agency, place.region, place.number HAVING sum(held) > 0) AS pair
     CROSS JOIN LATERAL (
        SELECT id AS matter, referral_id, agency, created_at AS at FROM dispatch
         WHERE agency = pair.agency AND coalesce(region, '') = pair.region AND state = 'held' AND needs_release
           AND NOT EXISTS (SELECT FROM referral WHERE referral.id = dispatch.referral_id AND referral.state = 'held')
           {narrowed}
         ORDER BY created_at LIMIT :most) AS found
"""

_ALERTS = """
    SELECT kind, coalesce(array_position(CAST(:regions AS text[]), region), 1), dispatch_id, referral_id, agency,
           raised_at
      FROM alert
     WHERE settled_at IS NULL AND (CAST(:regions AS text[]) IS NULL OR region = ANY(CAST(:regions AS text[])))
"""


_CONSENTS = """
    SELECT 'consent', coalesce(array_position(CAST(:regions AS text[]), region), 1), id, referral_id, agency, asked_at
      FROM consent
     WHERE state = 'asked' AND (CAST(:regions AS text[]) IS NULL OR region = ANY(CAST(:regions AS text[])))
"""

# Of a pair the referral that the region oversees stands for both.
_DUPLICATES = """
    SELECT 'duplicate', coalesce(array_position(CAST(:regions AS text[]), side.region), 1), duplicate.id,
           side.referral_id, CAST(NULL AS text), found_at
      FROM duplicate
     CROSS JOIN LATERAL (
        SELECT referral_id, region FROM (VALUES (earlier, earlier_region), (later, later_region))
            AS sides (referral_id, region)
         WHERE CAST(:regions AS text[]) IS NULL OR region = ANY(CAST(:regions AS text[])) LIMIT 1) AS side
     WHERE decision IS NULL
"""


@lru_cache
def _statement(group: Group, *, agency: bool, priority: bool) -> TextClause:
    narrowed = (" AND agency = :agency" if agency else "") + (" AND priority = :priority" if priority else "")
    if group is not Group.DECISION:
        return text(
            f"WITH {_PLACES}, found AS MATERIALIZED (SELECT * FROM ({_dispatches(group, narrowed)}) AS all_of"
            f" ORDER BY least(place, 2), at LIMIT :most) {_DETAILS}"
        )
    of_agency = " AND agency = :agency" if agency else ""
    of_priority = " AND priority = :priority" if priority else ""
    through = " AND EXISTS (SELECT FROM referral WHERE referral.id = referral_id AND referral.priority = :priority)"
    # A held referral and a pair are no agency's in particular: its list leaves them out.
    held = f"{_HELD}{' AND false' if agency else ''}{of_priority} LIMIT :most"
    alerts = f"{_ALERTS}{of_agency}{through if priority else ''} ORDER BY raised_at LIMIT :most"
    consents = f"{_CONSENTS}{of_agency}{through if priority else ''} ORDER BY asked_at LIMIT :most"
    pairs = f"{_DUPLICATES}{' AND false' if agency else ''}{through if priority else ''} LIMIT :most"
    releases = _RELEASES.format(narrowed=of_agency + of_priority)
    every = " UNION ALL ".join(f"({one})" for one in (held, releases, alerts, consents, pairs))
    return text(
        f"WITH {_PLACES}, found AS MATERIALIZED (SELECT * FROM ({every}) AS all_of"
        f" ORDER BY least(place, 2), at LIMIT :most) {_DETAILS}"
    )


async def needs(connection: Connection, scope: Scope, shown: int = SHOWN) -> list[Needs]:
    """The groups of a scope, each with the first `shown` of its cases: what is due first, the own region's first."""
    groups = [scope.group] if scope.group else list(Group)
    return [await _of(connection, group, scope, shown) for group in groups]


async def _of(connection: Connection, group: Group, scope: Scope, shown: int) -> Needs:
    statement = _statement(group, agency=scope.agency is not None, priority=scope.priority is not None)
    parameters: dict[str, Any] = {
        "regions": None if scope.regions is None else list(scope.regions),
        "most": max(COUNTED, shown) + 1,
        "shown": shown,
    }
    if scope.agency is not None:
        parameters["agency"] = scope.agency
    if scope.priority is not None:
        parameters["priority"] = rank(scope.priority).value
    rows = [row._mapping for row in await connection.execute(statement, parameters)]
    return Needs(group, rows[0]["number"] if rows else 0, [_case(row) for row in rows])


def _case(row: Mapping[Any, Any]) -> Case:
    return Case(
        kind=row["kind"],
        referral_id=row["id"],
        reference=row["reference"],
        originator=row["originator"],
        region=row["region"],
        priority=priority_of(row["priority"]),
        at=row["at"],
        matter=row["matter"],
        agency=row["agency"],
        because=row["held_because"] if row["kind"] == "held" else None,
    )
