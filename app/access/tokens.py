"""Access tokens: JSON Web Tokens (RFC 9068) good for ten minutes, signed with Ed25519.

A token is believed while its signature, its time, and the key it was made of are: whoever revokes the key has revoked
its tokens, and the key's source networks bind them too.
"""

import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from app.access.keys import Credential, KeyChecker, Standing
from app.access.models import RevokedToken
from app.access.policy import Action, actions_of
from app.crypto.keys import Keys
from app.crypto.signing import public_jwk, token_signing_key
from app.db import Connection

LIFETIME_SECONDS = 600
_CLOCKS_DIFFER = timedelta(hours=1)
"""How far a gateway's clock may be behind the database's: for so long a revoked token is refused beyond its time."""
_MOST_KNOWN = 10_000
_REQUIRED = ["iss", "aud", "sub", "jti", "iat", "exp", "scope"]
_TYPE = "at+jwt"
_ACTIONS = frozenset(action.value for action in Action)


@dataclass(slots=True)
class Token:
    """What a token says, once its signature is verified. `expires_at` in seconds since the epoch (UTC).

    Beside it the credential that it makes with its key as that stood when last asked.
    """

    id: str
    key: str
    scope: frozenset[Action]
    expires_at: int
    certificate: str | None
    standing: Standing | None = None
    credential: Credential | None = None


class Signer:
    """Makes tokens and verifies them. `version` numbers the signing key.

    Those of the version before are verified too, and those of the one after: gateways change over one by one.
    """

    def __init__(self, keys: Keys, version: int, url: str) -> None:
        self._url = url
        self._key = token_signing_key(keys, version)
        self._kid = public_jwk(self._key.public_key())["kid"]
        accepted = [token_signing_key(keys, near).public_key() for near in (version, version - 1, version + 1) if near]
        self._public = {public_jwk(public)["kid"]: public for public in accepted}

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public keys as a JWK set (RFC 7517)."""
        return {"keys": [public_jwk(public) for public in self._public.values()]}

    def sign(self, credential: Credential, scope: Collection[Action], certificate: str | None) -> str:
        """A token made of this credential for these actions, bound to the certificate of this thumbprint, if any."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self._url,
            "aud": self._url,
            "sub": credential.id,
            "client_id": credential.id,
            "jti": secrets.token_urlsafe(16),
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
            "scope": " ".join(sorted(scope)),
            "party": credential.party,
            "role": credential.role.value,
        }
        if certificate is not None:
            claims["cnf"] = {"x5t#S256": certificate}
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"kid": self._kid, "typ": _TYPE})

    def verified(self, text: str) -> Token | None:
        """What this token says; None where it is not one of ours, or its time is over."""
        try:
            header = jwt.get_unverified_header(text)
            public = self._public.get(str(header.get("kid")))
            if public is None or header.get("typ") != _TYPE:
                return None
            claims = jwt.decode(
                text,
                public,
                algorithms=["EdDSA"],
                audience=self._url,
                issuer=self._url,
                # When it was made is no matter: another gateway's clock may be ahead of ours.
                options={"require": _REQUIRED, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            return None
        return _token(claims)


def _token(claims: Mapping[str, Any]) -> Token:
    return Token(
        id=claims["jti"],
        key=claims["sub"],
        # Words of a newer version, which this one does not know, allow nothing here.
        scope=frozenset(Action(word) for word in claims["scope"].split() if word in _ACTIONS),
        expires_at=claims["exp"],
        certificate=claims.get("cnf", {}).get("x5t#S256"),
    )


class TokenChecker:
    """Recognises tokens, verifying each once in this process and asking every second how its key stands."""

    def __init__(self, signer: Signer, keys: KeyChecker) -> None:
        self._signer = signer
        self._keys = keys
        self._known: dict[str, Token] = {}

    async def credential(self, text: str) -> Credential | None:
        """The credential that this token is, or None where it is not in force."""
        token = self._known.get(text) or self._verify(text)
        if token is None or token.expires_at <= time.time():
            return None
        standing = await self._keys.standing(token.key)
        if standing is None or token.id in standing.revoked:
            return None
        if token.standing is not standing:
            token.standing, token.credential = standing, _limited(standing.credential, token)
        return token.credential

    def _verify(self, text: str) -> Token | None:
        token = self._signer.verified(text)
        if token is None:
            return None
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[text] = token
        return token


def _limited(credential: Credential, token: Token) -> Credential:
    """The key's credential, limited to what its token may."""
    scope = token.scope & (credential.scope or actions_of(credential.role))
    return replace(credential, scope=scope, token=token.id, certificate=token.certificate)


async def revoke_token(connection: Connection, token: Token) -> bool:
    """Refuse this token from now on; whether it was not refused already."""
    await connection.execute(delete(RevokedToken).where(RevokedToken.expires_at < func.now() - _CLOCKS_DIFFER))
    made = await connection.scalar(
        insert(RevokedToken)
        .values(id=token.id, key_id=token.key, expires_at=datetime.fromtimestamp(token.expires_at, UTC))
        .on_conflict_do_nothing()
        .returning(RevokedToken.id)
    )
    return made is not None


async def revoked_among(connection: Connection, ids: Collection[str]) -> set[str]:
    """Those of these tokens that were revoked; without a token, without a query."""
    if not ids:
        return set()
    return set(await connection.scalars(select(RevokedToken.id).where(RevokedToken.id.in_(ids))))
