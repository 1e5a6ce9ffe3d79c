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
PRESSING = "priority < 2"
"""SQL, as the partial index of what is more pressing than routine has it."""

# For each region a look-up of its own: the index then gives the first of each, whatever the second wall adds. The
# region stands in the order as well, for the reason given in `reporting.queues`.
_PLACES = """
    place AS MATERIALIZED (
        SELECT region, number FROM unnest(CAST(:regions AS text[])) WITH ORDINALITY AS given (region, number)
         UNION ALL
        SELECT code, 1 FROM party WHERE kind = 'region' AND CAST(:regions AS text[]) IS NULL
         UNION ALL
        SELECT '', 1 WHERE CAST(:regions AS text[]) IS NULL
    )
"""


def _in_place(kind: str, condition: str, limit: str, order: str = "due_at", narrowed: str = "") -> str:
    """`narrowed` is asked of each row in turn, so that no index but the condition's is taken for it."""
    columns = "id AS matter, referral_id, agency, due_at AS at"
    ordered = f"""
        FROM dispatch WHERE coalesce(region, '') = place.region AND {condition} ORDER BY coalesce(region, ''), {order}
    """
    rows = f"SELECT {columns} {ordered}"
    if narrowed:
        rows = f"SELECT {columns} FROM (SELECT * {ordered} OFFSET 0) AS row WHERE {narrowed}"
    return f"""
        SELECT '{kind}' AS kind, place.number AS place, found.*
          FROM place CROSS JOIN LATERAL ({rows} LIMIT :{limit}) AS found
    """


def _of_agency(condition: str, limit: str) -> str:
    """What is overdue at one agency, which has an index by agencies: in places of which a counter says that any is."""
    return f"""
        SELECT '{Group.OVERDUE}' AS kind, pair.number AS place, found.* FROM (
            SELECT agency, place.region, place.number
              FROM queue_count JOIN place ON place.region = coalesce(queue_count.region, '') AND agency = :agency
             GROUP BY agency, place.region, place.number HAVING sum(overdue) > 0) AS pair
         CROSS JOIN LATERAL (
            SELECT id AS matter, referral_id, agency, due_at AS at FROM dispatch
             WHERE agency = pair.agency AND coalesce(region, '') = pair.region AND {condition}
             ORDER BY coalesce(region, ''), due_at LIMIT :{limit}) AS found
    """


@dataclass(frozen=True, slots=True)
class _Narrowed:
    """What a statement is narrowed to. Those more pressing than routine are few, and have an index of their own."""

    agency: bool
    priority: Priority | None

    @property
    def agency_is(self) -> str:
        return " AND agency = :agency" if self.agency else ""

    @property
    def is_pressing(self) -> bool:
        return self.priority in (Priority.URGENT, Priority.PRIORITY)

    @property
    def priority_is(self) -> str:
        pressing = f" AND {PRESSING}" if self.is_pressing else ""
        return f" AND priority = :priority{pressing}" if self.priority else ""


def _dispatches(group: Group, narrowed: _Narrowed, limit: str) -> str:
    """The cases of a group, up to so many of each place (and agency), in the order of `at`.

    What is critical is cut in the order of its end.
    """
    also = narrowed.agency_is + narrowed.priority_is
    order = "priority, due_at" if narrowed.is_pressing else "due_at"
    marked, unmarked = f"overdue_at IS NOT NULL AND {_RUNS}", f"overdue_at IS NULL AND {_RUNS}"
    its = "agency = :agency" if narrowed.agency else ""
    if group is Group.CRITICAL:
        soon = f"{marked} AND expires_at <= now() + {_DAY}{narrowed.priority_is}"
        return _in_place(group, soon, "most", "expires_at", its)
    if group is Group.SOON:
        return _in_place(group, f"{unmarked} AND due_at > now() AND due_at <= now() + {_DAY}{also}", limit, order)
    known = _known(marked, narrowed, limit)
    just = _in_place(group, f"{unmarked} AND due_at <= now(){narrowed.priority_is}", limit, order, its)
    return f"{known} UNION ALL {just}"


