"""Sealing: AES-256-GCM under a referral's data key, bound to the very place where the value is kept.

A sealed value is `1`, the version of the data key, a random 96-bit nonce, ciphertext and tag. Associated data are
table, column, row and key version, so that a value moved anywhere else does not open. The nonce is random, not derived
from the place: a place is written more than once (a reason, a draft), and a nonce used twice would give both texts
away. A data key seals some hundreds of values; that two of even a million share a nonce has a chance of one in 10^17.
"""

import os
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.crypto.keyring import NONCE_BYTES
from app.crypto.refusal import Unopenable

KEY_VERSION = 1
"""Every data key is the first of its referral so far. Wrapping it anew makes no new version: the key stays the same."""

_FORM = 1
_HEAD = bytes([_FORM, KEY_VERSION])
_START = len(_HEAD) + NONCE_BYTES


class Place(NamedTuple):
    """Where a sealed value is kept."""

    table: str
    column: str
    row: UUID


class DataKey:
    """The data key of one referral, at work."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, place: Place, plain: bytes) -> bytes:
        """The value as it is kept at this place; 30 bytes longer."""
        nonce = os.urandom(NONCE_BYTES)
        return _HEAD + nonce + self._cipher.encrypt(nonce, plain, _bound(place))

    def open(self, place: Place, sealed: bytes) -> bytes:
        """The value kept at this place. Raises `Unopenable` where it was not sealed for it, or was changed."""
        if sealed[:2] != _HEAD:
            raise Unopenable(f"{place.table}.{place.column} has an unknown form")
        try:
            return self._cipher.decrypt(sealed[2:_START], sealed[_START:], _bound(place))
        except (InvalidTag, ValueError):
            raise Unopenable(f"{place.table}.{place.column} does not open: it was changed or moved") from None


@lru_cache(maxsize=256)
def _prefix(table: str, column: str) -> bytes:
    return b"gain\0" + table.encode() + b"\0" + column.encode() + b"\0" + bytes([KEY_VERSION])


def _bound(place: Place) -> bytes:
    return _prefix(place.table, place.column) + place.row.bytes
