"""Times in words, as a person in London reads them."""

from datetime import UTC, datetime, timedelta

import pytest

from app.web import words

NOW = datetime(2026, 11, 22, 13, 25, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "just now"),
        (9, "just now"),
        (45, "under a minute ago"),
        (60, "1 minute ago"),
        (7_199, "1 hour ago"),
        (7_200, "2 hours ago"),
        (11 * 86_400 + 5, "11 days ago"),
    ],
)
def test_the_past_is_told_in_whole_units(seconds: int, told: str) -> None:
    assert words.ago(NOW - timedelta(seconds=seconds), NOW) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (4 * 3600 - 3, "in 4 hours"),
        (14 * 86_400 - 60, "in 14 days"),
        (20 * 3600, "in 20 hours"),
        (30, "in under a minute"),
        (-1, "under a minute overdue"),
        (-2 * 86_400, "2 days overdue"),
    ],
)
def test_a_term_just_given_reads_as_it_was_given_and_a_missed_one_as_overdue(seconds: int, told: str) -> None:
    assert words.away(NOW + timedelta(seconds=seconds), NOW) == told


def test_a_person_reads_londons_time_and_a_machine_utc() -> None:
    summer = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    assert words.moment(summer) == "Wednesday 1 July 2026, 13:00 BST"
    assert words.moment(NOW) == "Sunday 22 November 2026, 13:25 GMT"
    assert words.machine(summer) == "2026-07-01T12:00:00Z"
    assert words.clock(summer) == "13:00:00"


def test_one_is_singular() -> None:
    assert [words.counted(n, "agency", "agencies") for n in (0, 1, 2)] == ["0 agencies", "1 agency", "2 agencies"]
