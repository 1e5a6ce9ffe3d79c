"""An agency verifies a notice with the Standard Webhooks library, before, during and after a change of its secret."""

from base64 import b64decode
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

from app.crypto.keys import Keys
from app.crypto.webhooks import Signer, webhook_public_key, webhook_secret

KEYS = Keys(b"a secret for tests that is long enough to be one")
BODY = '{"type":"dispatch.new"}'


def headers(*versions: int, agency: str = "HMRC") -> dict[str, str]:
    """The headers of a notice signed now."""
    now = datetime.now(UTC)
    return {
        "webhook-id": "one.new",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Signer(KEYS, agency, versions).sign("one.new", now, BODY),
    }


def test_the_library_accepts_what_we_sign() -> None:
    assert Webhook(webhook_secret(KEYS, "HMRC", 1)).verify(BODY, headers(1)) == {"type": "dispatch.new"}


def test_while_the_secret_changes_the_old_and_the_new_are_accepted() -> None:
    for version in (1, 2):
        Webhook(webhook_secret(KEYS, "HMRC", version)).verify(BODY, headers(2, 1))
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook_secret(KEYS, "HMRC", 1)).verify(BODY, headers(2))


def test_another_agencys_secret_and_another_body_are_refused() -> None:
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook_secret(KEYS, "DWP", 1)).verify(BODY, headers(1))
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook_secret(KEYS, "HMRC", 1)).verify(BODY + " ", headers(1))


def test_the_public_key_verifies_the_signature_beside_it() -> None:
    given = headers(3)
    [signature] = [part.removeprefix("v1a,") for part in given["webhook-signature"].split() if part.startswith("v1a,")]
    signed = f"one.new.{given['webhook-timestamp']}.{BODY}".encode()
    key = webhook_public_key(KEYS, "HMRC", 3)
    assert key.startswith("whpk_")
    public = Ed25519PublicKey.from_public_bytes(b64decode(key.removeprefix("whpk_")))
    public.verify(b64decode(signature), signed)
    with pytest.raises(InvalidSignature):
        public.verify(b64decode(signature), signed + b" ")
