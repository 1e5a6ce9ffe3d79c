"""The rules of the reports: months, quantiles from buckets, sentences, and cells that no spreadsheet computes."""

import csv
import io
import math
import random
from collections import Counter
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.reporting import headlines, tables
from app.reporting.figures import Answers, Brought, Fact, all_answers, answers, brought
from app.reporting.histogram import LAST, bucket, middle, quantile
from app.reporting.period import LONGEST_MONTHS, BadPeriod, Period, period
from app.reporting.reports import AgencyAnswers, MadeReferrals, Outcomes
from app.web.csv_table import safe, table
from app.web.words import joined, span

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
YEAR = period(None, None, NOW)
DAY = 86_400.0


# Months


def test_without_months_a_report_is_of_the_last_twelve_the_running_one_included() -> None:
    assert (YEAR.first, YEAR.last) == (date(2025, 12, 1), date(2026, 11, 1))
    assert len(YEAR.months) == 12
    assert YEAR.words == "December 2025 to November 2026"


def test_a_month_begins_when_it_does_in_london() -> None:
    assert period(None, None, datetime(2026, 6, 30, 23, 30, tzinfo=UTC)).last == date(2026, 7, 1)
    assert period(None, None, datetime(2026, 11, 30, 23, 59, tzinfo=UTC)).last == date(2026, 11, 1)


def test_one_month_and_five_years_are_periods_and_nothing_longer_or_backwards_is() -> None:
    assert period("2026-02", "2026-02", NOW) == Period(date(2026, 2, 1), date(2026, 2, 1))
    assert period("2026-02", "2026-02", NOW).words == "February 2026"
    assert len(period("2021-12", "2026-11", NOW).months) == LONGEST_MONTHS
    for first, last in (("2021-11", "2026-11"), ("2026-11", "2026-10"), ("2027-01", None)):
        with pytest.raises(BadPeriod):
            period(first, last, NOW)


# Answer times


@given(st.lists(st.floats(min_value=1, max_value=160 * DAY), min_size=1, max_size=300), st.sampled_from([0.5, 0.9]))
def test_a_quantile_told_from_buckets_is_within_the_promised_error(times: list[float], share: float) -> None:
    true = sorted(times)[max(1, math.ceil(share * len(times) - 1e-9)) - 1]
    told = quantile(Counter(bucket(one) for one in times), share)
    assert told is not None
    assert abs(told - true) <= 0.0906 * true + 0.5  # told in whole seconds


def test_no_answers_have_no_median_and_the_longest_stay_in_the_last_bucket() -> None:
    assert quantile({}, 0.5) is None
    assert bucket(0) == bucket(1) == 0
    assert bucket(10_000 * DAY) == LAST
    assert all(bucket(middle(number)) == number for number in range(LAST + 1))


def test_figures_are_the_sums_of_their_facts() -> None:
    told = answers(
        [
            Fact("HMRC", "hit", "", 3),
            Fact("HMRC", "hit", "", 1),
            Fact("HMRC", "no_hit", "", 12),
            Fact("HMRC", "declined", "capacity", 2),
            Fact("HMRC", "declined", "", 1),
            Fact("HMRC", "expired", "unseen", 1),
            Fact("HMRC", "cancelled", "", 1),
            Fact("HMRC", "undeliverable", "", 1),
            Fact("HMRC", "answer_time", "40", 19),
        ]
    )
    assert (told.hits, told.answered, told.ended, told.hit_rate) == (4, 16, 22, 0.25)
    assert told.declined == {"capacity": 2, "not_kept": 1}
    assert told.expired == {"unseen": 1}
    assert told.median_seconds == told.p90_seconds == round(middle(40))
    twice = all_answers([told, told])
    assert (twice.ended, twice.declined, twice.median_seconds) == (
        44,
        {"capacity": 4, "not_kept": 2},
        told.median_seconds,
    )
    assert answers([]).hit_rate is None


# Sentences


def _made(name: str, *numbers: int) -> MadeReferrals:
    return MadeReferrals(name, name, None, numbers)


