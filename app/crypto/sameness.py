"""Sameness: whether two bodies mean the same. A keyed hash of the RFC 8785 form: no oracle for personal data."""

from typing import Any

import orjson
import rfc8785

from app.crypto.keys import Keys, Purpose

_EXACT = 2**53 - 1  # beyond it a number is no longer the same in every reader (RFC 8785 section 3.2.2.3)


def sameness(keys: Keys, document: dict[str, Any]) -> bytes:
    """HMAC-SHA-256 of the document in canonical JSON (RFC 8785); equal for equal meaning, whatever order or spacing."""
    return keys.digest(Purpose.SAMENESS, canonical(document))


def canonical(document: dict[str, Any]) -> bytes:
    """The document in the form of RFC 8785."""
    # Without fractions and in ASCII, sorted JSON is that form already, and a fiftieth of the time: only the order of
    # keys beyond ASCII and the notation of numbers differ.
    if has_only_text_and_small_integers(document):
        written = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
        if written.isascii():
            return written
    return rfc8785.dumps(document)


def has_only_text_and_small_integers(document: dict[str, Any]) -> bool:
    """Whether every reader gets these very values: no fraction, no integer beyond 2^53, at any depth."""
    waiting: list[Any] = [document]
    for part in waiting:  # grows as it goes
        kind = type(part)
        if kind is str or part is None or kind is bool:
            continue
        if kind is dict:
            waiting.extend(part.values())
        elif kind is list:
            waiting.extend(part)
        elif kind is not int or not -_EXACT <= part <= _EXACT:
            return False
    return True
