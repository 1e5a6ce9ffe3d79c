"""Outcomes added up: every action counts once, a correction in the place of what it corrects, money to the penny."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.referrals.outcome_documents import SubmittedOutcome, pence, pounds
from app.referrals.outcomes import COUNTS, added_up


def outcome(number: int = 1, **changes: Any) -> dict[str, Any]:
    """An outcome as the queries give it, which says nothing but what is changed."""
    nothing: dict[str, Any] = {**dict.fromkeys((*COUNTS, "disruption", "assets_frozen", "replaced_by")), "seizures": []}
    return {"id": UUID(int=number), **nothing, "useful_agencies": [], **changes}


def test_actions_add_up_and_what_nobody_said_is_not_nought() -> None:
    first = outcome(1, arrests=22, charged=16, disruption="major", useful_agencies=["HMRC", "EA"])
    first["seizures"] = [{"kind": "plants", "quantity": 460, "value": "493000.00"}]
    second = outcome(2, arrests=1, disruption="minor", assets_frozen="60000.10", useful_agencies=["EA"])
    second["seizures"] = [{"kind": "cash", "quantity": None, "value": "0.05"}, {"kind": "drugs", "quantity": 12}]
    totals = added_up([first, second])
    assert totals == {
        "actions": 2,
        "arrests": 23,
        "charged": 16,
        "prohibition_orders": None,
        "children_safeguarded": None,
        "adults_safeguarded": None,
        "assets_frozen": "60000.10",
        "seized": "493000.05",
        "disruptions": {"major": 1, "minor": 1},
        "useful_agencies": ["EA", "HMRC"],
    }


def test_what_was_corrected_counts_no_more() -> None:
    wrong = outcome(1, arrests=220, disruption="negative", replaced_by=UUID(int=2))
    totals = added_up([wrong, outcome(2, arrests=22)])
    assert (totals["actions"], totals["arrests"], totals["disruptions"]) == (1, 22, {})


@given(st.integers(0, 10**12))
def test_money_is_the_same_after_it_was_written_and_read(amount: int) -> None:
    assert pence(pounds(amount)) == amount


@pytest.mark.parametrize("amount", ["-1", "1.5", "1,000", "1e3", " 1", "01", "£1", "1.005", "", "12345678901"])
def test_an_amount_that_could_be_read_in_two_ways_is_refused(amount: str) -> None:
    with pytest.raises(ValidationError):
        SubmittedOutcome.model_validate({"acted_on": "2026-11-20", "assets_frozen": amount})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"replaces": "01938f00-0000-7000-8000-000000000000"},
        {"arrests": -1},
        {"arrests": "3"},
        {"arrests": 2.5},
        {"seizures": [{"kind": "drugs"}]},
        {"seizures": [{"kind": "drugs", "quantity": 0}]},
        {"disruption": "total"},
        {"arrests": 1, "acted_on": "2999-01-01"},
        {"arrests": 1, "acted_on": "1999-12-31"},
        {"arrests": 1, "unheard_of": 1},
    ],
)
def test_an_outcome_that_says_nothing_or_nonsense_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SubmittedOutcome.model_validate({"acted_on": "2026-11-20", **body})


def test_nought_is_something_said() -> None:
    assert SubmittedOutcome.model_validate({"acted_on": "2026-11-20", "arrests": 0}).arrests == 0
