"""Rotation: all data keys wrapped under the current ring key, batch by batch, while everything runs.

Its only state is which ring key each data key lies under, so that one that was killed is gone on with by starting it
again. Content is not touched: the data keys stay what they are.
"""

from collections import Counter
from collections.abc import Callable

from sqlalchemy import text

from app.crypto.vault import check, vault_of
from app.db import AS_OWNER, Connection, Database

BATCH = 1_000

_COUNT = text("SELECT ring_key, count(*) AS number FROM data_key GROUP BY ring_key")

_TAKE = text("""
    SELECT referral_id, ring_key, wrapped FROM data_key
     WHERE referral_id > CAST(:after AS uuid) AND ring_key <> :current
     ORDER BY referral_id LIMIT :limit FOR NO KEY UPDATE
""")

_WRAP = text("""
    UPDATE data_key SET ring_key = :current, wrapped = given.wrapped
      FROM unnest(CAST(:ids AS uuid[]), CAST(:wrapped AS bytea[])) AS given (referral_id, wrapped)
     WHERE data_key.referral_id = given.referral_id
""")

_BEFORE_ALL = "00000000-0000-0000-0000-000000000000"


async def usage(connection: Connection) -> Counter[str]:
    """How many data keys lie under each ring key."""
    return Counter({row.ring_key: row.number for row in await connection.execute(_COUNT)})


async def forget(connection: Connection, id: str) -> int:
    """Forget a ring key that nothing lies under; returns how many data keys lie under it, and forgets none then.

    Whoever is just storing a referral is waited for: it may be under this key.
    """
    await connection.execute(text("LOCK TABLE data_key IN SHARE MODE"))
    number = (await usage(connection))[id]
    if not number:
        await connection.execute(text("DELETE FROM ring_key WHERE id = :id"), {"id": id})
    return number


async def wrap_all(database: Database, current: str, told: Callable[[int], None]) -> int:
    """Wrap under the `current` ring key what lies under any other; `told` hears the number so far after each batch.

    Returns how many there were. Raises `Unopenable` where the ring lacks a key that is in use.
    """
    async with database.transaction(AS_OWNER) as connection:
        ring = vault_of(connection).ring(current)
        await check(connection)
    after, done = _BEFORE_ALL, 0
    while True:
        async with database.transaction(AS_OWNER) as connection:
            parameters = {"after": after, "current": current, "limit": BATCH}
            rows = (await connection.execute(_TAKE, parameters)).all()
            if not rows:
                return done
            wrapped = [
                ring.wrap(row.referral_id, ring.unwrap(row.ring_key, row.referral_id, row.wrapped)) for row in rows
            ]
            ids = [row.referral_id for row in rows]
            await connection.execute(_WRAP, {"ids": ids, "wrapped": wrapped, "current": current})
        after = rows[-1].referral_id
        done += len(rows)
        told(done)
