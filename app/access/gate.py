"""The gate: what every recognised caller passes, whether it came with a key, a token or a session."""

from collections.abc import Coroutine

from redis.asyncio import Redis
from starlette.requests import Request

from app.access.covers import Covers
from app.access.keys import Credential, KeyChecker
from app.access.networks import Proxies, is_within
from app.access.purposes import roles_asked
from app.access.rates import Rates
from app.access.tally import Tally
from app.access.tokens import Signer, TokenChecker
from app.access.uses import Uses
from app.crypto.keys import Keys
from app.db import Database
from app.errors import CREDENTIAL_REQUIRED, Problem
from app.logs import logger
from app.settings import Settings

_EXCHANGE = "This gateway takes tokens: exchange the key for one at POST /v1/token."

_COUNTED = "gain.counted"
"""Key of the ASGI scope: what finds no short way is recognised anew on the ordinary one (app/web/express.py)."""

log = logger()


class Gate:
    """Recognises callers and counts them. Raises `SettingsError` where its settings cannot be read."""

    def __init__(self, settings: Settings, keys: Keys, database: Database) -> None:
        self.keys = KeyChecker(database, keys, settings.mark if settings.environment == "production" else "")
        self.signer = Signer(keys, settings.token_key_version, settings.url)
        self.rates = Rates(settings.rate_per_key, settings.rate_per_party)
        self.proxies = Proxies(settings)
        self.covers = Covers(database)
        self.roles_asked = roles_asked(settings.purpose_roles)
        self._tokens = TokenChecker(self.signer, self.keys)
        self._uses = Uses(database)
        self._only_tokens = settings.require_tokens

    async def bearer(self, text: str) -> Credential | None:
        """The credential that this key or token is, or None. Raises `Problem` (401) for a key where tokens must be."""
        if text.startswith("ey"):  # a JSON Web Token is base64url of a JSON object, a key begins with `gain_`
            return await self._tokens.credential(text)
        if self._only_tokens:
            raise Problem(CREDENTIAL_REQUIRED, _EXCHANGE)
        return await self.keys.credential(text)

    def check_place(self, request: Request, credential: Credential) -> None:
        """Raise `Problem` (401) unless the request comes from where this credential may be used.

        That is one of its source networks, if it has any, and behind the certificate it is bound to, if it is.
        """
        if credential.networks and not is_within(self.proxies.source(request), credential.networks):
            log.warning("a key is used from outside its networks", key=credential.id)
            raise Problem(CREDENTIAL_REQUIRED)
        if credential.certificate is not None and self.proxies.certificate(request) != credential.certificate:
            log.warning("a token is used without its certificate", key=credential.id)
            raise Problem(CREDENTIAL_REQUIRED)

    def count(self, request: Request, credential: Credential) -> None:
        """Count a request, once however often it is looked at. Raises `Problem` (429) where it is one too many."""
        if _COUNTED in request.scope:
            return
        request.scope[_COUNTED] = True
        self.rates.charge(credential)
        self._uses.note(credential.id)

    def helpers(self, broker: Redis | None) -> list[Coroutine[None, None, None]]:
        """What runs beside the requests for as long as the gateway does. Without a broker each process counts alone."""
        shared = [] if broker is None else [Tally(self.rates.counts, broker).run()]
        return [self._uses.run(), self.covers.run(), *shared]
