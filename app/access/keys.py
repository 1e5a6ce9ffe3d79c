"""API keys: issue, recognise, revoke. `gain_<environment>_<id>_<secret>_<check>`; only a keyed hash is stored."""

import asyncio
import hmac
import secrets
import string
import time
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple

from sqlalchemy import bindparam, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from app.access.models import ApiKey, RevokedToken
from app.access.networks import Network, parse_networks
from app.access.policy import Action, Role, roles_of, scope_of
from app.crypto.keys import Keys, Purpose
from app.db import AS_GATEWAY, Connection, Database
from app.parties.codes import PartyKind
from app.parties.models import Party

_ALPHABET = string.digits + string.ascii_letters
_ID_LENGTH, _SECRET_LENGTH, _CHECK_LENGTH = 12, 32, 6
_CACHE_SECONDS = 1.0  # a revoked key is refused within two seconds at the latest (design: access)
_CACHE_SIZE = 10_000


class KeyRefused(Exception):
    """A key cannot be issued or rotated; the text says why and what to do, `field` which part of what was asked."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True, slots=True)
class Credential:
    """An API key in force, a token made of it, or a person signed in: whose it is, what it is for, and from where.

    `scope` None: all that the role may; no `networks`: any. A token has its own id, and perhaps a certificate's
    thumbprint (RFC 8705) that whoever uses it must show. A person's is their account: `person` is the name to show.
    """

    id: str
    party: str
    role: Role
    scope: frozenset[Action] | None = None
    networks: tuple[Network, ...] = ()
    token: str | None = None
    certificate: str | None = None
    person: str | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What a new key is limited to. `scope` are actions or `read`; empty: no limit. `networks` as in CIDR."""

    scope: Sequence[str] = ()
    networks: Sequence[str] = ()
    expires_at: datetime | None = None
    label: str = ""
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Asking:
    """How a key was asked for by `Idempotency-Key`: keyed hashes of the header and of what the body means."""

    key: bytes
    sameness: bytes


IN_FORCE = (ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()))
"""The condition under which a key is believed."""

CREDENTIAL = (ApiKey.id, ApiKey.party, ApiKey.role, ApiKey.scope, ApiKey.networks)
"""What `credential_of` needs of a key."""


