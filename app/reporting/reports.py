"""The reports: referrals and outcomes by originator, answers by agency; told from the aggregates, never from the rows.

Every figure is of a period of whole months, and of a scope: one region, all of them, or one originator alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import TextClause, text

from app.access.policy import Action, Relation
from app.access.principal import Principal
from app.db import Connection
from app.errors import NOT_FOUND, Problem
from app.parties.codes import PartyKind
from app.parties.directory import Directory
from app.parties.records import PartyRecord
from app.reporting.aggregates import BY_MONTH, EVERYWHERE
from app.reporting.figures import Answers, Brought, Fact, answers, brought, by_party
from app.reporting.period import Period, period

RECENT_MONTHS = 3
"""The figures beside a queue are of this month and the two before."""

HOURS = 24

# ruff: noqa: S608  the statements are made of constants of this package


class Report(StrEnum):
    """The reports, by the word that their figures are kept under."""

    REFERRALS = "referrals"
    AGENCIES = "agencies"
    OUTCOMES = "outcomes"


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose figures: of a region's referrals, of one originator's alone, or (both None) of all."""

    region: str | None = None
    originator: str | None = None


def scope_of(principal: Principal, action: Action, region: str | None, directory: Directory) -> Scope:
    """What a caller sees, narrowed to a region. Raises `Problem`: 404 for a region that is not the caller's to see."""
    match principal.relation(action):
        case Relation.OWN if region is None:
            return Scope(originator=principal.party)
        case Relation.REGION if region in (None, principal.party):
            return Scope(region=principal.party)
        case Relation.ALL if region is None or region in regions(directory):
            return Scope(region=region)
        case _:
            raise Problem(NOT_FOUND)


def regions(directory: Directory) -> dict[str, str]:
    """The regions' names by code."""
    return {party.code: party.name for party in directory if party.kind is PartyKind.REGION}


_BEGINS = "CAST(CAST(:first AS date) AS timestamp) AT TIME ZONE 'Europe/London'"
_ENDS = "CAST(CAST(:last AS date) AS timestamp) + interval '1 month'"


def _facts(added_up: str, changed: str, *, monthly: bool) -> TextClause:
    """Figures of the months between two, as `Fact` has them: of what is added up and of what has changed since."""
    change = f"""
        (SELECT * FROM report_change
          WHERE report = :report AND hour >= {_BEGINS} AND hour < ({_ENDS}) AT TIME ZONE 'Europe/London' AND {changed})
    """
    month = ", month" if monthly else ""
    return text(f"""
        SELECT party, figure, detail, CAST(sum(number) AS bigint) AS number{month}
          FROM (SELECT month, party, figure, detail, number FROM report_month
                 WHERE report = :report AND month BETWEEN :first AND :last AND {added_up}
                 UNION ALL
                SELECT month, party, figure, detail, number
                  FROM ({BY_MONTH.format(f"{change} AS changed")}) AS change) AS counted
         GROUP BY party, figure, detail{month} HAVING sum(number) <> 0
    """)


_CONDITIONS = {
    (False, False): (f"region = '{EVERYWHERE}'", "true"),
    (True, False): ("region = :region", "region = :region"),
    (False, True): (f"region = '{EVERYWHERE}' AND party = :originator", "party = :originator"),
}
_IN_ALL, _BY_MONTH = (
    {key: _facts(*conditions, monthly=monthly) for key, conditions in _CONDITIONS.items()} for monthly in (False, True)
)

_HOURLY = text("""
    SELECT agency, hour, CAST(sum(number) AS integer) AS number
      FROM (SELECT agency, hour, region, number FROM report_hour WHERE hour > now() - interval '1 day'
             UNION ALL
            SELECT party, hour, region, number FROM report_change
             WHERE report = 'agencies' AND bucket IS NOT NULL AND hour > now() - interval '1 day') AS counted
     WHERE (CAST(:region AS text) IS NULL OR region = :region)
     GROUP BY agency, hour
""")
_NOW = text("SELECT now()")


