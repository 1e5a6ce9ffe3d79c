"""`Prefer: wait`: what a client asks for, and what cannot be understood."""

import pytest

from app.web.prefer import wait_seconds


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (["wait=20"], 20),
        (["WAIT = 5"], 5),
        (['wait="7"'], 7),
        (["respond-async, wait=10; strict"], 10),
        (["return=minimal", "wait=12"], 12),
        (['note="a, wait=3", wait=9'], 9),
        (["wait=31"], 30),
        (["wait=999999999"], 30),
        (["wait=4, wait=25"], 4),
    ],
)
def test_the_first_wait_counts_and_thirty_seconds_are_the_longest(lines: list[str], seconds: int) -> None:
    assert wait_seconds(lines, 30) == seconds


@pytest.mark.parametrize(
    "line",
    [
        *(
            "",
            "wait",
            "wait=",
            "wait=-1",
            "wait=1.5",
            "wait=soon",
            "wait=0",
            "wait=1 0",
            "wait=٣",
            "waiting=5",
            "x;wait=5",
        ),
        *('note="wait=5', "wait=" + "9" * 5000, "wait=" + '"' * 5000),
    ],
)
def test_what_is_no_whole_number_of_seconds_is_as_if_not_sent(line: str) -> None:
    assert wait_seconds([line], 30) == 0
