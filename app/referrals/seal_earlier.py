"""Sealing what versions before this one stored open. Batch by batch, beside whatever runs; goes on where it was ended.

What is still open is marked so row by row, and indexed. A program of before that still runs stores open rows: they are
sealed by the next `gain migrate`. Once none is left and none such runs, the marks say nothing any more, and a later
version drops them with this module.
"""

from collections.abc import Awaitable, Callable

from sqlalchemy import text

from app.crypto.sealing import Place
from app.crypto.vault import blind_index_of, data_keys
from app.db import AS_OWNER, Connection, Database
from app.referrals.reasons import reason_of
from app.referrals.views import document

BATCH = 500
"""Rows a transaction: each holds its rows for some tens of milliseconds."""

_REFERRALS = text("""
    SELECT id, content, sealed, reason FROM referral WHERE NOT sealed OR reason IS NOT NULL
     ORDER BY id LIMIT :limit FOR NO KEY UPDATE
""")

_SEAL_REFERRALS = text("""
    UPDATE referral
       SET content = given.content, sealed = true, reason = NULL,
           sealed_reason = coalesce(given.reason, sealed_reason)
      FROM unnest(CAST(:ids AS uuid[]), CAST(:contents AS bytea[]), CAST(:reasons AS bytea[]))
           AS given (id, content, reason)
     WHERE referral.id = given.id
""")

_INDEX = text("""
    INSERT INTO subject_index (referral_id, digest, kind)
    SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:digests AS bytea[]), CAST(:kinds AS text[]))
    ON CONFLICT DO NOTHING
""")

_DISPATCHES = text("""
    SELECT id, referral_id, ended_because FROM dispatch WHERE state = 'cancelled' AND ended_because IS NOT NULL
     ORDER BY id LIMIT :limit FOR NO KEY UPDATE
""")

_SEAL_DISPATCHES = text("""
    UPDATE dispatch SET ended_because = NULL, sealed_reason = given.reason
      FROM unnest(CAST(:ids AS uuid[]), CAST(:reasons AS bytea[])) AS given (id, reason)
     WHERE dispatch.id = given.id
""")


async def seal_earlier(database: Database, told: Callable[[int], None]) -> int:
    """Seal all that lies open; `told` hears the number of rows after each batch. Raises `Unopenable` without a key."""
    done = 0
    for batch in (_seal_referrals, _of("response"), _of("message"), _seal_dispatches):
        while True:
            async with database.transaction(AS_OWNER) as connection:
                sealed = await batch(connection)
            if not sealed:
                break
            done += sealed
            told(done)
    return done


async def _seal_referrals(connection: Connection) -> int:
    rows = (await connection.execute(_REFERRALS, {"limit": BATCH})).all()
    if not rows:
        return 0
    keys = await data_keys(connection, [row.id for row in rows])
    parameters = {
        "ids": [row.id for row in rows],
        "contents": [
            row.content if row.sealed else keys[row.id].seal(Place("referral", "content", row.id), row.content)
            for row in rows
        ],
        "reasons": [
            row.reason and keys[row.id].seal(reason_of("referral", row.id), row.reason.encode()) for row in rows
        ],
    }
    await connection.execute(_SEAL_REFERRALS, parameters)
    index = blind_index_of(connection)
    found = [
        (row.id, blind)
        for row in rows
        if not row.sealed
        for blind in index.of(document(row.content).get("subject", {}))
    ]
    await connection.execute(
        _INDEX,
        {
            "ids": [id for id, _ in found],
            "digests": [blind.digest for _, blind in found],
            "kinds": [blind.kind for _, blind in found],
        },
    )
    return len(rows)


def _of(table: str) -> Callable[[Connection], Awaitable[int]]:
    """What seals a batch of responses or of messages."""
    find = text(
        f"SELECT id, referral_id, content FROM {table} WHERE NOT sealed ORDER BY id LIMIT :limit FOR NO KEY UPDATE"  # noqa: S608  one of two names of this file
    )
    write = text(
        f"UPDATE {table} SET content = given.content, sealed = true "  # noqa: S608
        "FROM unnest(CAST(:ids AS uuid[]), CAST(:contents AS bytea[])) AS given (id, content) "
        f"WHERE {table}.id = given.id"
    )

    async def seal(connection: Connection) -> int:
        rows = (await connection.execute(find, {"limit": BATCH})).all()
        if not rows:
            return 0
        keys = await data_keys(connection, {row.referral_id for row in rows})
        contents = [keys[row.referral_id].seal(Place(table, "content", row.id), row.content) for row in rows]
        await connection.execute(write, {"ids": [row.id for row in rows], "contents": contents})
        return len(rows)

    return seal


async def _seal_dispatches(connection: Connection) -> int:
    rows = (await connection.execute(_DISPATCHES, {"limit": BATCH})).all()
    if not rows:
        return 0
    keys = await data_keys(connection, {row.referral_id for row in rows})
    reasons = [keys[row.referral_id].seal(reason_of("dispatch", row.id), row.ended_because.encode()) for row in rows]
    await connection.execute(_SEAL_DISPATCHES, {"ids": [row.id for row in rows], "reasons": reasons})
    return len(rows)
