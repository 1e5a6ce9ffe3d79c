"""What a transaction seals and opens with: the keys of the database that its connection leads to."""

import os
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import text

from app.crypto.blind_index import BlindIndex
from app.crypto.keyring import KEY_BYTES, KeyRing
from app.crypto.keys import Keys
from app.crypto.refusal import Unopenable
from app.crypto.sealing import DataKey, Place
from app.crypto.source import RingSource, source_for
from app.db import Behalf, Connection, Database, settings_of
from app.settings import Settings

_WRAPPED = text("""
    SELECT referral_id, ring_key, wrapped FROM data_key WHERE referral_id = ANY(CAST(:ids AS uuid[]))
""")

_KEEP = text("""
    INSERT INTO data_key (referral_id, ring_key, wrapped)
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:ring_keys AS text[]), CAST(:wrapped AS bytea[]))
    ON CONFLICT (referral_id) DO NOTHING
""")

_RING_KEYS = text("SELECT id, proof FROM ring_key")

_USE = text("INSERT INTO ring_key (id, proof) VALUES (:id, :proof) ON CONFLICT (id) DO NOTHING")


class NewKey(NamedTuple):
    """A data key just made, and what is to be kept of it."""

    key: DataKey
    ring_key: str
    wrapped: bytes


class Vault:
    """Makes, wraps and unwraps data keys.

    None is kept for the next read: unwrapping takes 3 µs, and what is not in memory cannot be read out of it.
    """

    def __init__(self, source: RingSource) -> None:
        self._source = source

    def ring(self, needed: str = "") -> KeyRing:
        """The ring as it is now, read again where it lacks the key `needed`. Raises `Unopenable` without one."""
        return self._source.ring(needed)

    def new_key(self, referral_id: UUID) -> NewKey:
        """A data key for a new referral, wrapped under the current ring key. Raises `Unopenable`."""
        ring, key = self._source.ring(), os.urandom(KEY_BYTES)
        return NewKey(DataKey(key), ring.current, ring.wrap(referral_id, key))

    def key(self, referral_id: UUID, ring_key: str, wrapped: bytes) -> DataKey:
        """The data key of a referral. Raises `Unopenable`."""
        return DataKey(self._source.ring(ring_key).unwrap(ring_key, referral_id, wrapped))


class Opener:
    """Opens what one read found: of each referral the data key is unwrapped once, and its content opened once.

    Rows have `ring_key` and `wrapped` (null where the referral has no data key), and `sealed`: whether `content` is.
    What an older version stored lies open until `gain migrate` has sealed it, and is marked so; nothing that is marked
    as sealed is ever read as it lies.
    """

    def __init__(self, connection: Connection) -> None:
        self._vault = vault_of(connection)
        self._keys: dict[UUID, DataKey] = {}
        self._referrals: dict[UUID, bytes] = {}

    def referral(self, id: UUID, row: Any) -> bytes:
        """The content of a referral. Raises `Unopenable`."""
        if not row.sealed:
            return bytes(row.content)
        opened = self._referrals.get(id)
        if opened is None:
            opened = self._referrals[id] = self.value(Place("referral", "content", id), id, row, row.content)
        return opened

    def content(self, table: str, id: UUID, referral_id: UUID, row: Any) -> bytes:
        """The content of another row about a referral. Raises `Unopenable`."""
        if not row.sealed:
            return bytes(row.content)
        return self.value(Place(table, "content", id), referral_id, row, row.content)

    def value(self, place: Place, referral_id: UUID, row: Any, sealed: bytes) -> bytes:
        """A sealed value about a referral. Raises `Unopenable`."""
        return self.key(referral_id, row).open(place, sealed)

    def key(self, referral_id: UUID, row: Any) -> DataKey:
        """The data key of a row's referral. Raises `Unopenable`."""
        key = self._keys.get(referral_id)
        if key is None:
            if row.ring_key is None:
                raise Unopenable("the data key of a referral is missing")
            key = self._keys[referral_id] = self._vault.key(referral_id, row.ring_key, row.wrapped)
        return key


def vault_of(connection: Connection) -> Vault:
    """The vault of the database that this connection leads to."""
    return Vault(source_for(settings_of(connection)))


def blind_index_of(connection: Connection) -> BlindIndex:
    """The blind index of the database that this connection leads to. Raises `SettingsError` without a master secret."""
    return blind_index_for(settings_of(connection))


def blind_index_for(settings: Settings) -> BlindIndex:
    """The blind index that these settings tell of. Raises `SettingsError` without a master secret."""
    return _blind_index(settings.secret.get_secret_value(), settings.secret_file)


@lru_cache(maxsize=16)
def _blind_index(secret: str, file: Path | None) -> BlindIndex:
    return BlindIndex(Keys(Settings(secret=SecretStr(secret), secret_file=file).master_secret()))


async def data_keys(connection: Connection, referral_ids: Collection[UUID]) -> Mapping[UUID, DataKey]:
    """The data key of each of these referrals; made where there is none yet, because an older version stored it."""
    ids = sorted(set(referral_ids))
    rows = (await connection.execute(_WRAPPED, {"ids": ids})).all()
    if len(rows) < len(ids):
        vault = await sealing_vault(connection)
        there = {row.referral_id for row in rows}
        made = {id: vault.new_key(id) for id in ids if id not in there}
        parameters = {
            "ids": list(made),
            "ring_keys": [new.ring_key for new in made.values()],
            "wrapped": [new.wrapped for new in made.values()],
        }
        await connection.execute(_KEEP, parameters)
        rows = (await connection.execute(_WRAPPED, {"ids": ids})).all()  # another may have been first
    vault = vault_of(connection)
    return {row.referral_id: vault.key(row.referral_id, row.ring_key, row.wrapped) for row in rows}


async def data_key(connection: Connection, referral_id: UUID) -> DataKey:
    """The data key of one referral, as `data_keys` gives it."""
    return (await data_keys(connection, [referral_id]))[referral_id]


async def sealing_vault(connection: Connection) -> Vault:
    """The vault to make new data keys with. Raises `Unopenable` where the ring is not the one of this database.

    A ring that lacks a key which is in use, or holds another of the same name, would seal what the right one never
    opens. Looked at once for each ring: first use of a ring key is written down, and proves it from the next on.
    """
    vault, url = vault_of(connection), settings_of(connection).database_url
    ring = vault.ring()
    if url not in ring.proven and await check(connection):
        ring.proven.add(url)
    return vault


async def sealing_vault_at(database: Database, behalf: Behalf) -> Vault:
    """The same for what is stored by the driver alone; `behalf` is for the look at the ring keys, where there is one.

    Raises `Unopenable` as that does.
    """
    settings = database.settings
    vault = Vault(source_for(settings))
    if settings.database_url in vault.ring().proven:
        return vault
    async with database.transaction(behalf) as connection:
        return await sealing_vault(connection)


async def check(connection: Connection) -> bool:
    """Whether the current ring key is known to the database; it is from now on.

    Raises `Unopenable` where there is no ring, or it does not fit the ring keys that are in use.
    """
    ring = vault_of(connection).ring()
    known = {row.id: row.proof for row in await connection.execute(_RING_KEYS)}
    for id, proof in known.items():
        if id not in ring.ids:
            ring = vault_of(connection).ring(id)
        if not ring.fits(id, proof):
            raise Unopenable("the key ring lacks a key, or has a wrong one of its name", ring_key=id)
    if ring.current in known:
        return True
    await connection.execute(_USE, {"id": ring.current, "proof": ring.proof()})
    return False
