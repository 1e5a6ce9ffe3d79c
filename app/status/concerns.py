"""What needs the co-ordinator now, told from the figures: at most one line a kind, the most pressing first. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.parties.codes import Channel
from app.referrals.heartbeat import HEALTHY_SECONDS, Beating
from app.referrals.states import AlertKind
from app.reporting.board import DUPLICATES_SHOWN, HELD_SHOWN, Board
from app.reporting.queues import Health
from app.reporting.trouble import UNSENT_SHOWN
from app.web.words import LONDON, ago, counted


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


@dataclass(frozen=True, slots=True)
class Running:
    """What a gateway knows of the system beside the board.

    Whether the broker answers (None: the system has none), and the priorities whose new referrals are refused because
    too many wait, in words, the least pressing first.
    """

    broker_ok: bool | None = True
    refused: Sequence[str] = ()


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


_ENDED = {Channel.EMAIL: "its mailbox bounced", Channel.PUSH: "its endpoint ended"}


def concerns(board: Board, running: Running) -> list[Concern]:
    """Every concern that the board gives rise to; none means that nothing needs the co-ordinator."""
    found = (
        _parts(board, running),
        _refused(running.refused),
        _urgent(board.queues),
        _overdue(board.queues, board.at),
        _unsent(board),
        _held_referrals(board),
        _held_items(board.queues),
        _duplicates(board),
        *(_alerts(board.alerts, kind) for kind in _ALERTS),
        _ended(board.trouble.ended, board.at),
        _paused(board.trouble.paused),
        _failing(board.queues),
        _silent(board.queues, board.at),
    )
    return [concern for concern in found if concern is not None]


def is_healthy(silent: float | None) -> bool:
    """Whether a part that has been silent for so many seconds (None: for ever) counts as working."""
    return silent is not None and silent <= HEALTHY_SECONDS


def _parts(board: Board, running: Running) -> Concern | None:
    told = [
        sentence
        for fine, sentence in (
            (is_healthy(board.silent[Beating.WORKER]), "The workers finish nothing: referrals wait."),
            (is_healthy(board.silent[Beating.SCHEDULER]), "No scheduler leads: nothing is chased or called overdue."),
            (is_healthy(board.silent[Beating.SEALER]), "The log is not being sealed."),
            (running.broker_ok is not False, "The message broker does not answer: work goes on, more slowly."),
        )
        if not fine
    ]
    return Concern(Severity.BAD, "System", f"{' '.join(told)} Tell the operator.") if told else None


def _refused(priorities: Sequence[str]) -> Concern | None:
    if not priorities:
        return None
    words = " and ".join(priorities)
    said = f"New {words} referrals are being refused: too many wait for the workers. What was accepted is safe."
    return Concern(Severity.BAD, "Refusing", f"{said} Tell the operator.")


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


def _duplicates(board: Board) -> Concern | None:
    """Of each pair the caller's own referral by name; of the other what its region may know."""
    if not board.duplicates:
        return None
    shown = board.duplicates[:DUPLICATES_SHOWN]
    more = len(board.duplicates) > DUPLICATES_SHOWN
    number = f"More than {DUPLICATES_SHOWN} pairs" if more else counted(len(shown), "pair")
    on_page = {referral["id"] for referral in board.referrals}
    cases = []
    for pair in shown:
        own, other = sorted(pair["referrals"], key=lambda one: one["id"] is None)
        cases.append(
            Case(
                name=own["reference"],
                part=f"referral-{own['id']}" if own["id"] in on_page else "",
                note=f"{own['originator']}; {other['reference']} of {other['originator']}"
                f" ({other['region'] or 'national'}), found {ago(pair['found_at'], board.at)}",
            )
        )
    text = f"{number} of referrals may be about one subject, from different parties. Speak to one another, and decide."
    return Concern(Severity.WARN, "Duplicate", text, cases)


def _unsent(board: Board) -> Concern | None:
    unsent = board.trouble.unsent
    if not unsent:
        return None
    more = len(unsent) > UNSENT_SHOWN
    number = f"More than {UNSENT_SHOWN} referrals" if more else counted(len(unsent), "referral")
    on_page = {referral["id"] for referral in board.referrals}
    cases = [
        Case(
            name=referral["reference"],
            part=f"referral-{referral['id']}" if referral["id"] in on_page else "",
            note=referral["originator"],
        )
        for referral in unsent[:UNSENT_SHOWN]
    ]
    them = "it" if len(unsent) == 1 else "them"
    text = f"{number} could not be sent out to anybody. Release {them} to try again, and tell the operator."
    return Concern(Severity.BAD, "Unsent", text, cases)


def _ended(ended: Sequence[Mapping[str, Any]], now: datetime) -> Concern | None:
    if not ended:
        return None
    cases = [
        Case(
            name=one["agency"],
            part=f"queue-{one['agency']}",
            note=f"{_ENDED[one['channel']]} {ago(one['at'], now)}",
        )
        for one in ended
    ]
    verb = "is" if len(cases) == 1 else "are"
    text = f"{_agencies(cases)} {verb} not told any more: set another address, or the same again once it works."
    return Concern(Severity.WARN, "Address", text, cases)


def _paused(paused: Sequence[Mapping[str, Any]]) -> Concern | None:
    """With times of day, not spans: what is shown changes only when something happens."""
    notes = {
        one["agency"]: f"since {one['since'].astimezone(LONDON):%H:%M} after {counted(one['failures'], 'failure')}; "
        f"next try {one['next_at'].astimezone(LONDON):%H:%M}"
        for one in paused
    }
    if not notes:
        return None
    cases = [Case(agency, f"queue-{agency}", note) for agency, note in notes.items()]
    return Concern(Severity.WARN, "Paused", f"Calls to {_agencies(cases)} are paused, because they failed.", cases)


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