def test_the_headline_of_referrals_names_who_made_most_and_counts_who_made_few() -> None:
    made = [_made("Gwent", 3, 4), _made("South Wales", 900, 312), _made("Dyfed-Powys", 0, 0)]
    assert headlines.of_referrals(made, YEAR) == (
        "1,219 referrals were made from December 2025 to November 2026, most by South Wales (1,212). "
        "2 forces and units made fewer than ten."
    )
    assert headlines.of_referrals([_made("Gwent", 1)], period("2026-03", "2026-03", NOW)) == (
        "Gwent made 1 referral in March 2026."
    )
    assert headlines.of_referrals([_made("A", 0), _made("B", 0)], YEAR).startswith("Nobody made a referral")
    tied = [_made(name, 20) for name in "ABCDE"]
    assert "most by A, B and 3 others (20)." in headlines.of_referrals(tied, YEAR)


def test_the_headline_of_agencies_names_the_slowest_only_of_those_that_answered_enough() -> None:
    quick = AgencyAnswers("EA", "Environment Agency", Answers(hits=5, no_hits=15, times={bucket(DAY): 20}))
    slow = AgencyAnswers("BF", "Border Force", Answers(hits=5, no_hits=15, times={bucket(8 * DAY): 20}))
    seldom = AgencyAnswers("HSE", "HSE", Answers(no_hits=1, times={bucket(30 * DAY): 1}))
    told = headlines.of_agencies([quick, slow, seldom], YEAR)
    assert told.startswith("41 requests were answered from December 2025 to November 2026: 24% were hits, and half")
    assert told.endswith("Border Force takes longest: half within 7.9 days.")
    assert "longest" not in headlines.of_agencies([quick, seldom], YEAR)
    assert headlines.of_agencies([], YEAR).startswith("No agency answered")


def test_the_headline_of_outcomes_counts_actions_arrests_and_disruptions() -> None:
    lava = brought(
        [
            Fact("SWP", "actions", "", 1),
            Fact("SWP", "arrests", "", 22),
            Fact("SWP", "disruption", "minor", 1),
            Fact("SWP", "disruption", "major", 2),
        ]
    )
    told = headlines.of_outcomes([Outcomes("SWP", "South Wales", "TARIAN", lava)], YEAR)
    assert told == (
        "1 action from December 2025 to November 2026 brought 22 arrests. Disruptions: 2 major and 1 minor."
    )
    assert headlines.of_outcomes([Outcomes("SWP", "South Wales", "TARIAN", Brought())], YEAR).startswith("No outcome")


def test_time_spans_and_lists_of_names_in_words() -> None:
    assert [span(one) for one in (1, 89, 90, 5_000, 7_000, 47 * 3_600, 3 * DAY)] == [
        "1 second",
        "89 seconds",
        "2 minutes",
        "83 minutes",
        "2 hours",
        "47 hours",
        "3.0 days",
    ]
    assert [joined(list("ABCD")[:number]) for number in range(5)] == [
        "",
        "A",
        "A and B",
        "A, B and C",
        "A, B and 2 others",
    ]


# CSV


@pytest.mark.parametrize("text", ["=1+1", "+44", "-2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =cmd|' /C calc'!A0"])
def test_no_cell_of_text_is_a_formula(text: str) -> None:
    assert safe(text) == f"'{text}"
    [[cell]] = list(csv.reader(io.StringIO(table(["name"], [[text]]).decode("utf-8-sig"), newline="")))[1:]
    assert cell == f"'{text}"


def test_numbers_and_names_are_written_as_they_are() -> None:
    written = table(["name", "n"], [["Heddlu De Cymru, “SWP”", -3], ["Avon & Somerset", 0.25], ["none", None]])
    assert written.startswith(b"\xef\xbb\xbfname,n\r\n")
    found = list(csv.reader(io.StringIO(written.decode("utf-8-sig"), newline="")))
    assert found[1:] == [["Heddlu De Cymru, “SWP”", "-3"], ["Avon & Somerset", "0.25"], ["none", ""]]


def test_every_row_of_every_table_has_as_many_cells_as_its_heading() -> None:
    numbers = random.Random(1)
    answered = Answers(hits=numbers.randint(1, 9), declined={"policy": 1}, expired={"seen": 2}, times={3: 4})
    for told in (
        tables.of_referrals([_made("SWP", *range(12))], YEAR),
        tables.of_agencies([AgencyAnswers("EA", "EA", answered)]),
        tables.of_outcomes([Outcomes("SWP", "SWP", None, Brought(1, {"seized_pence": 123}, {"major": 1}))]),
    ):
        assert {len(row) for row in told.rows} == {len(told.heading)} == {len(set(told.heading))}
    assert tables.of_outcomes([Outcomes("SWP", "SWP", None, Brought(1, {"seized_pence": 123}))]).rows[0][-1] == "1.23"
