"""What needs the co-ordinator, told from the figures."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from app.referrals.heartbeat import Beating
from app.referrals.states import AlertKind
from app.reporting.board import DUPLICATES_SHOWN, HELD_SHOWN, Board
from app.reporting.queues import Health
from app.status.concerns import Running, concerns
from app.status.parts import tally

NOW = datetime(2026, 11, 22, 13, 25, 7, tzinfo=UTC)


def queue(agency: str, **changes: Any) -> dict[str, Any]:
    quiet = {"held": 0, "queued": 0, "overdue": 0, "failing": 0, "urgent": 0, "oldest_due": None, "last_seen_at": None}
    return {"agency": agency, "health": Health.OK, **quiet, **changes}


def board(
    *queues: dict[str, Any],
    alerts: Sequence[dict[str, Any]] = (),
    held: int = 0,
    duplicates: Sequence[dict[str, Any]] = (),
    workers: float | None = 1.0,
    scheduler: float | None = 1.0,
    sealer: float | None = 1.0,
) -> Board:
    silent = {Beating.WORKER: workers, Beating.SCHEDULER: scheduler, Beating.SEALER: sealer}
    waiting = [
        {
            "id": UUID(int=number),
            "reference": f"GAIN-2026-00000{number}",
            "originator": "SWP",
            "updated_at": NOW - timedelta(hours=number),
        }
        for number in range(1, held + 1)
    ]
    return Board(NOW, queues, alerts, waiting, [], None, silent, duplicates=duplicates)


WELL = Running()


def told(given: Board, running: Running = WELL) -> list[tuple[str, str]]:
    return [(concern.label, concern.text) for concern in concerns(given, running)]


def test_nothing_needs_anybody_while_all_is_well() -> None:
    assert told(board(queue("HMRC", queued=7))) == []


def test_what_is_overdue_is_one_line_with_every_agency() -> None:
    late = {"health": Health.SLOW, "oldest_due": NOW - timedelta(days=2)}
    [concern] = concerns(board(queue("EA", overdue=3, **late), queue("HMRC", overdue=1, **late)), Running())
    assert concern.text == "4 answers are overdue; the oldest was due 2 days ago."
    assert [(case.name, case.part, case.note) for case in concern.cases] == [
        ("EA", "queue-EA", "3"),
        ("HMRC", "queue-HMRC", "1"),
    ]


def test_a_silent_agency_is_told_with_what_lies_unseen_and_when_it_was_last_seen() -> None:
    seen = NOW - timedelta(hours=3)
    silent = queue("CC", health=Health.SILENT, queued=4, last_seen_at=seen)
    [concern] = concerns(board(silent, queue("IPO", health=Health.SILENT, queued=1)), Running())
    assert concern.text == "2 agencies do not look into the inbox."
    assert [case.note for case in concern.cases] == ["4 unseen, last seen 3 hours ago", "1 unseen, never seen"]


def test_the_most_pressing_stands_first() -> None:
    given = board(
        queue("A", urgent=1, overdue=1, held=2, failing=1, health=Health.SILENT, oldest_due=NOW), held=1, workers=None
    )
    assert [label for label, _ in told(given)] == [
        "System",
        "Urgent",
        "Overdue",
        "Held",
        "Release",
        "Failing",
        "Silent",
    ]


def test_of_many_held_referrals_the_oldest_are_named_and_no_number_is_invented() -> None:
    [concern] = concerns(board(held=HELD_SHOWN + 1), Running())
    assert concern.text == f"More than {HELD_SHOWN} referrals are held until you decide."
    assert len(concern.cases) == HELD_SHOWN


def test_the_standing_alerts_of_a_kind_are_one_line() -> None:
    alerts = [
        {"kind": "undeliverable", "agency": "FCA", "alerts": 2},
        {"kind": "expired", "agency": "EA", "alerts": 1},
        {"kind": "undeliverable", "agency": "MHRA", "alerts": 1},
        {"kind": "urgent_unacknowledged", "agency": "EA", "alerts": 1},  # told from the queues
    ]
    assert told(board(alerts=alerts)) == [
        ("Undelivered", "3 items could not be delivered: redeliver or cancel."),
        ("Expired", "1 item ended without an answer."),
    ]


def test_every_kind_of_alert_is_told_somewhere() -> None:
    for kind in set(AlertKind) - {AlertKind.URGENT_UNACKNOWLEDGED}:
        assert len(told(board(alerts=[{"kind": kind.value, "agency": "EA", "alerts": 1}]))) == 1


@pytest.mark.parametrize(
    ("changes", "broker_ok", "said"),
    [
        ({"workers": 31.0}, True, "The workers finish nothing"),
        ({"scheduler": None}, True, "No scheduler leads"),
        ({"sealer": 31.0}, True, "The log is not being sealed"),
        ({}, False, "The message broker does not answer"),
    ],
)
def test_a_part_that_does_not_work_is_told_in_plain_words(changes: dict[str, Any], broker_ok: bool, said: str) -> None:
    [(label, text)] = told(board(**changes), Running(broker_ok))
    assert label == "System"
    assert text.startswith(said)


def test_what_is_refused_is_told_by_its_priorities() -> None:
    refusing = Running(refused=["routine", "priority"])
    [(label, text)] = told(board(), refusing)
    assert label == "Refusing"
    assert text.startswith("New routine and priority referrals are being refused: too many wait for the workers.")


def test_a_system_without_a_broker_misses_none() -> None:
    assert told(board(), Running(broker_ok=None)) == []


def test_a_referrals_progress_is_told_in_words() -> None:
    def dispatch(state: str, outcome: str | None = None, *, overdue: bool = False) -> dict[str, Any]:
        return {"state": state, "outcome": outcome, "overdue": overdue}

    assert tally([]) == "Nobody is asked yet"
    assert tally([dispatch("queued"), dispatch("query", "more_information")]) == "2 asked: 2 open"
    assert (
        tally(
            [
                dispatch("answered", "hit"),
                dispatch("answered", "no_hit"),
                dispatch("declined", "declined"),
                dispatch("delivered", overdue=True),
            ]
        )
        == "4 asked: 2 answered (1 hit), 1 declined, 1 open (1 overdue)"
    )


def pair(number: int, *, theirs: bool = False) -> dict[str, Any]:
    """A possible duplicate of South Wales' and Greater Manchester's, as one of their regions sees it."""
    welsh: dict[str, Any] = {
        "id": UUID(int=number),
        "reference": f"GAIN-2026-00010{number}",
        "originator": "SWP",
        "region": "TARIAN",
    }
    english: dict[str, Any] = {
        "id": None,
        "reference": f"GAIN-2026-00020{number}",
        "originator": "GMP",
        "region": "TITAN",
    }
    if theirs:
        welsh, english = welsh | {"id": None}, english | {"id": UUID(int=number)}
    return {"referrals": [welsh, english], "found_at": NOW - timedelta(hours=2)}


@pytest.mark.parametrize(("theirs", "own", "other"), [(False, "SWP", "GMP"), (True, "GMP", "SWP")])
def test_a_possible_duplicate_is_named_by_ones_own_referral_first(theirs: bool, own: str, other: str) -> None:
    [concern] = concerns(board(duplicates=[pair(1, theirs=theirs)]), Running())
    assert concern.text.startswith("1 pair of referrals may be about one subject")
    [case] = concern.cases
    assert case.note.startswith(f"{own}; ")
    assert f" of {other} (" in case.note
    assert case.note.endswith("found 2 hours ago")


def test_of_many_possible_duplicates_the_first_are_told() -> None:
    [concern] = concerns(board(duplicates=[pair(number) for number in range(1, DUPLICATES_SHOWN + 2)]), Running())
    assert concern.text.startswith(f"More than {DUPLICATES_SHOWN} pairs")
    assert len(concern.cases) == DUPLICATES_SHOWN
