"""The OpenID provider: where people are sent, and what its answer says of them (OpenID Connect Core 1.0, code flow).

Authlib speaks the protocol: discovery, PKCE, the exchange of the code, the token's signature. Nothing that the provider
says gives anybody a right: it says who somebody is, and the register what they may do.
"""

import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError

from app.settings import Settings

_SECONDS = 10.0
_LEEWAY_SECONDS = 60
_FRESH_SECONDS = 300


class ProviderAway(Exception):
    """The provider does not answer, or not as one does."""


class ProviderRefused(Exception):
    """The provider's answer does not show who somebody is; the text is a code for the log."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What the provider calls somebody, and their address of email where it vouches for that."""

    issuer: str
    subject: str
    email: str | None


@dataclass(frozen=True, slots=True)
class Departure:
    """Where a browser is sent, and what the server has to remember until it comes back."""

    url: str
    detail: Mapping[str, Any]


class Provider:
    """The provider that the settings name. Its metadata and keys are fetched when they are first needed, and kept."""

    def __init__(self, settings: Settings) -> None:
        self._issuer = settings.oidc_issuer.rstrip("/")
        self._client_id = settings.oidc_client_id
        self._acr = settings.oidc_acr
        self._answer = f"{settings.url}/sign-in/provider/answer"
        secret = settings.oidc_client_secret()
        self._app = OAuth().register(
            "provider",
            client_id=settings.oidc_client_id,
            client_secret=secret or None,
            server_metadata_url=f"{self._issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid email",
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": "client_secret_basic" if secret else "none",
                "timeout": _SECONDS,
            },
        )

    async def depart(self, *, anew: bool = False) -> Departure:
        """Send a browser there; `anew`: whoever is signed in there has to show again who they are.

        Raises `ProviderAway`.
        """
        asked: dict[str, Any] = {"acr_values": self._acr} if self._acr else {}
        if anew:
            asked |= {"prompt": "login", "max_age": 0}
        try:
            await self._check_issuer()
            found = await self._app.create_authorization_url(self._answer, **asked)
        except (httpx2.HTTPError, ValueError, RuntimeError) as error:
            raise ProviderAway from error
        kept = {name: found[name] for name in ("state", "nonce", "code_verifier")}
        return Departure(found["url"], {**kept, "anew": anew})

    async def arrive(self, detail: Mapping[str, Any], *, state: str, code: str) -> Identity:
        """Who came back, by the code they bring. Raises `ProviderAway`, `ProviderRefused`."""
        if not hmac.compare_digest(str(detail["state"]).encode(), state.encode()) or not code:
            raise ProviderRefused("state")
        try:
            await self._check_issuer()
            token = await self._app.fetch_access_token(
                redirect_uri=self._answer, code=code, code_verifier=detail["code_verifier"]
            )
            claims = await self._claims(token, str(detail["nonce"]))
        except OAuthError as error:
            raise ProviderRefused("code") from error
        except JoseError as error:
            raise ProviderRefused("token") from error
        except (httpx2.HTTPError, RuntimeError) as error:
            raise ProviderAway from error
        except (ValueError, KeyError, TypeError) as error:
            raise ProviderRefused("token") from error
        self._check(claims, anew=bool(detail["anew"]))
        email = claims.get("email") if claims.get("email_verified") is True else None
        return Identity(self._issuer, str(claims["sub"]), email.lower() if isinstance(email, str) else None)

    async def _claims(self, token: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        expected = {
            "iss": {"essential": True, "value": self._issuer_as_told},
            "aud": {"essential": True, "value": self._client_id},
            "sub": {"essential": True},
            "exp": {"essential": True},
            "nonce": {"essential": True, "value": nonce},
        }
        claims = await self._app.parse_id_token(token, nonce=nonce, claims_options=expected, leeway=_LEEWAY_SECONDS)
        if claims is None:
            raise ProviderRefused("token")
        found: Mapping[str, Any] = claims
        return found

    def _check(self, claims: Mapping[str, Any], *, anew: bool) -> None:
        if not claims["sub"]:
            raise ProviderRefused("token")
        if self._acr and claims.get("acr") != self._acr:
            raise ProviderRefused("acr")
        if anew and not _recent(claims.get("auth_time")):
            raise ProviderRefused("auth_time")

    async def _check_issuer(self) -> None:
        """Raise `ProviderAway` where what is found there is another's (OpenID Connect Discovery 1.0 section 4.3)."""
        metadata = await self._app.load_server_metadata()
        self._issuer_as_told = metadata.get("issuer")
        if str(self._issuer_as_told).rstrip("/") != self._issuer:
            raise ProviderAway


def _recent(auth_time: object) -> bool:
    return isinstance(auth_time, int) and auth_time > time.time() - _FRESH_SECONDS
