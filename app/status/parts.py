"""The page in parts: each an HTML element with an id, so that a live page replaces only what changed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from app.referrals.heartbeat import Beating
from app.referrals.states import FINAL, DispatchState, Outcome
from app.reporting.board import Board, View
from app.reporting.needs import Group
from app.status.concerns import Running, concerns, is_healthy
from app.status.needs_words import counted as counted_needs
from app.status.needs_words import told as told_needs
from app.web import cursor as cursors
from app.web import pages
from app.web.words import age, ago, away, counted, length

pages.add_templates(Path(__file__).parent / "templates")

_UNANSWERED = [state for state in DispatchState if state in FINAL and state is not DispatchState.ANSWERED]
_FIGURES = ("held", "queued", "delivered", "acknowledged", "query", "answered_today", "overdue")


class Painter:
    """Makes the parts of one view, anew only where the facts or the words changed. For one look at a time."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._made: dict[str, tuple[dict[str, Any], Markup]] = {}

    def paint(self, board: Board, running: Running) -> dict[str, Markup]:
        """Every part by its id.

        `concerns`, `system`, `counts`, `needs`, `queue-total`, `queue-…` by agency, `referrals`, `referral-…`:
        `referrals` holds an empty place for each referral's part, to be filled with it.
        """
        contexts: dict[str, tuple[str, dict[str, Any]]] = {
            "concerns": ("concerns.html", {"concerns": concerns(board, running)}),
            "system": ("system.html", {"system": system_words(board.silent, running.broker_ok)}),
            "queue-total": ("queue_total.html", {"total": _total(board.queues)}),
            "referrals": ("referrals.html", _list(self._view, board)),
            "counts": ("counts.html", {"counts": counted_needs(board.needs)}),
            "needs": ("needs.html", _needs(self._view, board)),
        }
        for queue in board.queues:
            contexts[f"queue-{queue['agency']}"] = "queue.html", {"queue": _queue(queue, board.at)}
        for referral in board.referrals:
            contexts[f"referral-{referral['id']}"] = "referral.html", {"referral": _referral(referral, board.at)}
        self._made = {part: (context, self._text(part, name, context)) for part, (name, context) in contexts.items()}
        return {part: html for part, (_, html) in self._made.items()}

    def _text(self, part: str, template: str, context: dict[str, Any]) -> Markup:
        before = self._made.get(part)
        return before[1] if before and before[0] == context else pages.text(template, **context)


def fill(view: View, board: Board, painted: Mapping[str, Markup]) -> Markup:
    """The list of referrals with its parts in their places."""
    return pages.text("referrals.html", **{**_list(view, board), "filled": painted})


def position_of(view: View) -> tuple[str, str]:
    """What a cursor of the referrals is good for."""
    return "status", view.region or ""


def database_away() -> dict[str, Markup]:
    """The part that says why nothing moves."""
    told = [(False, "The database does not answer: what is shown here may be out of date.")]
    return {"system": pages.text("system.html", system=told)}


def tally(dispatches: Sequence[Mapping[str, Any]]) -> str:
    """How far a referral is, in words: `22 asked: 14 answered (5 hits), 1 declined, 7 open (2 overdue)`."""
    if not dispatches:
        return "Nobody is asked yet"
    states = Counter(dispatch["state"] for dispatch in dispatches)
    hits = sum(dispatch["outcome"] == Outcome.HIT for dispatch in dispatches)
    overdue = sum(dispatch["overdue"] for dispatch in dispatches)
    told = []
    if answered := states[DispatchState.ANSWERED]:
        told.append(f"{answered} answered ({counted(hits, 'hit')})")
    told += [f"{states[state]} {state}" for state in _UNANSWERED if states[state]]
    if still_open := sum(number for state, number in states.items() if state not in FINAL):
        told.append(f"{still_open} open ({overdue} overdue)" if overdue else f"{still_open} open")
    return f"{len(dispatches)} asked: {', '.join(told)}"


def _list(view: View, board: Board) -> dict[str, Any]:
    following = None if board.following is None else cursors.encode(position_of(view), [str(board.following)])
    return {
        "ids": [referral["id"] for referral in board.referrals],
        "filled": None,
        "older": view.after is not None,
        "next_page": following and f"/?cursor={following}",
    }


def _needs(view: View, board: Board) -> dict[str, Any]:
    """The cases by group; beside what is overdue, the agencies of which all can be chased at once."""
    scope = view.scope
    own = scope.regions[0] if scope and scope.regions else ""
    late = [(queue["agency"], queue["overdue"]) for queue in board.queues if queue["overdue"]]
    kept = {"region": view.region if view.region != own else None, "agency": scope and scope.agency}
    given = {name: value for name, value in {**kept, "priority": scope and scope.priority}.items() if value}
    return {
        "groups": [
            {
                **told_needs(found, own, board.at),
                "late": late if found.group is Group.OVERDUE else (),
                "address": f"/?{urlencode({**given, 'group': found.group})}#needs-{found.group}",
            }
            for found in board.needs
        ],
        "narrowed": scope is not None and scope.group is not None,
        "region": f"?{urlencode({'region': view.region})}" if view.region and view.region != own else "",
    }


def _queue(queue: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """What its row shows, the ages in words: as seconds they would change with every look."""
    oldest, seen = queue["oldest"], queue["last_seen_at"]
    return {
        **{name: queue[name] for name in ("agency", "name", "health", "oldest", *_FIGURES)},
        "age": oldest and age(oldest, now),
        # An agency that polls is seen every few seconds: the row need not change as often.
        "seen": seen and ago(seen, now),
        "seen_at": seen and seen.replace(second=0, microsecond=0),
    }


def _referral(referral: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """What its part shows, with the times in words."""
    dispatches = referral["dispatches"]
    return {
        **referral,
        "tally": tally(dispatches),
        "submitted": ago(referral["created_at"], now),
        "due": away(referral["respond_by"], now),
        "dispatches": [{**dispatch, "when": _when(dispatch, now)} for dispatch in dispatches],
    }


def _when(dispatch: Mapping[str, Any], now: datetime) -> str:
    closed = dispatch["closed_at"]
    return ago(closed, now) if closed else away(dispatch["due_at"], now)


def system_words(silent: Mapping[Beating, float | None], broker_ok: bool | None) -> list[tuple[bool, str]]:
    """Of each part, whether it works, and that in a sentence; the broker only where the system has one."""
    told = [
        (is_healthy(silent[part]), f"{does} {_silence(silent[part])}.")
        for part, does in (
            (Beating.WORKER, "Workers last finished work"),
            (Beating.SCHEDULER, "Scheduler last looked for work"),
            (Beating.SEALER, "The log was last sealed"),
        )
    ]
    if broker_ok is not None:
        told.append((broker_ok, "Message broker answers." if broker_ok else "Message broker does not answer."))
    return told


def _silence(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    return "a few seconds ago" if seconds < 10 else f"{length(seconds)} ago"


def _total(queues: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {figure: sum(queue[figure] for queue in queues) for figure in _FIGURES}
