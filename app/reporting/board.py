"""What a co-ordinator's page shows: the queues, what is held, the referrals in progress, and whether the parts work.

Set-based: a dozen queries however much there is. Nothing of what was submitted is read: the page names no subject.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text

from app.db import Behalf, Connection
from app.referrals import duplicates
from app.referrals.codes import priority_of
from app.referrals.heartbeat import Beating, silent_seconds
from app.referrals.states import CLOCK_RUNS
from app.reporting.needs import MOST_SHOWN, SHOWN, Needs, Scope, needs
from app.reporting.queues import observed
from app.reporting.trouble import NO_TROUBLE, Trouble, trouble

PAGE_SIZE = 20
HELD_SHOWN = 5
DUPLICATES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class View:
    """What part of it: the referrals of a region, or (None) of all; those older than the id `after`, if given.

    `scope` is what of the cases that need somebody, and `behalf` on whose behalf all of it is read, where that is not
    the region's own; the region itself where not given.
    """

    region: str | None
    after: UUID | None = None
    scope: Scope | None = None
    behalf: Behalf | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """All that one page shows, as it was `at` one time of the database.

    `queues` are the rows of `reporting.queues.observed`; `alerts` counts by `kind` and `agency` what stands. `held` are
    up to `HELD_SHOWN` + 1 held referrals, oldest first; `referrals` up to `PAGE_SIZE` in progress, newest first, each
    with its `dispatches`; `following` is the id after which the next page begins. `silent` has the seconds
    since each part last completed work, None where it never did. `trouble` is what fails on the way to the agencies.
    `duplicates` are up to `DUPLICATES_SHOWN` + 1 undecided possible duplicates, newest first, as
    `referrals.duplicates.page` gives them. `needs` are the cases of the view's scope, by group.
    """

    at: datetime
    queues: Sequence[dict[str, Any]]
    alerts: Sequence[dict[str, Any]]
    held: Sequence[dict[str, Any]]
    referrals: Sequence[dict[str, Any]]
    following: UUID | None
    silent: Mapping[Beating, float | None]
    trouble: Trouble = NO_TROUBLE
    duplicates: Sequence[dict[str, Any]] = ()
    needs: Sequence[Needs] = ()


def _of_referrals(condition: str, order: str) -> TextClause:
    # The states stand as literals, or a generic plan could not use the partial index that holds just these referrals.
    return text(f"""
        SELECT referral.id, referral.reference, referral.originator, party.name AS originator_name, referral.state,
               referral.priority, referral.crime_types, referral.created_at, referral.updated_at, referral.respond_by
          FROM referral JOIN party ON party.code = referral.originator
         WHERE {condition}
         ORDER BY referral.id {order}
         LIMIT :limit
    """)  # noqa: S608  both parts are constants of this file


_ACTIVE = "referral.state IN ('held', 'accepted', 'in_progress')"
_BEFORE = "(CAST(:after AS uuid) IS NULL OR referral.id < :after)"
# One statement for a region and one for all, so that each has a plan of its own.
_IN_PROGRESS = {
    True: _of_referrals(f"referral.region = :region AND {_ACTIVE} AND {_BEFORE}", "DESC"),
    False: _of_referrals(f"{_ACTIVE} AND {_BEFORE}", "DESC"),
}
_HELD = {
    True: _of_referrals("referral.region = :region AND referral.state = 'held'", ""),
    False: _of_referrals("referral.state = 'held'", ""),
}
_DISPATCHES = text("""
    SELECT number, referral_id, agency, party.name AS agency_name, round, state, rule, dispatch.release, reason, due_at,
           closed_at, outcome, due_at < now() AS due_has_passed
      FROM dispatch JOIN party ON party.code = dispatch.agency
     WHERE referral_id = ANY(CAST(:referrals AS uuid[]))
     ORDER BY number
""")
_ALERTS = text("""
    SELECT kind, agency, count(*) AS alerts FROM alert
     WHERE settled_at IS NULL AND (CAST(:region AS text) IS NULL OR region = :region)
     GROUP BY kind, agency ORDER BY agency
""")
_NOW = text("SELECT now()")


async def board(connection: Connection, view: View) -> Board:
    """Everything at once, in the caller's transaction."""
    rows = await _referrals(connection, _IN_PROGRESS, view, PAGE_SIZE + 1)
    shown = rows[:PAGE_SIZE]
    await _add_dispatches(connection, shown)
    return Board(
        at=(await connection.execute(_NOW)).scalar_one(),
        queues=await observed(connection, view.region),
        alerts=[dict(row._mapping) for row in await connection.execute(_ALERTS, {"region": view.region})],
        held=await _referrals(connection, _HELD, view, HELD_SHOWN + 1),
        referrals=shown,
        following=shown[-1]["id"] if len(rows) > PAGE_SIZE else None,
        silent=await silent_seconds(connection),
        trouble=await trouble(connection, view.region),
        duplicates=await duplicates.page(connection, view.region, limit=DUPLICATES_SHOWN + 1),
        needs=await needs(connection, view.scope, MOST_SHOWN if view.scope.group else SHOWN) if view.scope else (),
    )


async def _referrals(
    connection: Connection, statements: dict[bool, TextClause], view: View, limit: int
) -> list[dict[str, Any]]:
    regional = {} if view.region is None else {"region": view.region}
    position = {"after": view.after} if statements is _IN_PROGRESS else {}
    rows = await connection.execute(statements[bool(regional)], {**regional, **position, "limit": limit})
    return [{**row._mapping, "priority": priority_of(row.priority)} for row in rows]


async def _add_dispatches(connection: Connection, referrals: Sequence[dict[str, Any]]) -> None:
    """Give each referral its `dispatches`, in the order of their making, each with whether it is `overdue`."""
    by_id: dict[UUID, list[dict[str, Any]]] = {referral["id"]: [] for referral in referrals}
    for row in await connection.execute(_DISPATCHES, {"referrals": list(by_id)}):
        dispatch = dict(row._mapping)
        dispatch["overdue"] = dispatch.pop("due_has_passed") and dispatch["state"] in CLOCK_RUNS
        by_id[dispatch.pop("referral_id")].append(dispatch)
    for referral in referrals:
        referral["dispatches"] = by_id[referral["id"]]
