"""Cursors: a position in one pass over a list, opaque and URL-safe, good for the same filters only.

Each carries a code that only we can make, so that what comes back is a position that we gave: no list need ask whether
its parts fit a column.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence

import orjson

from app.errors import BAD_CURSOR, Problem

_CODE_BYTES = 12

Digest = Callable[[bytes], bytes]
"""A keyed hash of a message, of at least `_CODE_BYTES` bytes."""


def _of_this_process(message: bytes, key: bytes = secrets.token_bytes(32)) -> bytes:
    return hmac.digest(key, message, hashlib.sha256)


_digest: Digest = _of_this_process


def sign_with(digest: Digest) -> None:
    """Sign with this from now on: cursors then serve every process that has its key. Before, this process alone."""
    global _digest
    _digest = digest


def encode(filters: Sequence[object], position: Sequence[str | int]) -> str:
    """The cursor for `position` under `filters`."""
    written = orjson.dumps(list(position))
    return base64.urlsafe_b64encode(_code(filters, written) + written).rstrip(b"=").decode()


def decode(filters: Sequence[object], cursor: str) -> list[str | int]:
    """The position in a cursor. Raises `Problem` (400) where it is not one of ours, or was made for other filters."""
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise Problem(BAD_CURSOR) from None
    code, written = raw[:_CODE_BYTES], raw[_CODE_BYTES:]
    if not hmac.compare_digest(code, _code(filters, written)):
        raise Problem(BAD_CURSOR)
    position: list[str | int] = orjson.loads(written)
    return position


def _code(filters: Sequence[object], written: bytes) -> bytes:
    return _digest(repr([str(item) for item in filters]).encode() + b"\n" + written)[:_CODE_BYTES]
