"""Which body is stuck, why and since when."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.reporting.queues import Health
from app.reporting.stuck import Stuck, Why, order, stuck
from app.reporting.trouble import NO_TROUBLE, Trouble

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def queue(**changes: Any) -> dict[str, Any]:
    """A body at which all is well."""
    well = {"agency": "EA", "health": Health.OK, "failing": 0, "overdue": 0, "unseen_seconds": None}
    return {**well, "oldest": NOW - 5 * HOUR, "oldest_due": None, **changes}


PAUSED = Trouble(paused=[{"agency": "EA", "failures": 5, "since": NOW - 2 * HOUR, "next_at": NOW + HOUR}])
ENDED = Trouble(ended=[{"agency": "EA", "channel": "push", "at": NOW - 3 * HOUR}])
LATE = {"overdue": 1, "oldest_due": NOW - 4 * HOUR, "health": Health.SLOW}


@pytest.mark.parametrize(
    ("given", "trouble", "told"),
    [
        (queue(), NO_TROUBLE, None),
        (queue(**LATE), NO_TROUBLE, Stuck(Why.LATE, NOW - 4 * HOUR)),
        (queue(**LATE, failing=2), NO_TROUBLE, Stuck(Why.FAILING, NOW - 5 * HOUR)),
        (
            queue(**{**LATE, "health": Health.SILENT}, unseen_seconds=7200),
            NO_TROUBLE,
            Stuck(Why.SILENT, NOW - 2 * HOUR),
        ),
        (queue(**LATE), PAUSED, Stuck(Why.PAUSED, NOW - 2 * HOUR, NOW + HOUR)),
        (queue(), ENDED, Stuck(Why.ADDRESS, NOW - 3 * HOUR)),
        (queue(oldest=None), ENDED, None),
        (queue(agency="DVLA"), PAUSED, None),
    ],
)
def test_the_worst_that_is_true_is_told_with_its_beginning(
    given: dict[str, Any], trouble: Trouble, told: Stuck | None
) -> None:
    assert stuck(given, trouble, NOW) == told


def test_what_stands_still_longest_stands_first_and_what_is_well_last() -> None:
    found = {
        "A": None,
        "B": Stuck(Why.LATE, NOW - 9 * HOUR),
        "C": Stuck(Why.SILENT, NOW - HOUR),
        "D": Stuck(Why.PAUSED, NOW - 2 * HOUR),
        "E": None,
    }
    far = datetime.max.replace(tzinfo=UTC)

    def place(agency: str) -> tuple[int, datetime, str]:
        rank, since, code = order(found[agency], agency)
        return rank, since or far, code

    assert sorted(found, key=place) == ["D", "C", "B", "A", "E"]
