"""Databases that are full: so many referrals, twenty dispatches each, made by the server from a series.

Indexes are dropped, made again after, and the tables analysed: ten million dispatches take some minutes and about 8 GB.
What is stored lies in the past and is spread over the agencies as the broker would have spread it.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import orjson
from uuid_utils.compat import uuid7

from app.crypto.sealing import Place
from app.crypto.source import source_for
from app.crypto.vault import Vault
from app.db import Database
from app.reporting.counters import reconcile
from benchmarks.measure import Effort
from benchmarks.referrals import AGENCIES, referral
from benchmarks.stage import Stage

_SLICE = 5_000


@dataclass(frozen=True, slots=True)
class Size:
    """How many referrals the large database holds, in a full, a quick and a `--large` run; one in `waits_in` waits."""

    full: int
    quick: int
    waits_in: int

    def of(self, effort: Effort) -> tuple[str, int, int]:
        """The arguments of `stocked`."""
        return "stock_large", effort.stored or effort.size(self.full, self.quick), self.waits_in


LARGE = Size(full=500_000, quick=10_000, waits_in=20)
"""Ten million dispatches; the twenty million of the target take twice the time and disk (`--stored 1000000`)."""

_REFERRALS = """
    WITH given AS MATERIALIZED (
        SELECT *, make_interval(secs => -86400 - n % 8640000) AS age
          FROM unnest($1::bigint[], $2::uuid[], $3::bytea[], $4::bytea[]) AS given (n, id, content, wrapped)
    ), keyed AS (
        INSERT INTO data_key (referral_id, ring_key, wrapped) SELECT id, $5, wrapped FROM given
    )
    INSERT INTO referral (id, reference, originator, region, state, priority, crime_types, addressees, content, sealed,
                          created_by, created_at, updated_at, respond_by, open_dispatches)
    SELECT id, 'GAIN-2025-' || lpad(n::text, 8, '0'), 'SWP', 'TARIAN',
           CASE WHEN n % $6 = 0 THEN 'in_progress' ELSE 'completed' END, 1 + n % 2, '{drug_trafficking}', $7, content,
           true, 'stock', now() + age, now() + age, now() + age + interval '14 days',
           CASE WHEN n % $6 = 0 THEN 20 ELSE 0 END
      FROM given
"""

_DISPATCHES = """
    INSERT INTO dispatch (id, referral_id, agency, state, priority, region, rule, release, reason, created_at, due_at,
                          expires_at, queued_at, delivered_at, answered_at, closed_at, outcome)
    SELECT uuidv7(), referral.id, agency, CASE WHEN waits THEN 'queued' ELSE 'answered' END, referral.priority,
           referral.region, 'named', 1, 'named by the originator', referral.created_at, now() + interval '14 days',
           now() + interval '21 days', referral.created_at, CASE WHEN NOT waits THEN referral.created_at END,
           CASE WHEN NOT waits THEN referral.created_at END, CASE WHEN NOT waits THEN referral.created_at END,
           CASE WHEN NOT waits THEN 'no_hit' END
      FROM referral CROSS JOIN unnest(referral.addressees) AS agency
     CROSS JOIN LATERAL (SELECT referral.state = 'in_progress') AS state (waits)
     WHERE referral.reference BETWEEN $1 AND $2
"""

_INDEXES = """
    SELECT indexdef, indexrelid::regclass::text AS name FROM pg_index
      JOIN pg_indexes ON indexname = (SELECT relname FROM pg_class WHERE oid = indexrelid)
     WHERE indrelid = ANY('{referral, dispatch}'::regclass[]) AND NOT indisprimary
       AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""


async def stocked(stage: Stage, name: str, referrals: int, one_waits_in: int) -> str:
    """The URL of a database with so many referrals, of which one in `one_waits_in` still waits at all its agencies.

    One that this run, or an earlier one in the same data directory, has made is used again.
    """
    began = time.monotonic()
    if await stage.holds(name, referrals):
        return stage.url(name)
    url = await stage.database(name)
    connection = await stage.connect(url)
    content, vault = orjson.dumps(referral(0)), Vault(source_for(stage.settings(url)))
    now = int(time.time())
    async with without_indexes(connection):
        for first in range(1, referrals + 1, _SLICE):
            last = min(first + _SLICE - 1, referrals)
            numbers = range(first, last + 1)
            rows = sealed(vault, numbers, [now - 86_400 - number % 8_640_000 for number in numbers], content)
            await connection.execute(_REFERRALS, *rows, vault.ring().current, one_waits_in, AGENCIES)
            await connection.execute(_DISPATCHES, f"GAIN-2025-{first:08d}", f"GAIN-2025-{last:08d}")
    await _settle(connection)
    await _count(stage, url)
    size = await connection.fetchval("SELECT pg_database_size(current_database())")
    await connection.close()
    stage.note(
        f"{name}: {referrals:,} referrals, {referrals * len(AGENCIES):,} dispatches, 1 in {one_waits_in} waiting, "
        f"{size / 2**30:.1f} GiB, made in {time.monotonic() - began:.0f} s."
    )
    return url


async def lay_open(stage: Stage, url: str) -> None:
    """Have a stocked database hold what the broker seals as it is, for a baseline that seals nothing."""
    connection = await stage.connect(url)
    await connection.execute("UPDATE referral SET content = $1, sealed = false", orjson.dumps(referral(0)))
    await _settle(connection)
    await connection.close()


@asynccontextmanager
async def without_indexes(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """A block that loads: no trigger looks at its rows, and the indexes of referrals and dispatches come after it."""
    # The superuser loads what refers only to what was loaded before: no key needs looking up.
    await connection.execute("SET session_replication_role = replica; SET synchronous_commit = off")
    await connection.execute("SET maintenance_work_mem = '512MB'")
    indexes = await connection.fetch(_INDEXES)
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['name']}")
    yield
    for index in indexes:
        await connection.execute(index["indexdef"])


def sealed(
    vault: Vault, numbers: Sequence[int], times: Sequence[float], content: bytes
) -> tuple[list[int], list[UUID], list[bytes], list[bytes]]:
    """Numbers, ids of these times, sealed contents and wrapped data keys, as the broker itself would store them."""
    ids = [uuid7(nanoseconds=int(moment * 10**9)) for moment in times]
    keys = [vault.new_key(id) for id in ids]
    contents = [made.key.seal(Place("referral", "content", id), content) for made, id in zip(keys, ids, strict=True)]
    return list(numbers), ids, contents, [made.wrapped for made in keys]


async def _count(stage: Stage, url: str) -> None:
    """The counters of the queues, which loading as a replica leaves as they were."""
    database = Database(stage.settings(url))
    async with database.transaction() as connection:
        await reconcile(connection)
    await database.close()


async def _settle(connection: asyncpg.Connection) -> None:
    """As a database is that has been running: visible everywhere, analysed, written out."""
    await connection.execute("VACUUM (ANALYZE) referral")
    await connection.execute("VACUUM (ANALYZE) dispatch")
    await connection.execute("VACUUM (ANALYZE) data_key")
    await connection.execute("CHECKPOINT")
