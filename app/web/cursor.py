"""Cursors: a position in one pass over a list, opaque and URL-safe, good for the same filters only."""

import base64
import binascii
import hashlib
from collections.abc import Sequence

import orjson

from app.errors import BAD_CURSOR, Problem

_DIGEST_BYTES = 6


def encode(filters: Sequence[object], position: Sequence[str | int]) -> str:
    """The cursor for `position` under `filters`."""
    raw = _digest(filters) + orjson.dumps(list(position))
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(filters: Sequence[object], cursor: str) -> list[str | int]:
    """The position in a cursor. Raises `Problem` (400) where it is not one of ours, or was made for other filters."""
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = orjson.loads(raw[_DIGEST_BYTES:])
    except (UnicodeEncodeError, binascii.Error, orjson.JSONDecodeError):
        raise Problem(BAD_CURSOR) from None
    if raw[:_DIGEST_BYTES] != _digest(filters) or not isinstance(position, list):
        raise Problem(BAD_CURSOR)
    return position


def _digest(filters: Sequence[object]) -> bytes:
    return hashlib.sha256(repr([str(item) for item in filters]).encode()).digest()[:_DIGEST_BYTES]