def _check(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), []
    for _ in range(_CHECK_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def parse(key: str) -> tuple[str, str] | None:
    """The id and secret in a key, or None where it is not well-formed; a typing error costs no database query."""
    body, _, check = key.rpartition("_")
    parts = body.split("_")
    if len(parts) != 4 or parts[0] != "gain" or not key.isascii():
        return None
    if (len(parts[2]), len(parts[3])) != (_ID_LENGTH, _SECRET_LENGTH) or check != _check(body):
        return None
    return parts[2], parts[3]


async def issue(
    connection: Connection,
    keys: Keys,
    party: str,
    role: Role | None = None,
    *,
    environment: str = "dev",
    label: str = "",
    terms: Terms | None = None,
    asking: Asking | None = None,
) -> str:
    """A new key of `party`, in `role` or the party's default one. It is returned here and never again.

    `label` names keys that are replaced together. Raises `KeyRefused` for an unknown party, a role not its own, or
    terms that cannot be; `AskedBefore` where this `asking` has made a key already.
    """
    kind = await connection.scalar(select(Party.kind).where(Party.code == party))
    if kind is None:
        raise KeyRefused("party", f"there is no party with the code {party!r}")
    allowed = roles_of(PartyKind(kind))
    if role is not None and role not in allowed:
        raise KeyRefused("role", f"a key of {party} may have the role {' or '.join(allowed)}, not {role}")
    key_id, secret = _random(_ID_LENGTH), _random(_SECRET_LENGTH)
    made = await connection.scalar(
        insert(ApiKey)
        .values(
            id=key_id,
            party=party,
            role=(role or allowed[0]).value,
            hash=keys.digest(Purpose.CREDENTIAL, f"{key_id}.{secret}".encode()),
            mark=environment,
            **_columns(role or allowed[0], terms or Terms(label=label)),
            asked_as=asking and asking.key,
            sameness=asking and asking.sameness,
        )
        .on_conflict_do_nothing(index_elements=[ApiKey.asked_as])
        .returning(ApiKey.id)
    )
    if made is None:
        raise AskedBefore
    body = f"gain_{environment}_{key_id}_{secret}"
    return f"{body}_{_check(body)}"


class AskedBefore(Exception):
    """A key was made for this `Idempotency-Key` at the same moment."""


def _columns(role: Role, terms: Terms) -> dict[str, Any]:
    """The terms as a row holds them. Raises `KeyRefused`."""
    try:
        scope = sorted(scope_of(role, terms.scope))
    except ValueError as error:
        raise KeyRefused("scope", str(error)) from None
    try:
        networks = [str(network) for network in parse_networks(terms.networks)]
    except ValueError as error:
        raise KeyRefused("networks", str(error)) from None
    return {
        "label": terms.label,
        "scope": scope or None,
        "networks": networks or None,
        "expires_at": terms.expires_at,
        "replaces": terms.replaces,
    }


def credential_of(row: Any) -> Credential:
    """The credential that a row with the columns `CREDENTIAL` tells of."""
    known = None if row.scope is None else frozenset(Action(word) for word in row.scope if word in _ACTIONS)
    return Credential(row.id, row.party, Role(row.role), known, parse_networks(row.networks or ()))


async def revoke_labelled(connection: Connection, label: str) -> None:
    """Revoke every key with this label."""
    await connection.execute(
        update(ApiKey).where(ApiKey.label == label, ApiKey.revoked_at.is_(None)).values(revoked_at=func.now())
    )


async def in_force(connection: Connection, ids: Collection[str]) -> set[str]:
    """Those of these keys, by their ids, that are neither revoked nor past their time; by one query."""
    return set(await connection.scalars(select(ApiKey.id).where(ApiKey.id.in_(ids), *IN_FORCE)))


class Standing(NamedTuple):
    """How a key stands: until when that is believed (monotonic seconds), the hash of its secret, whose it is.

    `revoked` are the ids of those of its tokens that were revoked before their time.
    """

    until: float
    hash: bytes
    credential: Credential
    revoked: frozenset[str]


_ACTIONS = frozenset(action.value for action in Action)
_LOOK = select(
    *CREDENTIAL,
    ApiKey.hash,
    # Not only those whose time is not over: it is by the gateways' clocks that a token is believed, not by this one.
    func.array(select(RevokedToken.id).where(RevokedToken.key_id == ApiKey.id).scalar_subquery()).label("revoked"),
).where(ApiKey.id == bindparam("key_id"), *IN_FORCE)


class KeyChecker:
    """Recognises keys, remembering what it found for a second so that a busy client costs no query a request.

    With a `mark` keys of another environment, such as those of a demonstration, are unknown.
    """

    def __init__(self, database: Database, keys: Keys, mark: str = "") -> None:
        self._database = database
        self._keys = keys
        self._mark = mark
        self._found: dict[str, Standing] = {}
        self._asked: dict[str, asyncio.Task[Standing | None]] = {}
        self._right: dict[bytes, str] = {}
        self._pepper = secrets.token_bytes(16)

    async def credential(self, key: str) -> Credential | None:
        """The credential behind `key`, or None where it is unknown, wrong, revoked or past its time."""
        # Only a digest of what was shown is remembered, so that no memory holds keys.
        shown = blake2b(key.encode(), digest_size=16, key=self._pepper).digest()
        key_id = self._right.get(shown)
        if key_id is None:
            return await self._examine(key, shown)
        standing = await self.standing(key_id)
        return None if standing is None else standing.credential

    async def _examine(self, key: str, shown: bytes) -> Credential | None:
        """Check a key that was not seen yet; one found right once stays so, for its secret never changes."""
        parsed = parse(key)
        if parsed is None or (self._mark and not key.startswith(f"gain_{self._mark}_")):
            return None
        key_id, secret = parsed
        standing = await self.standing(key_id)
        if standing is None:
            return None
        given = self._keys.digest(Purpose.CREDENTIAL, f"{key_id}.{secret}".encode())
        if not hmac.compare_digest(standing.hash, given):
            return None
        if len(self._right) >= _CACHE_SIZE:
            self._right.clear()
        self._right[shown] = key_id
        return standing.credential

    async def standing(self, key_id: str) -> Standing | None:
        """How the key of this id stands, as of a second ago at most; None where it is not in force.

        While the database is away or does not answer this raises: nobody is let in on what was known before.
        """
        standing = self._found.get(key_id)
        if standing is None or standing[0] < time.monotonic():
            standing = await self._ask(key_id)
        return standing

    async def _ask(self, key_id: str) -> Standing | None:
        """Look the key up; requests that need it at the same moment share one query and one connection."""
        asked = self._asked.get(key_id)
        if asked is None:
            asked = self._asked[key_id] = asyncio.create_task(self._look_up(key_id))
            asked.add_done_callback(partial(self._forget, key_id))
        # Shielded: a client that goes away, or has waited long enough, must not end the look of all the others.
        async with asyncio.timeout(self._database.settings.database_wait_seconds):
            return await asyncio.shield(asked)

    def _forget(self, key_id: str, asked: asyncio.Task[Standing | None]) -> None:
        """A look that is over, well or not: those who asked may all have gone."""
        self._asked.pop(key_id, None)
        if not asked.cancelled():
            asked.exception()

    async def _look_up(self, key_id: str) -> Standing | None:
        self._found.pop(key_id, None)
        # Before the look: what changes while it is under way is found by the next one, a second from now.
        until = time.monotonic() + _CACHE_SECONDS
        async with self._database.transaction(AS_GATEWAY) as connection:
            row = (await connection.execute(_LOOK, {"key_id": key_id})).one_or_none()
        if row is None:
            return None
        if len(self._found) >= _CACHE_SIZE:
            self._found.clear()
        standing = Standing(until, row.hash, credential_of(row), frozenset(row.revoked))
        self._found[key_id] = standing
        return standing
