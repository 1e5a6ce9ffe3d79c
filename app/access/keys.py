"""API keys: issue, recognise, revoke. `gain_<environment>_<id>_<secret>_<check>`; only a keyed hash is stored."""

import asyncio
import hmac
import secrets
import string
import time
import zlib
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, insert, select, update

from app.access.models import ApiKey
from app.access.policy import Role, roles_of
from app.crypto.keys import Keys, Purpose
from app.db import Connection, Database
from app.parties.codes import PartyKind
from app.parties.models import Party

_ALPHABET = string.digits + string.ascii_letters
_ID_LENGTH, _SECRET_LENGTH, _CHECK_LENGTH = 12, 32, 6
_CACHE_SECONDS = 1.0  # a revoked key is refused within two seconds at the latest (design: access)
_CACHE_SIZE = 10_000


class KeyRefused(Exception):
    """A key cannot be issued; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Credential:
    """An API key in force: whose it is and what it is for."""

    id: str
    party: str
    role: Role


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
) -> str:
    """A new key of `party`, in `role` or the party's default one. It is returned here and never again.

    `label` names keys that are replaced together. Raises `KeyRefused` for an unknown party or a role not its own.
    """
    kind = await connection.scalar(select(Party.kind).where(Party.code == party))
    if kind is None:
        raise KeyRefused(f"there is no party with the code {party!r}")
    allowed = roles_of(PartyKind(kind))
    if role is not None and role not in allowed:
        raise KeyRefused(f"a key of {party} may have the role {' or '.join(allowed)}, not {role}")
    key_id, secret = _random(_ID_LENGTH), _random(_SECRET_LENGTH)
    await connection.execute(
        insert(ApiKey).values(
            id=key_id,
            party=party,
            role=(role or allowed[0]).value,
            hash=keys.digest(Purpose.CREDENTIAL, f"{key_id}.{secret}".encode()),
            label=label,
        )
    )
    body = f"gain_{environment}_{key_id}_{secret}"
    return f"{body}_{_check(body)}"


async def revoke_labelled(connection: Connection, label: str) -> None:
    """Revoke every key with this label."""
    await connection.execute(
        update(ApiKey).where(ApiKey.label == label, ApiKey.revoked_at.is_(None)).values(revoked_at=func.now())
    )


async def in_force(connection: Connection, ids: Collection[str]) -> set[str]:
    """Those of these keys, by their ids, that are not revoked; by one query."""
    return set(await connection.scalars(select(ApiKey.id).where(ApiKey.id.in_(ids), ApiKey.revoked_at.is_(None))))


_Entry = tuple[float, bytes, Credential]
"""Until when it is good (monotonic seconds), the hash of the secret, whose key it is."""


class KeyChecker:
    """Recognises keys, remembering what it found for a second so that a busy client costs no query a request."""

    def __init__(self, database: Database, keys: Keys) -> None:
        self._database = database
        self._keys = keys
        self._found: dict[str, _Entry] = {}
        self._asked: dict[str, asyncio.Task[_Entry | None]] = {}

    async def credential(self, key: str) -> Credential | None:
        """The credential behind `key`, or None where it is unknown, wrong or revoked."""
        parsed = parse(key)
        if parsed is None:
            return None
        key_id, secret = parsed
        entry = self._found.get(key_id)
        if entry is None or entry[0] < time.monotonic():
            entry = await self._ask(key_id)
        if entry is None:
            return None
        given = self._keys.digest(Purpose.CREDENTIAL, f"{key_id}.{secret}".encode())
        return entry[2] if hmac.compare_digest(entry[1], given) else None

    async def _ask(self, key_id: str) -> _Entry | None:
        """Look the key up; requests that need it at the same moment share one query and one connection."""
        asked = self._asked.get(key_id)
        if asked is None:
            asked = self._asked[key_id] = asyncio.create_task(self._look_up(key_id))
            asked.add_done_callback(lambda _: self._asked.pop(key_id, None))
        # Shielded: a client that goes away must not end the look of all the others.
        return await asyncio.shield(asked)

    async def _look_up(self, key_id: str) -> _Entry | None:
        self._found.pop(key_id, None)
        async with self._database.transaction() as connection:
            row = (
                await connection.execute(
                    select(ApiKey.hash, ApiKey.party, ApiKey.role).where(
                        ApiKey.id == key_id, ApiKey.revoked_at.is_(None)
                    )
                )
            ).one_or_none()
        if row is None:
            return None
        if len(self._found) >= _CACHE_SIZE:
            self._found.clear()
        entry = (time.monotonic() + _CACHE_SECONDS, row.hash, Credential(key_id, row.party, Role(row.role)))
        self._found[key_id] = entry
        return entry
