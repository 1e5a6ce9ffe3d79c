"""Strict JSON: RFC 8259 in UTF-8, and refused what parsers disagree about or a database cannot store.

Pure. Refused beside malformed text: a byte order mark, a key given twice, NaN and the infinities (a number too large
for a double included), NUL, lone surrogates, integers of more than `MAX_INTEGER_DIGITS` digits, nesting deeper than
`MAX_DEPTH`.
"""

import json
import math
import re
from typing import Any, NoReturn

import orjson

MAX_DEPTH = 32
MAX_INTEGER_DIGITS = 32
"""Far above any number the contract knows (int64 has 19 digits), far below what takes time to convert."""

# Possessive, so that text without a closing quote costs one pass and not one for each quote.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_KEY_ENDS = re.compile(rb'"[ \t\n\r]*:')
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
# Only an escape can bring NUL or half a surrogate pair past the UTF-8 decoder and the JSON scanner.
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class NotJson(ValueError):
    """The text is not acceptable JSON. `reason` is short and never quotes the text: it may be personal data."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def parse(body: bytes) -> Any:
    """The value that `body` holds; raises `NotJson`."""
    value = _parsed_fast(body)
    return _parsed(body) if value is None else value


def _parsed_fast(body: bytes) -> Any:
    """The value of an object that is certainly in order, in half the time; None where a closer look must tell.

    The fast parser takes, of what is refused here, only a key given twice, an escaped NUL, deep nesting and integers
    beyond 64 bits, which it makes floats. A key ends with a quotation mark before a colon, so a text that has no more
    of these than the value has keys gives none twice.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if type(value) is not dict or b"\\u0000" in body:
        return None
    keys, waiting = 0, [value]
    for part in waiting:  # grows as it goes
        if type(part) is dict:
            keys += len(part)
            parts: Any = part.values()
        else:
            parts = part
        for each in parts:
            kind = type(each)
            if kind is dict or kind is list:
                waiting.append(each)
            elif kind is float:
                return None
    # No more containers than levels are allowed: so none is too deep.
    if len(waiting) > MAX_DEPTH or len(_KEY_ENDS.findall(body)) != keys:
        return None
    return value


def _parsed(body: bytes) -> Any:
    if body.startswith(b"\xef\xbb\xbf"):
        raise NotJson("It starts with a byte order mark.")
    _check_depth(body)
    try:
        value = _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise NotJson(f"It is not UTF-8 at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        raise NotJson(f"It is not well-formed at character {error.pos}.") from None
    if _SUSPECT.search(body):
        _check_strings(value)
    return value


def _check_depth(body: bytes) -> None:
    """Refuse deep nesting before the recursive scanner sees it."""
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return
    brackets = _STRING.sub(b"", body).translate(_BRACKETS, _NO_BRACKET)
    for _level in range(MAX_DEPTH):
        # Each pass takes away the innermost level, so a sound document is empty after as many passes as it has levels.
        length = len(brackets)
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return
        if len(brackets) == length:
            break
    raise NotJson(f"It is nested deeper than {MAX_DEPTH} levels, or its brackets do not match.")


def _check_strings(value: Any) -> None:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            if _UNSTORABLE.search(part):
                raise NotJson("A string holds NUL or a lone surrogate.")
        elif isinstance(part, dict):
            waiting.extend(part.keys())
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise NotJson("An object gives a key twice.")
    return made


def _integer(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS:
        raise NotJson(f"A number has more than {MAX_INTEGER_DIGITS} digits.")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise NotJson("A number is too large.")
    return number


def _constant(_name: str) -> NoReturn:
    raise NotJson("NaN and Infinity are not JSON.")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
