"""Retention's rules: which group, when a review is due, and what stands against an end."""

import tomllib
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.parties.codes import CrimeType
from app.parties.release import ReferenceDataError
from app.referrals.codes import Criterion
from app.referrals.states import ReferralState
from app.retention import reference
from app.retention.policy import (
    CLOSED,
    Group,
    Obstacle,
    Standing,
    group_of,
    may_be_decided,
    may_be_disposed,
    review_on,
)

RULES = reference.rules()
TODAY = date(2026, 11, 22)
DAYS = st.dates(date(2015, 1, 1), date(2060, 12, 31))
CRIMES = st.sets(st.sampled_from(CrimeType), min_size=1)
CRITERIA = st.none() | st.sampled_from(Criterion)
STANDINGS = st.builds(
    Standing,
    state=st.sampled_from(ReferralState),
    review_on=st.none() | DAYS,
    on_legal_hold=st.booleans(),
    decided=st.booleans(),
    disposed=st.booleans(),
)


def document() -> dict[str, Any]:
    return tomllib.loads(reference.FILE.read_text(encoding="utf-8"))


def test_the_file_says_that_it_is_from_no_source_and_since_when() -> None:
    text = reference.FILE.read_text(encoding="utf-8")
    assert "Not from a source" in text
    assert "[mem]" in text
    assert set(RULES.groups) == {1, 2, 3, 4}
    assert set(RULES.crime_types) == set(CrimeType)


def test_a_crime_type_without_a_group_and_a_group_that_is_not_there_are_refused() -> None:
    changed = document()
    del changed["crime_types"]["fraud"]
    with pytest.raises(ReferenceDataError, match="crime types without a group: fraud"):
        reference.parse(changed)
    changed = document()
    del changed["groups"]["3"]
    with pytest.raises(ReferenceDataError, match="no such group: 3"):
        reference.parse(changed)


def test_what_protects_people_comes_first() -> None:
    assert group_of(RULES, [CrimeType.FRAUD], Criterion.MAPPED_OCG).number == 3
    assert group_of(RULES, [CrimeType.FRAUD, CrimeType.MODERN_SLAVERY], None).number == 1
    assert group_of(RULES, [CrimeType.FRAUD], Criterion.VULNERABILITY).number == 1
    with pytest.raises(ValueError, match="at least one crime type"):
        group_of(RULES, [], None)


@given(CRIMES, CRIMES, CRITERIA)
def test_a_further_code_never_shortens_what_the_others_ask_for(
    some: set[CrimeType], more: set[CrimeType], criterion: Criterion | None
) -> None:
    assert group_of(RULES, some | more, criterion).number <= group_of(RULES, some, criterion).number
    assert group_of(RULES, some, criterion).number <= group_of(RULES, some, None).number


@given(DAYS, st.integers(1, 100))
def test_a_review_is_so_many_years_after_the_end_and_never_earlier(closed: date, years: int) -> None:
    review = review_on(Group(3, "any", years), closed)
    assert review.year == closed.year + years
    assert (review.month, review.day) in {(closed.month, closed.day), (3, 1)}
    assert review_on(Group(3, "any", years), closed + timedelta(1)) >= review


def test_the_leap_day_becomes_the_first_of_march() -> None:
    assert review_on(Group(3, "any", 6), date(2024, 2, 29)) == date(2030, 3, 1)
    assert review_on(Group(3, "any", 4), date(2024, 2, 29)) == date(2028, 2, 29)


@given(STANDINGS)
def test_nothing_open_held_undated_or_undecided_is_ever_disposed_of(standing: Standing) -> None:
    allowed = may_be_disposed(standing, TODAY) is None
    assert allowed == (
        standing.state in CLOSED
        and not standing.on_legal_hold
        and standing.review_on is not None
        and standing.decided
        and not standing.disposed
    )


@given(STANDINGS)
def test_before_its_date_only_a_reviewer_who_says_so_decides(standing: Standing) -> None:
    late, early = may_be_decided(standing, TODAY, early=False), may_be_decided(standing, TODAY, early=True)
    if late is None:
        assert standing.review_on is not None
        assert standing.review_on <= TODAY
        assert early is None
    elif late is Obstacle.TOO_EARLY:
        assert early is None
        assert standing.review_on is not None
        assert standing.review_on > TODAY
    else:
        assert early is late
