"""Who asks for a token, and what bears it."""

import base64
import time
from typing import Any

import httpx
import jwt
import pytest

from app.access.tokens import Signer
from app.crypto.keys import Keys
from app.crypto.signing import token_signing_key
from tests.conftest import SECRET, Cast

GRANT = {"grant_type": "client_credentials"}
KEYS = Keys(SECRET.encode())


def certificate(name: bytes = b"hmrc") -> dict[str, str]:
    """What a proxy adds for a client with this certificate (RFC 9440)."""
    return {"Client-Cert": f":{base64.b64encode(name).decode()}:"}


@pytest.fixture
def nobody(cast: Cast) -> httpx.AsyncClient:
    """A client without a credential."""
    return cast.client({})


async def token(cast: Cast, key: str, **fields: str) -> str:
    """A token for this key."""
    answer = await cast.client({}).post("/v1/token", data={**GRANT, "client_secret": key, **fields})
    assert answer.status_code == 200, answer.text
    made: str = answer.json()["access_token"]
    return made


def bearing(cast: Cast, credential: str, **headers: str) -> httpx.AsyncClient:
    return cast.client({"Authorization": f"Bearer {credential}", **headers})


def forged(changes: dict[str, Any], *, headers: dict[str, Any] | None = None, version: int = 1) -> str:
    """A token like ours but for these changes; None takes a claim away."""
    now = int(time.time())
    url = "http://127.0.0.1:8000"
    claims = {"iss": url, "aud": url, "jti": "x", "iat": now, "exp": now + 600, "scope": "read_inbox", **changes}
    signer = Signer(KEYS, version, url)
    return jwt.encode(
        {name: value for name, value in claims.items() if value is not None},
        token_signing_key(KEYS, version),
        algorithm="EdDSA",
        headers={"kid": signer._kid, "typ": "at+jwt", **(headers or {})},
    )


async def give_up(cast: Cast, key: str, made: str) -> None:
    answer = await cast.client({}).post("/v1/token/revoke", data={"token": made}, auth=("", key))
    assert answer.status_code == 200, answer.text
