"""What the list of a web inbox shows of each item, and how an item stands: no content, so that it discloses nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from app.db import Connection
from app.referrals.states import DispatchState

PAGE = 50
"""Items on one page."""


class Show(StrEnum):
    """The lists of a web inbox."""

    OPEN = "open"  # what can be answered, and cancellations that nobody has seen; oldest due first
    ANSWERED = "answered"
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # or undeliverable; these three the newest first


@dataclass(frozen=True, slots=True)
class Selection:
    """Part of a list: what to show, of whom (None: of everybody), after which position."""

    show: Show
    colleague: UUID | None = None
    after: tuple[datetime | None, int] | None = None


ListRow = Row[*tuple[Any, ...]]
"""An item of a list: id, number, state, priority, due_at, chased_at, closed_at, outcome, opened, unseen, crime_types,
reference, originator, colleague. `crime_types` is null until the item was opened: that is what discloses it."""

# ruff: noqa: S608  the statements are made of constants of this file

_ENDS: Mapping[Show, Sequence[DispatchState]] = {
    Show.ANSWERED: (DispatchState.ANSWERED, DispatchState.DECLINED),
    Show.CANCELLED: (DispatchState.CANCELLED,),
    Show.EXPIRED: (DispatchState.EXPIRED, DispatchState.UNDELIVERABLE),
}

# Literals, as the conditions of the indexes have them.
_UNSEEN = "dispatch.state = 'cancelled' AND dispatch.cancellation_seen_at IS NULL AND dispatch.queued_at IS NOT NULL"
_MINE = """(CAST(:colleague AS uuid) IS NULL
            OR dispatch.id IN (SELECT dispatch_id FROM assignment WHERE account_id = :colleague))"""

_COLUMNS = f"""
    SELECT dispatch.id, dispatch.number, dispatch.state, dispatch.priority, dispatch.due_at, dispatch.chased_at,
           dispatch.closed_at, dispatch.outcome, dispatch.delivered_at IS NOT NULL AS opened, {_UNSEEN} AS unseen,
           CASE WHEN dispatch.delivered_at IS NOT NULL THEN referral.crime_types END AS crime_types,
           referral.reference, referral.originator, account.name AS colleague
"""
_JOINS = """
      JOIN referral ON referral.id = dispatch.referral_id
      LEFT JOIN assignment ON assignment.dispatch_id = dispatch.id
      LEFT JOIN account ON account.id = assignment.account_id
"""

# Two look-ups, each by its index: by one condition of both, all that was ever cancelled would be read.
_OPEN_IDS = " UNION ALL ".join(
    f"""(SELECT id FROM dispatch
          WHERE agency = :agency AND queued_at IS NOT NULL AND ({condition}) AND {_MINE}
            AND (due_at, number) > (coalesce(CAST(:due_at AS timestamptz), '-infinity'), CAST(:number AS bigint))
          ORDER BY due_at, number LIMIT :limit)"""
    for condition in (f"state IN ('queued', 'delivered') OR ({_UNSEEN})", "state IN ('acknowledged', 'query', 'held')")
)
_OPEN = text(f"""
    {_COLUMNS} FROM dispatch {_JOINS}
     WHERE dispatch.id IN ({_OPEN_IDS})
     ORDER BY dispatch.due_at, dispatch.number
     LIMIT :limit
""")


def _ended(states: Sequence[DispatchState]) -> Any:
    """The newest of each state and priority are the first of an index's range: however many ended, a page reads few."""
    few = " UNION ALL ".join(
        f"""(SELECT id FROM dispatch
              WHERE agency = :agency AND state = '{state}' AND priority = {priority} AND queued_at IS NOT NULL
                AND number < :number AND {_MINE}
              ORDER BY number DESC LIMIT :limit)"""
        for state in states
        for priority in range(3)
    )
    return text(f"""
        {_COLUMNS} FROM dispatch {_JOINS}
         WHERE dispatch.id IN ({few})
         ORDER BY dispatch.number DESC
         LIMIT :limit
    """)


_ENDED = {show: _ended(states) for show, states in _ENDS.items()}
_LAST = 2**63 - 1

_STANDING = text(f"""
    SELECT dispatch.id, dispatch.referral_id, dispatch.state, dispatch.outcome, dispatch.delivered_at,
           dispatch.acknowledged_at, dispatch.answered_at, dispatch.closed_at, dispatch.expires_at, dispatch.gateway,
           {_UNSEEN} AS unseen, referral.reference, referral.originator, dispatch.due_at, dispatch.priority,
           CASE WHEN dispatch.claim_expires_at > now() THEN dispatch.claim_expires_at END AS claimed_until,
           assignment.account_id, account.name AS colleague
      FROM dispatch {_JOINS}
     WHERE dispatch.agency = :agency AND dispatch.queued_at IS NOT NULL AND dispatch.id = ANY(CAST(:ids AS uuid[]))
     ORDER BY dispatch.due_at, dispatch.number
""")

_NEW = text("""
    SELECT count(*) FROM dispatch WHERE agency = :agency AND state = 'queued' AND queued_at > :since
""")


async def listed(connection: Connection, agency: str, selection: Selection) -> tuple[Sequence[ListRow], bool]:
    """Up to `PAGE` items of an agency's list, and whether there are more."""
    parameters: dict[str, Any] = {"agency": agency, "colleague": selection.colleague, "limit": PAGE + 1}
    if selection.show is Show.OPEN:
        due_at, number = selection.after or (None, -1)
        rows = (await connection.execute(_OPEN, {**parameters, "due_at": due_at, "number": number})).all()
    else:
        number = selection.after[1] if selection.after else _LAST
        rows = (await connection.execute(_ENDED[selection.show], {**parameters, "number": number})).all()
    return rows[:PAGE], len(rows) > PAGE


async def standing(connection: Connection, agency: str, ids: Sequence[UUID]) -> Sequence[Row[*tuple[Any, ...]]]:
    """How these items of an agency's inbox stand, the first due first; those that are not in it are left out."""
    return (await connection.execute(_STANDING, {"agency": agency, "ids": list(ids)})).all()


async def new_since(connection: Connection, agency: str, since: datetime) -> int:
    """How many items came since then that nobody has opened."""
    return int(await connection.scalar(_NEW, {"agency": agency, "since": since}) or 0)
