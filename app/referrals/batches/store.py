"""What an upload writes: a batch opened, its rows as they come, and its end. Each verb is one short transaction's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text

from app.audit.record import Actor, Event, Operation, record
from app.crypto.sealing import DataKey, Place
from app.crypto.vault import sealing_vault
from app.db import Connection
from app.referrals.batches.check import Refused, Sound
from app.referrals.batches.models import Format

SILENT_SECONDS = 60.0
"""An upload from which nothing was stored for so long was cut off; whatever still comes of it is refused."""

_OPEN = text("""
    INSERT INTO batch (id, party, region, format, key, created_by, request_id)
    VALUES (:id, :party, :region, :format, :key, :actor, :request_id)
    ON CONFLICT (party, key) WHERE key IS NOT NULL DO NOTHING
    RETURNING id
""")

_KEEP_KEY = text("INSERT INTO data_key (referral_id, ring_key, wrapped) VALUES (:id, :ring_key, :wrapped)")

_FIND = text("""
    SELECT id, state, sameness, touched_at < now() - make_interval(secs => CAST(:silent AS double precision)) AS silent
      FROM batch WHERE party = :party AND key = :key
""")

_ADD = text("""
    WITH open AS (
        UPDATE batch SET total = total + :total, rejected = rejected + :rejected, touched_at = clock_timestamp()
         WHERE id = :id AND state = 'receiving'
        RETURNING id
    ), stored AS (
        INSERT INTO batch_row (batch_id, priority, number, referral_id, key, sameness, content)
        SELECT open.id, given.*
          FROM open CROSS JOIN unnest(CAST(:priorities AS smallint[]), CAST(:numbers AS integer[]),
                                      CAST(:referrals AS uuid[]), CAST(:keys AS bytea[]),
                                      CAST(:samenesses AS bytea[]), CAST(:contents AS bytea[])) AS given
    ), told AS (
        INSERT INTO batch_error (batch_id, number, kind, faults)
        SELECT open.id, given.*
          FROM open CROSS JOIN unnest(CAST(:refused AS integer[]), CAST(:kinds AS text[]),
                                      CAST(:faults AS jsonb[])) AS given
    )
    SELECT id FROM open
""")

_CLOSE = text("""
    UPDATE batch SET state = 'accepting', sameness = :sameness, received_at = now(), touched_at = clock_timestamp()
     WHERE id = :id AND state = 'receiving'
    RETURNING total, rejected
""")

_GIVE_UP = text("""
    WITH given_up AS (
        UPDATE batch SET state = 'incomplete', key = NULL WHERE id = :id AND state = 'receiving' RETURNING id
    )
    DELETE FROM batch_row WHERE batch_id IN (SELECT id FROM given_up)
""")


@dataclass(frozen=True, slots=True)
class New:
    """A batch to open: its id, made beforehand, whose it is, and the keyed hash of its `Idempotency-Key`, if any."""

    id: UUID
    actor: Actor
    region: str | None
    format: Format
    key: bytes | None


@dataclass(frozen=True, slots=True)
class Standing:
    """The batch that a key stands for already. `silent`: it is being received, and nothing came for a minute."""

    id: UUID
    state: str
    sameness: bytes | None
    silent: bool


async def open_batch(connection: Connection, new: New) -> DataKey | None:
    """The data key of a batch just opened; None where its key stands for one already. Raises `Unopenable`."""
    opened = await connection.scalar(
        _OPEN,
        {
            "id": new.id,
            "party": new.actor.party,
            "region": new.region,
            "format": new.format.value,
            "key": new.key,
            "actor": new.actor.name,
            "request_id": new.actor.request_id,
        },
    )
    if opened is None:
        return None
    made = (await sealing_vault(connection)).new_key(new.id)
    await connection.execute(_KEEP_KEY, {"id": new.id, "ring_key": made.ring_key, "wrapped": made.wrapped})
    return made.key


async def standing(connection: Connection, party: str, key: bytes) -> Standing | None:
    """The batch that this key of this party stands for."""
    row = (await connection.execute(_FIND, {"party": party, "key": key, "silent": SILENT_SECONDS})).one_or_none()
    return None if row is None else Standing(row.id, row.state, row.sameness, row.silent)


async def add(
    connection: Connection, batch_id: UUID, key: DataKey, sound: Sequence[Sound], refused: Sequence[Refused]
) -> bool:
    """Seal and store rows, and what was wrong with others; False where the batch has been given up meanwhile."""
    parameters: dict[str, Any] = {
        "id": batch_id,
        "total": len(sound) + len(refused),
        "rejected": len(refused),
        "priorities": [row.priority for row in sound],
        "numbers": [row.number for row in sound],
        "referrals": [row.referral_id for row in sound],
        "keys": [row.key for row in sound],
        "samenesses": [row.sameness for row in sound],
        "contents": [key.seal(place_of(row.referral_id), row.content) for row in sound],
        "refused": [row.number for row in refused],
        "kinds": [row.kind for row in refused],
        "faults": [orjson.dumps(row.faults).decode() for row in refused],
    }
    return await connection.scalar(_ADD, parameters) is not None


def place_of(referral_id: UUID) -> Place:
    """Where a row's content is kept, for sealing: bound to the referral that it will be."""
    return Place("batch_row", "content", referral_id)


async def close(connection: Connection, batch_id: UUID, actor: Actor, sameness: bytes) -> bool:
    """All of it was received: workers accept it from now on. False where the batch has been given up meanwhile."""
    row = (await connection.execute(_CLOSE, {"id": batch_id, "sameness": sameness})).one_or_none()
    if row is None:
        return False
    detail = {"batch": str(batch_id), "rows": row.total, "rejected": row.rejected}
    await record(connection, actor, [Event(Operation.COLLECTION, "batch.received", detail=detail)])
    return True


async def log_markings(connection: Connection, actor: Actor, batch_id: UUID, number: int) -> None:
    """So many rows bore a marking above OFFICIAL-SENSITIVE; nothing of them was kept."""
    detail = {"batch": str(batch_id), "rows": number}
    await record(connection, actor, [Event(Operation.COLLECTION, "referral.refused_marking", detail=detail)])


async def give_up(connection: Connection, batch_id: UUID) -> None:
    """It was cut off: its rows go at once, its data key with the next sweep; its `Idempotency-Key` is free again."""
    await connection.execute(_GIVE_UP, {"id": batch_id})