async def facts(connection: Connection, report: Report, scope: Scope, over: Period, *, monthly: bool) -> list[Fact]:
    """The figures of a report, by month where asked to; of what is not 0 only."""
    statements = _BY_MONTH if monthly else _IN_ALL
    given = {"region": scope.region, "originator": scope.originator}
    parameters: dict[str, Any] = {"report": report.value, "first": over.first, "last": over.last}
    parameters |= {name: value for name, value in given.items() if value is not None}
    key = (scope.region is not None, scope.originator is not None)
    return [Fact(*row) for row in await connection.execute(statements[key], parameters)]


@dataclass(frozen=True, slots=True)
class MadeReferrals:
    """One originator's referrals, by month of the period, in order."""

    party: str
    name: str
    region: str | None
    by_month: tuple[int, ...]

    @property
    def referrals(self) -> int:
        """All of them."""
        return sum(self.by_month)


async def referrals(connection: Connection, directory: Directory, scope: Scope, over: Period) -> list[MadeReferrals]:
    """Referrals of each force and ROCU in the scope, those that made none too, and of who else made any; by code."""
    found = by_party(await facts(connection, Report.REFERRALS, scope, over, monthly=True))
    listed = {party.code for party in directory if _expected(party, scope)}
    return [
        MadeReferrals(code, *_who(directory, code), _by_month(found.get(code, []), over))
        for code in sorted(listed | found.keys())
    ]


def _expected(party: PartyRecord, scope: Scope) -> bool:
    if scope.originator is not None:
        return party.code == scope.originator
    return party.kind in (PartyKind.FORCE, PartyKind.REGION) and scope.region in (None, party.region)


def _who(directory: Directory, code: str) -> tuple[str, str | None]:
    """A party's name and region; one that no release of the reference data names any more has its code alone."""
    party = directory.get(code)
    return (party.name, party.region) if party else (code, None)


def _by_month(found: Iterable[Fact], over: Period) -> tuple[int, ...]:
    numbers = {fact.month: fact.number for fact in found}
    return tuple(numbers.get(month, 0) for month in over.months)


@dataclass(frozen=True, slots=True)
class AgencyAnswers:
    """What came of what one agency was asked."""

    agency: str
    name: str
    answers: Answers


async def agencies(connection: Connection, directory: Directory, scope: Scope, over: Period) -> list[AgencyAnswers]:
    """Answers of every agency, by code, by the month in which its dispatches ended."""
    found = by_party(await facts(connection, Report.AGENCIES, scope, over, monthly=False))
    listed = {party.code: party.name for party in directory if party.receives}
    return [
        AgencyAnswers(code, listed.get(code, code), answers(found.get(code, [])))
        for code in sorted(listed.keys() | found.keys())
    ]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What one originator recorded of its actions."""

    party: str
    name: str
    region: str | None
    brought: Brought


async def outcomes(connection: Connection, directory: Directory, scope: Scope, over: Period) -> list[Outcomes]:
    """What the actions of each force and ROCU in the scope brought, and of who else recorded any; by code."""
    found = by_party(await facts(connection, Report.OUTCOMES, scope, over, monthly=False))
    listed = {party.code for party in directory if _expected(party, scope)}
    return [
        Outcomes(code, *_who(directory, code), brought(found.get(code, []))) for code in sorted(listed | found.keys())
    ]


async def figures(connection: Connection, region: str | None) -> Mapping[str, Answers]:
    """Answers of each agency that had any lately (`RECENT_MONTHS`), over a region or (None) all: for the queues."""
    now = (await connection.execute(_NOW)).scalar_one()
    over = Period(period(None, None, now).months[-RECENT_MONTHS], period(None, None, now).last)
    found = await facts(connection, Report.AGENCIES, Scope(region), over, monthly=False)
    return {agency: answers(of_agency) for agency, of_agency in by_party(found).items()}


async def hourly(connection: Connection, region: str | None) -> dict[str, list[int]]:
    """How many answers each agency gave in each of the last 24 hours, oldest first, the one that runs last.

    Hits, no hits and declines, over a region or (None) all; only agencies that gave any.
    """
    now: datetime = (await connection.execute(_NOW)).scalar_one()
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
    found: dict[str, list[int]] = {}
    for row in await connection.execute(_HOURLY, {"region": region}):
        place = round((row.hour - first).total_seconds() / 3600)
        if 0 <= place < HOURS:
            found.setdefault(row.agency, [0] * HOURS)[place] += row.number
    return found
