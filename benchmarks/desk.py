"""A database as the pages meet it after a year: a bounded backlog in every state, all before it finished, and counted.

Twenty-two dispatches a referral, made by the server from a series; contents, answers and digests of the open referrals
that pages are opened of are sealed as the broker seals them. Times are spread back from now: the backlog over three
weeks, so that a third of it is overdue, the rest over the year before.
"""

import time
from collections.abc import Sequence

import asyncpg
import orjson

from app.crypto.sealing import Place
from app.crypto.source import source_for
from app.crypto.vault import Vault, blind_index_for
from app.db import Database
from app.reporting import aggregates, counters
from app.runtime.migrate import prepare
from benchmarks import stock
from benchmarks.referrals import AGENCIES, ANSWER, referral
from benchmarks.stage import Stage

ASKED = [*AGENCIES, "EA", "SMARTWATER"]
"""Twenty-two addressees."""

SUBJECT = 0
"""The number (`benchmarks.referrals.referral`) of whom fifty referrals are about."""

_OPEN = 30_000
"""The backlog does not grow with what is stored."""

_READ = 2_000
"""So many of the newest referrals have answers and a timeline: those whose pages are opened."""

_SLICE = 5_000

_PLAIN = {"grading": ANSWER["grading"], "handling": ANSWER["handling"]}
_ANSWERS = {
    "hit": ANSWER,
    "no_hit": {"outcome": "no_hit", "summary": "Nothing is held.", "facts": [], **_PLAIN},
    "declined": {"outcome": "declined", "decline_reason": "no_lawful_gateway", "facts": [], **_PLAIN},
}

_REFERRALS = """
    WITH given AS MATERIALIZED (
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::bytea[], $4::bytea[]) AS given (n, id, content, wrapped)
    ), keyed AS (
        INSERT INTO data_key (referral_id, ring_key, wrapped) SELECT id, $5, wrapped FROM given
    ), force AS MATERIALIZED (
        SELECT code, region, row_number() OVER (ORDER BY code) - 1 AS turn, count(*) OVER () AS forces
          FROM party WHERE kind = 'force'
    )
    INSERT INTO referral (id, reference, originator, region, state, priority, crime_types, addressees, content, sealed,
                          created_by, created_at, updated_at, respond_by, open_dispatches)
    SELECT id, 'GAIN-2025-' || lpad(n::text, 8, '0'), force.code, force.region,
           CASE WHEN n <= $6 THEN 'completed' WHEN n % 150 = 0 THEN 'held' ELSE 'in_progress' END,
           CASE WHEN n % 50 = 0 THEN 0 WHEN n % 10 = 0 THEN 1 ELSE 2 END, '{drug_trafficking,modern_slavery}', $7,
           content, true, 'stock', made.at, made.at, made.at + interval '14 days', CASE WHEN n > $6 THEN 11 ELSE 0 END
      FROM given
      JOIN force ON force.turn = n % force.forces
     CROSS JOIN LATERAL (SELECT uuid_extract_timestamp(id) AS at) AS made
"""

# ruff: noqa: S608  the statements are made of constants of this file

_RUNS = "('queued', 'delivered', 'acknowledged')"

# A share of every state; where the time is up, an answer or none. The same share falls to each agency and region.
_DISPATCHES = f"""
    WITH asked AS (
        SELECT referral.*, agency, (hashint8(substr(reference, 11)::bigint * 32 + place) & 2147483647) % 100 AS share,
               created_at + CASE priority WHEN 0 THEN interval '2 days' ELSE interval '14 days' END AS due
          FROM referral CROSS JOIN unnest(addressees) WITH ORDINALITY AS asked (agency, place)
         WHERE reference BETWEEN $1 AND $2
    ), placed AS (
        SELECT asked.*, due + interval '7 days' AS ends,
               CASE WHEN state = 'held' THEN 'held'
                    WHEN state = 'completed' OR due + interval '7 days' < now() THEN
                         CASE WHEN share < 75 THEN 'answered' WHEN share < 82 THEN 'declined'
                              WHEN share < 95 THEN 'expired' WHEN share < 99 THEN 'cancelled' ELSE 'undeliverable' END
                    WHEN share < 45 THEN 'answered' WHEN share < 49 THEN 'declined' WHEN share < 50 THEN 'query'
                    WHEN share = 50 AND reference LIKE '%7' THEN 'held' WHEN share < 70 THEN 'queued'
                    WHEN share < 85 THEN 'delivered' ELSE 'acknowledged' END AS stands
          FROM asked
    ), timed AS (
        SELECT placed.*, least(now(), created_at + share * interval '3 hours') AS closed,
               stands IN {_RUNS} AS runs, stands IN {_RUNS} AND due < now() AS is_overdue
          FROM placed
    )
    INSERT INTO dispatch (id, referral_id, agency, state, priority, region, rule, release, reason, created_at, due_at,
                          expires_at, next_check_at, overdue_at, needs_release, queried_at, queued_at, delivered_at,
                          acknowledged_at, answered_at, closed_at, cancellation_seen_at, outcome, decline_reason,
                          failures)
    SELECT uuidv7(), id, agency, stands, priority, region, 'named', 1, 'named by the originator', created_at, due,
           ends, CASE WHEN is_overdue THEN ends WHEN runs THEN due END, CASE WHEN is_overdue THEN due END,
           stands = 'held' AND state <> 'held', CASE WHEN stands = 'query' THEN closed END,
           CASE WHEN stands <> 'held' THEN created_at END,
           CASE WHEN stands NOT IN ('held', 'queued') THEN created_at END,
           CASE WHEN stands IN ('acknowledged', 'answered') THEN created_at END,
           CASE WHEN stands IN ('answered', 'declined') THEN closed END,
           CASE WHEN stands NOT IN ('held', 'query') AND NOT runs THEN closed END,
           CASE WHEN stands = 'cancelled' THEN closed END,
           CASE WHEN stands = 'declined' THEN stands
                WHEN stands = 'answered' THEN CASE WHEN share % 5 = 0 THEN 'hit' ELSE 'no_hit' END END,
           CASE WHEN stands = 'declined' THEN 'no_lawful_gateway' END, CASE WHEN runs AND share = 84 THEN 2 ELSE 0 END
      FROM timed
"""