def _known(marked: str, narrowed: _Narrowed, limit: str) -> str:
    """What is marked as overdue and not critical, by the index that has it in order of its due time."""
    # Written so that no index of `expires_at` can serve it: in that order all would have to be read, and sorted.
    late = f"{marked} AND expires_at - {_DAY} > now()"
    if narrowed.is_pressing:
        pressing = f"{_RUNS}{narrowed.priority_is}{narrowed.agency_is}"
        return _in_place(Group.OVERDUE, pressing, limit, "priority, due_at", late)
    late += narrowed.priority_is
    return _of_agency(late, limit) if narrowed.agency else _in_place(Group.OVERDUE, late, limit)


def _details(number: str) -> str:
    return f"""
        SELECT {number} AS number, shown.kind, shown.matter, shown.agency, shown.at, referral.id,
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

# Of those that need a release of their own, which have an index; while their referral is held that comes first.
_RELEASES = """
    SELECT 'release' AS kind, place.number AS place, found.* FROM place CROSS JOIN LATERAL (
        SELECT id AS matter, referral_id, agency, created_at AS at FROM dispatch
         WHERE coalesce(region, '') = place.region AND state = 'held' AND needs_release
           AND NOT EXISTS (SELECT FROM referral WHERE referral.id = dispatch.referral_id AND referral.state = 'held')
           {narrowed}
         ORDER BY coalesce(region, ''), created_at LIMIT :most) AS found
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
def _statement(group: Group, narrowed: _Narrowed) -> TextClause:
    if group is Group.DECISION:
        return _decisions(narrowed)
    # Counted without an order, which stops at the limit; what is shown is few of each place.
    counted = f"SELECT FROM ({_dispatches(group, narrowed, 'most')}) AS each LIMIT :most"
    return text(
        f"WITH {_PLACES}, found AS MATERIALIZED (SELECT * FROM ({_dispatches(group, narrowed, 'shown')}) AS all_of"
        f" ORDER BY least(place, 2), at LIMIT :shown)"
        f" {_details(f'(SELECT count(*) FROM ({counted}) AS counted)')}"
    )


def _decisions(narrowed: _Narrowed) -> TextClause:
    of_agency, of_priority = narrowed.agency_is, " AND priority = :priority" if narrowed.priority else ""
    through = " AND EXISTS (SELECT FROM referral WHERE referral.id = referral_id AND referral.priority = :priority)"
    # A held referral and a pair are no agency's in particular: its list leaves them out.
    nobody, through = " AND false" if narrowed.agency else "", through if narrowed.priority else ""
    held = f"{_HELD}{nobody}{of_priority} LIMIT :most"
    alerts = f"{_ALERTS}{of_agency}{through} ORDER BY raised_at LIMIT :most"
    consents = f"{_CONSENTS}{of_agency}{through} ORDER BY asked_at LIMIT :most"
    pairs = f"{_DUPLICATES}{nobody}{through} LIMIT :most"
    releases = _RELEASES.format(narrowed=of_agency + of_priority)
    every = " UNION ALL ".join(f"({one})" for one in (held, releases, alerts, consents, pairs))
    return text(
        f"WITH {_PLACES}, found AS MATERIALIZED (SELECT * FROM ({every}) AS all_of"
        f" ORDER BY least(place, 2), at LIMIT :most) {_details('(SELECT count(*) FROM found)')}"
    )


async def needs(connection: Connection, scope: Scope, shown: int = SHOWN) -> list[Needs]:
    """The groups of a scope, each with the first `shown` of its cases: what is due first, the own region's first."""
    groups = [scope.group] if scope.group else list(Group)
    return [await _of(connection, group, scope, shown) for group in groups]


async def _of(connection: Connection, group: Group, scope: Scope, shown: int) -> Needs:
    statement = _statement(group, _Narrowed(scope.agency is not None, scope.priority))
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
