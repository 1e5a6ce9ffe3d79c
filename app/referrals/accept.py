"""Accepting referrals: a list of submissions in, receipts out, one statement, one commit. One is a list of one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import text

from app.audit.record import Actor
from app.crypto.blind_index import BlindIndex
from app.crypto.sealing import Place
from app.crypto.vault import Vault, blind_index_of, sealing_vault
from app.db import Connection, Numbered
from app.referrals.views import document

_STATEMENT = """
    WITH limited AS MATERIALIZED (
        SELECT {settings}
    ), offered AS (
        SELECT offered.* FROM limited CROSS JOIN unnest(
            CAST(:ids AS uuid[]), CAST(:originators AS text[]), CAST(:regions AS text[]),
            CAST(:priorities AS smallint[]), CAST(:crime_types AS text[]), CAST(:addressees AS text[]),
            CAST(:contents AS bytea[]), CAST(:respond_bys AS timestamptz[]), CAST(:keys AS bytea[]),
            CAST(:samenesses AS bytea[]), CAST(:actors AS text[]), CAST(:requests AS text[]),
            CAST(:ring_keys AS text[]), CAST(:wrapped AS bytea[])
        ) AS offered (id, originator, region, priority, crime_types, addressees, content, respond_by, key, sameness,
                      actor, request_id, ring_key, wrapped)
    ), keyed AS (
        INSERT INTO submission (party, key, sameness, referral_id)
        SELECT originator, key, sameness, id FROM offered WHERE key IS NOT NULL ORDER BY originator, key
        ON CONFLICT (party, key) DO NOTHING
        RETURNING referral_id
    ), accepted AS (
        INSERT INTO referral (id, reference, originator, region, state, priority, crime_types, addressees, content,
                              sealed, created_by, respond_by)
        SELECT id, next_reference(), originator, region, 'accepted', priority, string_to_array(crime_types, ','),
               string_to_array(addressees, ','), content, true, actor, respond_by
          FROM offered
         WHERE key IS NULL OR id IN (SELECT referral_id FROM keyed)
         ORDER BY id
        ON CONFLICT (id) DO NOTHING
        RETURNING id, reference, created_at
    ), keyring AS (
        INSERT INTO data_key (referral_id, ring_key, wrapped)
        SELECT id, ring_key, wrapped FROM offered JOIN accepted USING (id)
    ), indexed AS (
        INSERT INTO subject_index (referral_id, digest, kind)
        SELECT accepted.id, blind.digest, blind.kind
          FROM unnest(CAST(:subjects AS uuid[]), CAST(:digests AS bytea[]), CAST(:kinds AS text[]))
               AS blind (id, digest, kind)
          JOIN accepted ON accepted.id = blind.id
    ), logged AS (
        INSERT INTO audit_event (operation, action, party, actor, request_id, referral_id)
        SELECT 'collection', 'referral.accepted', originator, actor, request_id, id
          FROM offered JOIN accepted USING (id)
    )
    SELECT id, reference, created_at FROM accepted
"""
_LIMIT = "set_config('lock_timeout', :patience, true)"
_ACCEPT = text(_STATEMENT.format(settings=_LIMIT))
PATIENCE, LITTLE_PATIENCE = "700ms", "20ms"
"""How long a twin's commit is waited for, which holds a request's key in another transaction; little where others wait
behind. Twice the former, for a shared transaction and then one's own, is less than a request waits at all."""

# Nothing is inserted, and no condition on rows looked at, before `offered` gives its first row, which is after this.
_PARTIES = "set_config('gain.parties', CAST(CAST(:parties AS text[]) AS text), false)"
_ACCEPT_AT_ONCE = Numbered.of(_STATEMENT.format(settings=f"{_LIMIT}, {_PARTIES}"))

_EARLIER_TEXT = """
    SELECT offered.id AS offered_id, submission.referral_id, submission.sameness
      FROM unnest(CAST(:ids AS uuid[]), CAST(:parties AS text[]), CAST(:keys AS bytea[])) AS offered (id, party, key)
      JOIN submission ON submission.party = offered.party AND submission.key = offered.key
"""
_EARLIER = text(_EARLIER_TEXT)
_EARLIER_NUMBERED = Numbered.of(_EARLIER_TEXT)


