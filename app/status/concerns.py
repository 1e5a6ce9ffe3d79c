"""What needs the co-ordinator now, told from the figures: at most one line a kind, the most pressing first. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.referrals.heartbeat import HEALTHY_SECONDS
from app.referrals.states import AlertKind
from app.reporting.board import HELD_SHOWN, Board
from app.reporting.queues import Health
from app.web.words import ago, counted


class Severity(StrEnum):
    """How pressing a concern is; the page shows it in words and colour."""

    BAD = "bad"
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class Case:
    """One instance of a concern: `name` leads to the part of the page with the id `part`; `note` says how it stands.

    An empty `part`: the page does not show it.
    """

    name: str
    part: str
    note: str


@dataclass(frozen=True, slots=True)
class Concern:
    """One line: a one-word `label`, a sentence, and where it is so."""

    severity: Severity
    label: str
    text: str
    cases: Sequence[Case] = ()


_Queue = Mapping[str, Any]

_ALERTS = {
    AlertKind.UNDELIVERABLE: (Severity.BAD, "Undelivered", "could not be delivered: redeliver or cancel."),
    AlertKind.EXPIRED: (Severity.WARN, "Expired", "ended without an answer."),
    AlertKind.NOTICE_FAILED: (Severity.WARN, "Notice", "in the inbox of an agency that could not be told."),
    AlertKind.CONFLICTING_ANSWER: (
        Severity.WARN,
        "Conflict",
        "answered twice and differently; the first answer stands.",
    ),
    AlertKind.LATE_ANSWER: (Severity.WARN, "Late", "answered after the end; the answer is kept as evidence."),
}
"""How the standing alerts are told, the most pressing first. What is urgent and not acknowledged is told from the
queues, which needs no scheduler."""


def concerns(board: Board, *, broker_ok: bool) -> list[Concern]:
    """Every concern that the board gives rise to; none means that nothing needs the co-ordinator."""
    found = (
        _parts(board, broker_ok=broker_ok),
        _urgent(board.queues),
        _overdue(board.queues, board.at),
        _held_referrals(board),
        _held_items(board.queues),
        *(_alerts(board.alerts, kind) for kind in _ALERTS),
        _failing(board.queues),
        _silent(board.queues, board.at),
    )
    return [concern for concern in found if concern is not None]


def is_healthy(silent: float | None) -> bool:
    """Whether a part that has been silent for so many seconds (None: for ever) counts as working."""
    return silent is not None and silent <= HEALTHY_SECONDS


def _parts(board: Board, *, broker_ok: bool) -> Concern | None:
    told = [
        sentence
        for fine, sentence in (
            (is_healthy(board.workers_silent), "The workers finish nothing: referrals wait."),
            (is_healthy(board.scheduler_silent), "No scheduler leads: nothing is chased or called overdue."),
            (broker_ok, "The message broker does not answer: work goes on, more slowly."),
        )
        if not fine
    ]
    return Concern(Severity.BAD, "System", f"{' '.join(told)} Tell the operator.") if told else None


def _urgent(queues: Sequence[_Queue]) -> Concern | None:
    cases = _cases(queues, "urgent", lambda queue: str(queue["urgent"]))
    if not cases:
        return None
    total = sum(queue["urgent"] for queue in queues)
    subject = counted(total, "urgent item is", "urgent items are")
    return Concern(Severity.BAD, "Urgent", f"{subject} not acknowledged after 30 minutes. Telephone the agency.", cases)


def _overdue(queues: Sequence[_Queue], now: datetime) -> Concern | None:
    cases = _cases(queues, "overdue", lambda queue: str(queue["overdue"]))
    if not cases:
        return None
    total = counted(sum(queue["overdue"] for queue in queues), "answer is", "answers are")
    oldest = min(queue["oldest_due"] for queue in queues if queue["overdue"])
    return Concern(Severity.BAD, "Overdue", f"{total} overdue; the oldest was due {ago(oldest, now)}.", cases)


def _held_referrals(board: Board) -> Concern | None:
    if not board.held:
        return None
    shown = board.held[:HELD_SHOWN]
    on_page = {referral["id"] for referral in board.referrals}
    more = len(board.held) > HELD_SHOWN
    number = f"More than {HELD_SHOWN} referrals are" if more else counted(len(shown), "referral is", "referrals are")
    cases = [
        Case(
            name=referral["reference"],
            part=f"referral-{referral['id']}" if referral["id"] in on_page else "",
            note=f"{referral['originator']}, held {ago(referral['updated_at'], board.at)}",
        )
        for referral in shown
    ]
    return Concern(Severity.WARN, "Held", f"{number} held until you decide.", cases)


def _held_items(queues: Sequence[_Queue]) -> Concern | None:
    cases = _cases(queues, "held", lambda queue: str(queue["held"]))
    if not cases:
        return None
    total = counted(sum(queue["held"] for queue in queues), "item is", "items are")
    return Concern(Severity.WARN, "Release", f"{total} held back from the agency until released.", cases)


def _alerts(alerts: Sequence[Mapping[str, Any]], kind: AlertKind) -> Concern | None:
    standing = [alert for alert in alerts if alert["kind"] == kind]
    if not standing:
        return None
    severity, label, said = _ALERTS[kind]
    cases = [Case(alert["agency"], f"queue-{alert['agency']}", str(alert["alerts"])) for alert in standing]
    total = sum(alert["alerts"] for alert in standing)
    return Concern(severity, label, f"{counted(total, 'item')} {said}", cases)


def _failing(queues: Sequence[_Queue]) -> Concern | None:
    cases = _cases(queues, "failing", lambda queue: counted(queue["failing"], "item"))
    if not cases:
        return None
    return Concern(Severity.WARN, "Failing", f"Hand-overs fail again and again at {_agencies(cases)}.", cases)


def _silent(queues: Sequence[_Queue], now: datetime) -> Concern | None:
    silent = [queue for queue in queues if queue["health"] is Health.SILENT]
    cases = [
        Case(queue["agency"], f"queue-{queue['agency']}", f"{queue['queued']} unseen, {_heard(queue, now)}")
        for queue in silent
    ]
    if not cases:
        return None
    verb = "does" if len(cases) == 1 else "do"
    return Concern(Severity.WARN, "Silent", f"{_agencies(cases)} {verb} not look into the inbox.", cases)


def _heard(queue: _Queue, now: datetime) -> str:
    at = queue["last_seen_at"]
    return "never seen" if at is None else f"last seen {ago(at, now)}"


def _cases(queues: Sequence[_Queue], figure: str, note: Callable[[_Queue], str]) -> list[Case]:
    """The agencies for which a figure is not zero."""
    return [Case(queue["agency"], f"queue-{queue['agency']}", note(queue)) for queue in queues if queue[figure]]


def _agencies(cases: Sequence[Case]) -> str:
    return counted(len(cases), "agency", "agencies")
