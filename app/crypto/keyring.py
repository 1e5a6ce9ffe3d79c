"""The key ring: a few named 256-bit keys that wrap the data keys. One is current; the others only unwrap.

As text it is `id:key` entries with white space between, the oldest first, keys in base64url, the current one marked
`*id:key` (one alone needs no mark). Where a KMS or an HSM is the custodian, the
entries hold ring keys as it wrapped them, and it is asked once a key and process; without one the ring lies open in a
file or variable that only the broker may read.
"""

import hashlib
import hmac
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app import clock
from app.crypto.refusal import Unopenable

KEY_BYTES = 32
NONCE_BYTES = 12

_ENTRY = re.compile(r"(\*?)([a-z0-9-]{1,40}):([A-Za-z0-9_-]{43,4000}={0,2})")
_WRAPPED = b"\x01"
"""First byte of a wrapped data key: the form of what follows, a nonce and AES-256-GCM's ciphertext and tag."""


class RingError(ValueError):
    """This is no key ring; the text says what is wrong, and quotes none of it."""


class Custodian(Protocol):
    """Who keeps the ring's keys: a KMS or an HSM. It wraps ring keys only, and never meets a data key or content."""

    def wrap(self, ring_key: bytes) -> bytes:
        """The 32 bytes of a ring key in the form in which the ring may hold them."""

    def unwrap(self, kept: bytes) -> bytes:
        """The ring key again. Raises any exception where it cannot."""


class Bare:
    """No custodian: the ring holds its keys as they are."""

    def wrap(self, ring_key: bytes) -> bytes:
        """The key itself."""
        return ring_key

    def unwrap(self, kept: bytes) -> bytes:
        """The key itself."""
        return kept


class KeyRing:
    """Ring keys by id, of which one is current. A data key is wrapped bound to its referral and its ring key."""

    def __init__(self, keys: Mapping[str, bytes], current: str) -> None:
        self.ids = frozenset(keys)
        self.current = current
        self.proven: set[str] = set()
        """URLs of databases that have been seen to be this ring's."""
        self._ciphers = {id: AESGCM(key) for id, key in keys.items()}
        self._proofs = {id: hmac.digest(key, b"gain ring key proof", hashlib.sha256) for id, key in keys.items()}

    def fits(self, id: str, proof: bytes) -> bool:
        """Whether the ring has the key of this name that gave the proof."""
        return id in self.ids and hmac.compare_digest(self._proofs[id], proof)

    def proof(self) -> bytes:
        """What tells the current key from any other, and tells nothing of it."""
        return self._proofs[self.current]

    def wrap(self, referral_id: UUID, data_key: bytes) -> bytes:
        """The data key of a referral under the current ring key."""
        nonce = os.urandom(NONCE_BYTES)
        return (
            _WRAPPED + nonce + self._ciphers[self.current].encrypt(nonce, data_key, _bound(self.current, referral_id))
        )

    def unwrap(self, id: str, referral_id: UUID, wrapped: bytes) -> bytes:
        """The data key of a referral. Raises `Unopenable` for another referral's, another ring key's or a wrong one."""
        cipher = self._ciphers.get(id)
        if cipher is None:
            raise Unopenable("the key ring lacks a key", ring_key=id)
        if wrapped[:1] != _WRAPPED:
            raise Unopenable("a data key has an unknown form", ring_key=id)
        try:
            return cipher.decrypt(wrapped[1 : 1 + NONCE_BYTES], wrapped[1 + NONCE_BYTES :], _bound(id, referral_id))
        except (InvalidTag, ValueError):
            raise Unopenable("a key of the ring does not fit: it is a wrong one", ring_key=id) from None


@lru_cache(maxsize=64)
def _prefix(id: str) -> bytes:
    return b"gain\0data_key\0wrapped\0" + id.encode() + b"\0"


def _bound(id: str, referral_id: UUID) -> bytes:
    return _prefix(id) + referral_id.bytes


@dataclass(frozen=True, slots=True)
class Entries:
    """The entries of a ring as they are kept: keys by id, the oldest first, and which is current."""

    kept: Mapping[str, str]
    current: str

    def text(self) -> str:
        """As the text of a ring."""
        return "".join(f"{'*' * (id == self.current)}{id}:{key}\n" for id, key in self.kept.items())

    def opened(self, custodian: Custodian) -> KeyRing:
        """The ring at work. Raises `RingError` where the custodian does not give a key of 32 bytes."""
        return KeyRing({id: _unwrapped(kept, custodian) for id, kept in self.kept.items()}, self.current)

    def waiting(self) -> list[str]:
        """The keys that were added since the current one, and never were current."""
        ids = list(self.kept)
        return ids[ids.index(self.current) + 1 :]


def entries(text: str) -> Entries:
    """The entries of a ring. Raises `RingError`."""
    kept: dict[str, str] = {}
    marked = []
    for number, entry in enumerate(text.split(), 1):
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise RingError(f"entry {number} of the key ring is not `id:key`")
        mark, id, key = match.groups()
        if id in kept:
            raise RingError(f"entry {number} of the key ring has the id of another")
        kept[id] = key
        marked += [id] if mark else []
    if not kept:
        raise RingError("the key ring is empty")
    current = marked or ([*kept] if len(kept) == 1 else [])
    if len(current) != 1:
        raise RingError("one key of the ring must be marked as current, and no other")
    return Entries(kept, current[0])


def new_entry(custodian: Custodian) -> tuple[str, str]:
    """The id and the entry of a new random key; the id tells its day."""
    key = os.urandom(KEY_BYTES)
    return f"{clock.now():%Y%m%d}-{os.urandom(3).hex()}", urlsafe_b64encode(custodian.wrap(key)).decode().rstrip("=")


def new_ring(custodian: Custodian) -> Entries:
    """A ring with one new key."""
    id, key = new_entry(custodian)
    return Entries({id: key}, id)


def _unwrapped(kept: str, custodian: Custodian) -> bytes:
    try:
        key = custodian.unwrap(urlsafe_b64decode(kept + "=" * (-len(kept) % 4)))
    except Exception as error:
        raise RingError(f"a key of the ring cannot be read ({type(error).__name__})") from error
    if len(key) != KEY_BYTES:
        raise RingError("a key of the ring has not 32 bytes")
    return key
