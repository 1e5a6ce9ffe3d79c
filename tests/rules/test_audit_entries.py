"""Canonical entries: one form for every reader, and nothing private in it."""

import json
from typing import Any

import orjson
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from app.audit.entry import SALT_BYTES, commit, commitment, document, encoded, hashed, salt_of
from app.audit.tree import leaf_hash

words = st.text(max_size=12)
details = st.none() | st.dictionaries(words, words | st.integers(-(2**53) + 1, 2**53 - 1) | st.lists(words), max_size=3)


def columns(**changes: Any) -> list[Any]:
    """The columns of an event."""
    event: dict[str, Any] = {
        "id": 7,
        "at": "2026-11-22T16:00:00.000001Z",
        "operation": "disclosure",
        "action": "dispatch.delivered",
        "party": "HMRC",
        "actor": "key",
        "request_id": None,
        "referral_id": "00000000-0000-7000-8000-000000000000",
        "dispatch_id": None,
        "recipients": ["HMRC"],
        "detail": None,
        "commitments": None,
    }
    assert changes.keys() <= event.keys()
    return list((event | changes).values())


def test_an_entry_has_this_very_form() -> None:
    """Written down, because every hash ever sealed depends on it."""
    assert encoded(columns(detail='{"b": 1, "a": "x"}'), 3) == (
        b'{"action":"dispatch.delivered","actor":"key","at":"2026-11-22T16:00:00.000001Z","commitments":null,'
        b'"detail":{"a":"x","b":1},"dispatch_id":null,"id":7,"operation":"disclosure","party":"HMRC",'
        b'"recipients":["HMRC"],"referral_id":"00000000-0000-7000-8000-000000000000","request_id":null,"sequence":3}'
    )
    assert hashed(columns(), 3) == leaf_hash(encoded(columns(), 3))


@given(words, st.none() | st.lists(words), details, st.integers(0, 2**53 - 1))
def test_the_quick_way_and_the_library_agree(party: str, recipients: list[str] | None, detail: Any, place: int) -> None:
    row = columns(party=party, recipients=recipients, detail=orjson.dumps(detail).decode() if detail else None)
    written = encoded(row, place)
    assert written == rfc8785.dumps(document(row, place))
    assert rfc8785.dumps(json.loads(written)) == written


@pytest.mark.parametrize("changed", [{"party": "GMP"}, {"id": 8}, {"recipients": None}, {"detail": '{"a": 1}'}])
def test_another_event_or_place_is_another_entry(changed: dict[str, Any]) -> None:
    assert hashed(columns(**changed), 3) != hashed(columns(), 3)
    assert hashed(columns(), 4) != hashed(columns(), 3)


@pytest.mark.parametrize("number", ["123456789012345678901234567890", "1.00", "9007199254740993", "1e5", "-0.1"])
def test_a_number_that_readers_disagree_on_is_kept_as_its_text(number: str) -> None:
    text = f'{{"n": {number}}}'
    entry = document(columns(detail=text), 0)
    assert entry["detail"] == text
    assert encoded(columns(detail=text), 0) == rfc8785.dumps(entry)


def test_a_commitment_is_opened_by_its_own_salt_only() -> None:
    private = commit({"purpose": "Quillfeather", "reason": "Quillfeather"})
    assert len(private.salt) == SALT_BYTES
    assert "Quillfeather" not in str(private.commitments)
    assert private.commitments["purpose"] != private.commitments["reason"]
    assert private.commitments["purpose"] == commitment(salt_of(private.salt, "purpose"), "Quillfeather")
    assert private.commitments["purpose"] != commitment(salt_of(private.salt, "reason"), "Quillfeather")
    assert commit({"purpose": "Quillfeather"}).commitments != commit({"purpose": "Quillfeather"}).commitments