# What stands beside them: what waits for a decision, what was brought, who was heard of, the last day by hours.
_BESIDE = (
    """
    INSERT INTO alert (kind, dispatch_id, referral_id, agency, region, raised_at)
    SELECT (ARRAY['undeliverable', 'notice_failed', 'conflicting_answer', 'late_answer', 'expired'])[1 + number % 5],
           id, referral_id, agency, region, created_at
      FROM (SELECT * FROM dispatch
             WHERE referral_id IN (SELECT id FROM referral WHERE state = 'in_progress')
               AND state IN ('expired', 'undeliverable', 'answered')
             ORDER BY hashint8(number) LIMIT 3000) AS sample
    """,
    """
    INSERT INTO duplicate (id, earlier, earlier_reference, earlier_party, earlier_region, earlier_at, later,
                           later_reference, later_party, later_region, later_at, kinds)
    SELECT uuidv7(), earlier.id, earlier.reference, earlier.originator, earlier.region, earlier.created_at, later.id,
           later.reference, later.originator, later.region, later.created_at, '{person}'
      FROM (SELECT *, row_number() OVER (ORDER BY id) AS turn FROM referral WHERE state = 'in_progress') AS later
      JOIN (SELECT *, row_number() OVER (ORDER BY id) AS turn FROM referral WHERE state = 'in_progress') AS earlier
        ON earlier.turn = later.turn - 1 AND later.turn % 50 = 0 LIMIT 300
    """,
    """
    INSERT INTO referral_outcome (id, referral_id, originator, region, acted_on, disruption, arrests, charged,
                                  seized_pence, recorded_by)
    SELECT uuidv7(), id, originator, region, created_at::date + 7, 'minor', 2, 1, 125000, 'stock'
      FROM referral WHERE state = 'completed' AND reference LIKE '%3'
    """,
    """
    INSERT INTO report_hour (hour, agency, region, number)
    SELECT date_trunc('hour', now()) - hours * interval '1 hour', agency, region.code, 1 + hours % 5
      FROM generate_series(0, 23) AS hours CROSS JOIN unnest($1::text[]) AS agency
     CROSS JOIN (SELECT code FROM party WHERE kind = 'region') AS region
    """,
    "INSERT INTO agency_seen (agency, last_seen_at) SELECT unnest($1::text[]), now() ON CONFLICT DO NOTHING",
)

# Whoever else is looked for has digests of its own.
_DIGESTS = """
    INSERT INTO subject_index (referral_id, digest, kind)
    SELECT id, substr(sha256((id::text || turn)::bytea), 1, 16), CASE turn WHEN 0 THEN 'identifier' ELSE 'person' END
      FROM referral CROSS JOIN generate_series(0, 2) AS turn
"""
_FOUND = """
    INSERT INTO subject_index (referral_id, digest, kind)
    SELECT id, $2, $1 FROM (SELECT id, row_number() OVER (ORDER BY id DESC) AS turn FROM referral) AS newest
     WHERE turn % 20 = 0 AND turn <= 1000
"""
_TIMELINE = """
    INSERT INTO audit_event (at, operation, action, party, actor, referral_id, dispatch_id, detail)
    SELECT referral.created_at, 'alteration', done.action, dispatch.agency, 'stock', referral.id, dispatch.id, '{}'
      FROM (SELECT * FROM referral ORDER BY id DESC LIMIT $1) AS referral
      JOIN dispatch ON dispatch.referral_id = referral.id
     CROSS JOIN unnest('{dispatch.queued,dispatch.delivered}'::text[]) AS done (action)
     ORDER BY referral.id, dispatch.id
"""
_ANSWERED = """
    SELECT dispatch.id, dispatch.referral_id, agency, outcome, closed_at, ring_key, wrapped
      FROM (SELECT * FROM referral ORDER BY id DESC LIMIT $1) AS referral
      JOIN dispatch ON dispatch.referral_id = referral.id
      JOIN data_key ON data_key.referral_id = referral.id
     WHERE dispatch.outcome IS NOT NULL
"""
# As they would be heard of now, however long ago the database was made; two of them are silent.
_HEARD = """
    UPDATE agency_seen SET last_seen_at = now() - CASE WHEN agency IN ('NFCU', 'MHRA') THEN interval '1 day'
                                                       ELSE interval '1 minute' END
"""
_TABLES = "referral dispatch data_key subject_index response audit_event alert duplicate referral_outcome".split()


