"""Keys derived from the master secret, one per purpose, so that no two uses share a key."""

import hashlib
import hmac
from enum import StrEnum

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC


class Purpose(StrEnum):
    """What a derived key is for. The value is the HKDF `info` (RFC 5869): never change one that is in use."""

    CREDENTIAL = "gain credential 1"
    SAMENESS = "gain sameness 1"
    IDEMPOTENCY = "gain idempotency 1"
    CLIENT_REFERENCE = "gain client reference 1"
    SESSION = "gain session 1"
    FORM = "gain form 1"
    SIGN_IN = "gain sign-in 1"
    CURSOR = "gain cursor 1"
    ONE_TIME_CODE = "gain one-time code 1"
    WEBHOOK = "gain webhook 1"
    WEBHOOK_ED25519 = "gain webhook ed25519 1"
    BLIND_INDEX = "gain blind index 1"
    CHECKPOINT = "gain checkpoint ed25519 1"
    TOKEN_ED25519 = "gain token ed25519 1"  # nosec B105  # noqa: S105  a name, not a secret


class Keys:
    """The derived keys of this process; 32 bytes each."""

    def __init__(self, master: bytes) -> None:
        # HKDF-Expand of one block; the master secret is already uniform enough to serve as the pseudo-random key.
        extracted = hmac.digest(b"gain master", master, hashlib.sha256)
        derived = {
            purpose: hmac.digest(extracted, purpose.value.encode() + b"\x01", hashlib.sha256) for purpose in Purpose
        }
        # Begun once: to set a key up costs more than to digest a kilobyte, and a request takes three digests.
        self._begun = {purpose: HMAC(key, SHA256()) for purpose, key in derived.items()}

    def begun(self, purpose: Purpose) -> HMAC:
        """The same of a message that comes in parts: `update` it with each, then `finalize`."""
        return self._begun[purpose].copy()

    def digest(self, purpose: Purpose, message: bytes) -> bytes:
        """HMAC-SHA-256 of `message` under the key for `purpose`; 32 bytes."""
        digest = self._begun[purpose].copy()
        digest.update(message)
        return digest.finalize()
