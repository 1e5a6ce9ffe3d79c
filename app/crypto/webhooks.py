"""Signatures of pushed notices (Standard Webhooks): HMAC-SHA-256 `v1`, and Ed25519 `v1a` beside it.

The secrets are derived from the master secret, the agency and a version number: the database keeps the number only.
"""

from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from standardwebhooks import Webhook

from app.crypto.keys import Keys, Purpose


def webhook_secret(keys: Keys, agency: str, version: int) -> str:
    """The secret an agency verifies `v1` with: `whsec_` and 32 bytes in base64."""
    return "whsec_" + b64encode(_derive(keys, Purpose.WEBHOOK, agency, version)).decode()


def webhook_public_key(keys: Keys, agency: str, version: int) -> str:
    """The public key an agency verifies `v1a` with: `whpk_` and 32 bytes in base64."""
    public = _private_key(keys, agency, version).public_key()
    return "whpk_" + b64encode(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


class Signer:
    """Signs for one agency, under each of these versions of its secret: two while it changes from one to the other."""

    def __init__(self, keys: Keys, agency: str, versions: Sequence[int]) -> None:
        self._secrets = [Webhook(webhook_secret(keys, agency, version)) for version in versions]
        self._private_keys = [_private_key(keys, agency, version) for version in versions]

    def sign(self, message_id: str, at: datetime, body: str) -> str:
        """The value of `webhook-signature`; `at` (UTC) is the one of `webhook-timestamp`."""
        signed = f"{message_id}.{int(at.timestamp())}.{body}".encode()
        return " ".join(
            [secret.sign(message_id, at, body) for secret in self._secrets]
            + ["v1a," + b64encode(key.sign(signed)).decode() for key in self._private_keys]
        )


def _derive(keys: Keys, purpose: Purpose, agency: str, version: int) -> bytes:
    return keys.digest(purpose, f"{agency} {version}".encode())


def _private_key(keys: Keys, agency: str, version: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(_derive(keys, Purpose.WEBHOOK_ED25519, agency, version))
