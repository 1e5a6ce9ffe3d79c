"""Sameness compares meaning: its canonical form is that of RFC 8785, by whichever way it is made."""

from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from app.crypto.keys import Keys
from app.crypto.sameness import canonical, sameness

KEYS = Keys(b"a secret for tests that is long enough to be one")

# Lone surrogates are no text: neither form takes them, and the gateway refuses them before.
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


@given(st.dictionaries(texts, values))
def test_the_canonical_form_is_that_of_the_rfc(document: dict[str, Any]) -> None:
    if any(isinstance(value, float) and value in (float("inf"), float("-inf")) for value in _leaves(document)):
        with pytest.raises(rfc8785.FloatDomainError):
            canonical(document)
        return
    assert canonical(document) == rfc8785.dumps(document)


def test_order_and_notation_make_no_difference() -> None:
    assert sameness(KEYS, {"a": 1.0, "b": ["é"]}) == sameness(KEYS, {"b": ["é"], "a": 1})


def test_another_meaning_is_another_hash() -> None:
    assert sameness(KEYS, {"a": "1"}) != sameness(KEYS, {"a": 1})


def test_a_number_that_readers_differ_on_is_refused() -> None:
    with pytest.raises(rfc8785.IntegerDomainError):
        canonical({"a": 2**53})


def _leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [value]