_DISPOSED = b""
"""The sameness of a submission whose referral was disposed of (app.retention.disposal)."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One referral to accept. `id` is made before the transaction: a retry is the same referral.

    `key` is a keyed hash of the `Idempotency-Key`, None without one; `sameness` is the meaning of the body.
    `region` is the originator's region, None for a national body; `content` is the validated document in JSON, not yet
    sealed.
    """

    id: UUID
    actor: Actor
    region: str | None
    priority: int
    crime_types: Sequence[str]
    addressees: Sequence[str] | None
    content: bytes
    respond_by: datetime
    key: bytes | None = None
    sameness: bytes | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a submission: the referral it made, or the one its key stood for already.

    `reference` and `created_at` are those of a referral made now, None for one that was there before. `conflict` says
    that the key stands for a body of another meaning, `disposed` that what it stood for is gone.
    """

    referral_id: UUID
    reference: str | None = None
    created_at: datetime | None = None
    replayed: bool = False
    conflict: bool = False
    disposed: bool = False


async def accept(connection: Connection, submissions: Sequence[Submission]) -> list[Receipt]:
    """Seal and store the submissions with their log entries in the caller's transaction; receipts in the same order.

    Raises `Unopenable` where there is no key to seal with.

    The originator of each is its actor's party. Two submissions with the same party and key in one call: the first
    counts, the other is its repetition, as if it had come a moment later.
    """
    items = _first_of_each_key(submissions)
    vault = await sealing_vault(connection)
    given = columns(items, vault, blind_index_of(connection)) | {"patience": PATIENCE}
    rows = await connection.execute(_ACCEPT, given)
    receipts = {row.id: Receipt(row.id, row.reference, row.created_at) for row in rows}
    repeated = [item for item in submissions if item.id not in receipts]
    if repeated:
        receipts |= await _earlier(connection, repeated)
    return [receipts[item.id] for item in submissions]


async def accept_at_once(
    driver: asyncpg.Connection,
    vault: Vault,
    index: BlindIndex,
    submissions: Sequence[Submission],
    patience: str = PATIENCE,
) -> list[Receipt]:
    """The same in a transaction of its own, by one round trip: committed when this returns.

    `driver` acts as originators do, and from here on for the parties of these. Raises the driver's own errors:
    `LockNotAvailableError` where a twin's commit took longer than `patience`.
    """
    items = _first_of_each_key(submissions)
    parties = sorted({item.actor.party for item in items})
    given = columns(items, vault, index) | {"parties": parties, "patience": patience}
    receipts = {row[0]: Receipt(*row) for row in await _ACCEPT_AT_ONCE.fetch(driver, given)}
    repeated = [item for item in submissions if item.id not in receipts]
    if repeated:
        receipts |= _told_of(repeated, await _EARLIER_NUMBERED.fetch(driver, _keys_of(repeated)))
    return [receipts[item.id] for item in submissions]


async def earlier(connection: Connection, submission: Submission) -> Receipt | None:
    """The receipt of what its key stands for already; None where nothing was stored under it, or it has no key."""
    if submission.key is None:
        return None
    receipt = (await _earlier(connection, [submission]))[submission.id]
    return receipt if receipt.replayed else None


def _first_of_each_key(submissions: Sequence[Submission]) -> list[Submission]:
    seen: set[tuple[str, bytes]] = set()
    first = []
    for item in submissions:
        if item.key is not None:
            if (item.actor.party, item.key) in seen:
                continue
            seen.add((item.actor.party, item.key))
        first.append(item)
    return first


def columns(items: Sequence[Submission], vault: Vault, index: BlindIndex) -> dict[str, Any]:
    """What the accepting statement is given, sealed. Raises `Unopenable`."""
    return _columns(items) | sealed(vault, items) | indexed(index, items)


def _columns(items: Sequence[Submission]) -> dict[str, list[Any]]:
    return {
        "ids": [item.id for item in items],
        "originators": [item.actor.party for item in items],
        "regions": [item.region for item in items],
        "priorities": [item.priority for item in items],
        "crime_types": [",".join(item.crime_types) for item in items],
        "addressees": [None if item.addressees is None else ",".join(item.addressees) for item in items],
        "respond_bys": [item.respond_by for item in items],
        "keys": [item.key for item in items],
        "samenesses": [item.sameness for item in items],
        "actors": [item.actor.name for item in items],
        "requests": [item.actor.request_id for item in items],
    }


def sealed(vault: Vault, items: Sequence[Submission]) -> dict[str, list[Any]]:
    """The columns of what is sealed, each referral under a new data key of its own. Raises `Unopenable`."""
    keys = [vault.new_key(item.id) for item in items]
    return {
        "contents": [
            made.key.seal(Place("referral", "content", item.id), item.content)
            for made, item in zip(keys, items, strict=True)
        ],
        "ring_keys": [made.ring_key for made in keys],
        "wrapped": [made.wrapped for made in keys],
    }


def indexed(index: BlindIndex, items: Sequence[Submission]) -> dict[str, list[Any]]:
    """The columns of the blind index: a row for each compound of each subject."""
    rows = [(item.id, blind) for item in items for blind in index.of(document(item.content).get("subject", {}))]
    return {
        "subjects": [id for id, _ in rows],
        "digests": [blind.digest for _, blind in rows],
        "kinds": [blind.kind for _, blind in rows],
    }


async def _earlier(connection: Connection, items: Sequence[Submission]) -> dict[UUID, Receipt]:
    """The receipts of submissions that were not stored now: stored before under their key, or (a retry) their id."""
    return _told_of(items, (await connection.execute(_EARLIER, _keys_of(items))).all())


def _keys_of(items: Sequence[Submission]) -> dict[str, list[Any]]:
    return {
        "ids": [item.id for item in items],
        "parties": [item.actor.party for item in items],
        "keys": [item.key for item in items],
    }


def _told_of(items: Sequence[Submission], rows: Iterable[Sequence[Any]]) -> dict[UUID, Receipt]:
    """The receipts that the rows of `_EARLIER` tell of."""
    found = {offered_id: (referral_id, sameness) for offered_id, referral_id, sameness in rows}
    receipts = {}
    for item in items:
        referral_id, sameness = found.get(item.id, (item.id, None))
        if referral_id == item.id:
            receipts[item.id] = Receipt(item.id)
        else:
            receipts[item.id] = Receipt(
                referral_id,
                replayed=True,
                conflict=sameness not in (item.sameness, _DISPOSED),
                disposed=sameness == _DISPOSED,
            )
    return receipts
