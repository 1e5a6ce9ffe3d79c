"""What the strict parser takes, and what it refuses before anything else sees it."""

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web.strict_json import MAX_DEPTH, MAX_INTEGER_DIGITS, NotJson, parse

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=30,
)


@given(VALUES, st.booleans())
def test_sane_data_comes_back_equal_however_it_was_escaped(value: Any, ascii_only: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=60) | st.text(alphabet='[]{}",:\\u0dD8e1+-. NaInfity', max_size=60).map(str.encode))
def test_no_bytes_raise_anything_but_a_refusal(body: bytes) -> None:
    with contextlib.suppress(NotJson):
        parse(body)


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * depth + "1" + closing * depth).encode()


HOSTILE = {
    "nothing": b"",
    "only space": b" \n",
    "two documents": b"{} {}",
    "trailing comma": b'{"a": 1,}',
    "comment": b'{"a": 1} // b',
    "single quotes": b"{'a': 1}",
    "bare word": b"canary",
    "open string": b'"canary',
    "raw newline in a string": b'"a\nb"',
    "byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "Latin-1": '"Gŵyl é"'.replace("ŵ", "w").encode("latin-1"),
    "overlong UTF-8": b'"\xc0\xaf"',
    "raw surrogate": b'"\xed\xa0\x80"',
    "lone high surrogate": b'{"a": "\\ud800 canary"}',
    "lone low surrogate": b'["\\uDFFF"]',
    "surrogates the wrong way round": b'"\\udc00\\ud800"',
    "lone surrogate in a key": b'{"\\uD834": 1}',
    "NUL": b'{"a": ["canary\\u0000"]}',
    "NUL in a key": b'{"canary\\u0000": 1}',
    "raw NUL": b'"\x00"',
    "duplicate key": b'{"canary": 1, "canary": 1}',
    "duplicate key, escaped": b'{"a": 1, "\\u0061": 2}',
    "duplicate key deep inside": b'[[{"b": {"a": 1, "a": 2}}]]',
    "NaN": b'{"a": NaN}',
    "Infinity": b"[Infinity]",
    "minus Infinity": b"-Infinity",
    "a number over the largest double": b'{"a": 1e400}',
    "a long number over the largest double": b"[" + b"9" * 400 + b".5]",
    "an absurd integer": b"9" * (MAX_INTEGER_DIGITS + 1),
    "an integer Python itself would refuse": b"[" + b"9" * 5000 + b"]",
    "leading zero": b"[01]",
    "plus sign": b"[+1]",
    "hexadecimal": b"[0x1F]",
    "digits of another script": "[٣]".encode(),
    "one level too deep": nested(MAX_DEPTH + 1),
    "objects too deep": nested(MAX_DEPTH + 1, '{"a":', "}"),
    "a hundred thousand levels": nested(100_000),
    "only opening brackets": b"[" * 262_144,
    "deep and mixed": b'[{"a":' * 50_000,
    "brackets that do not match": b"[" * 40 + b"}" * 40,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_refused_without_being_quoted(body: bytes) -> None:
    with pytest.raises(NotJson) as refusal:
        parse(body)
    assert "canary" not in refusal.value.reason
    assert len(refusal.value.reason) < 100


SOUND = {
    "the deepest that is taken": (nested(MAX_DEPTH), None),
    "many brackets side by side": (b"[" + b"[],{}," * 500 + b"0]", None),
    "brackets inside strings": (json.dumps({"a": "[{" * 100}).encode(), {"a": "[{" * 100}),
    "escaped quotes before brackets": (json.dumps(['\\"[' * 100]).encode(), ['\\"[' * 100]),
    "an emoji as a surrogate pair": (b'"\\ud83d\\ude00"', "😀"),
    "a backslash before u0000": (b'"\\\\u0000"', "\\u0000"),
    "a backslash before ud800": (b'["\\\\ud800"]', ["\\ud800"]),
    "the largest double": (b"1.7976931348623157e308", 1.7976931348623157e308),
    "a number that rounds to zero": (b"1e-400", 0.0),
    "the longest integer": (b"9" * MAX_INTEGER_DIGITS, int("9" * MAX_INTEGER_DIGITS)),
    "space around": (b" \r\n\t[] ", []),
    "the same key in two objects": (b'[{"a": 1}, {"a": 1}]', [{"a": 1}, {"a": 1}]),
}


@pytest.mark.parametrize(("body", "value"), SOUND.values(), ids=SOUND.keys())
def test_sound_text_at_the_edge_is_taken(body: bytes, value: Any) -> None:
    assert parse(body) == (json.loads(body) if value is None else value)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 40 + b'"' + b'\\"' * 131_000,
        b"[" * 40 + b'"\\' * 131_000,
        b"[" * 40 + b'"' * 262_000,
        b"[" + b"[]," * 87_000 + b"[]",
    ],
    ids=["escaped quotes", "open escapes", "quotes", "siblings"],
)
def test_hostile_text_costs_time_in_proportion_to_its_length(body: bytes) -> None:
    started = time.process_time()
    with pytest.raises(NotJson):
        parse(body)
    assert time.process_time() - started < 1.0  # a quadratic scan of this length takes minutes