async def filled(stage: Stage, referrals: int) -> str:
    """The URL of the database `desk` with so many referrals: one that an earlier run has made, or a new one."""
    began = time.monotonic()
    url = stage.url("desk")
    if await stage.holds("desk", referrals):
        await prepare(url)
        await _as_of_now(stage, url)
        return url
    await stage.database("desk")
    connection = await stage.connect(url)
    async with stock.without_indexes(connection):
        await _fill(stage, connection, referrals)
    await connection.execute(_DIGESTS)
    await _read(stage, connection)
    for statement in _BESIDE:
        await connection.execute(statement, *([ASKED] if "$1" in statement else []))
    for table in _TABLES:
        await connection.execute(f"VACUUM (ANALYZE) {table}")
    await connection.execute("CHECKPOINT")
    size = await connection.fetchval("SELECT pg_database_size(current_database())")
    await connection.close()
    await _count(stage, url)
    await _as_of_now(stage, url)
    stage.note(
        f"desk: {referrals:,} referrals, {referrals * len(ASKED):,} dispatches, {backlog(referrals):,} open, "
        f"{size / 2**30:.1f} GiB, made in {time.monotonic() - began:.0f} s."
    )
    return url


def backlog(referrals: int) -> int:
    """How many of so many referrals are open."""
    return min(_OPEN, referrals // 2)


async def _fill(stage: Stage, connection: asyncpg.Connection, referrals: int) -> None:
    """The referrals, oldest first, and their dispatches."""
    vault = Vault(source_for(stage.settings(stage.url("desk"))))
    content, finished, now = orjson.dumps(referral(SUBJECT)), referrals - backlog(referrals), time.time()

    def moment(number: int) -> float:
        if number <= finished:
            return now - (22 + 343 * (1 - number / finished)) * 86_400
        return now - 20 * (1 - (number - finished) / (referrals - finished)) * 86_400 - 60

    for first in range(1, referrals + 1, _SLICE):
        last = min(first + _SLICE - 1, referrals)
        numbers = range(first, last + 1)
        sealed = stock.sealed(vault, numbers, [moment(number) for number in numbers], content)
        await connection.execute(_REFERRALS, *sealed, vault.ring().current, finished, ASKED)
        await connection.execute(_DISPATCHES, f"GAIN-2025-{first:08d}", f"GAIN-2025-{last:08d}")


async def _read(stage: Stage, connection: asyncpg.Connection) -> None:
    """What pages of single referrals show beside: answers, a timeline, the same subject."""
    await connection.execute(_TIMELINE, _READ)
    await answered(stage, connection)
    for blind in blind_index_for(stage.settings(stage.url("desk"))).of(referral(SUBJECT)["subject"]):
        await connection.execute(_FOUND, blind.kind, blind.digest)


async def answered(stage: Stage, connection: asyncpg.Connection) -> None:
    """The answers to the newest referrals."""
    vault = Vault(source_for(stage.settings(stage.url("desk"))))
    words = {outcome: orjson.dumps(answer) for outcome, answer in _ANSWERS.items()}
    rows: Sequence[asyncpg.Record] = await connection.fetch(_ANSWERED, _READ)
    records = []
    for row in rows:
        key = vault.key(row["referral_id"], row["ring_key"], row["wrapped"])
        content = key.seal(Place("response", "content", row["id"]), words[row["outcome"]])
        told = (row["id"], row["id"], row["referral_id"], row["agency"], row["outcome"], content, True, b"stock")
        records.append((*told, "stock", row["closed_at"]))
    columns = "id dispatch_id referral_id agency outcome content sealed sameness recorded_by recorded_at".split()
    await connection.copy_records_to_table("response", records=records, columns=columns)


async def _count(stage: Stage, url: str) -> None:
    """What triggers count as rows come, which loading as a replica leaves as it was."""
    database = Database(stage.settings(url))
    for reconcile in (counters.reconcile, aggregates.reconcile):
        async with database.transaction() as connection:
            await reconcile(connection)
    await aggregates.fold(database, 0)
    await database.close()


async def _as_of_now(stage: Stage, url: str) -> None:
    """What workers and scheduler, which do not run here, do all the while."""
    connection = await stage.connect(url)
    await connection.execute(_HEARD)
    await connection.close()
