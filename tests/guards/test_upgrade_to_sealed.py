"""A database that a version without encryption filled is brought to this one, and what lay open in it is sealed."""

import os
from collections.abc import AsyncIterator

import asyncpg
import pytest
from pydantic import SecretStr

from app.db import Database
from app.runtime.migrate import migrate, prepare, seal
from app.runtime.refusal import StartRefused
from app.settings import Settings
from tests.acts import opened
from tests.conftest import RING, SECRET, _administer, _database

WORD = "Zzyxquill7"

_BEFORE = f"""
    INSERT INTO reference_release (version, valid_from, digest) VALUES (0, '2020-01-01', 'x');
    INSERT INTO party (code, name, kind, territory, policy, release, can_refer)
    VALUES ('OLD', 'An old force', 'force', '{{}}', '{{}}', 0, true),
           ('BODY', 'A body', 'agency', '{{}}', '{{}}', 0, false);
    INSERT INTO referral (id, reference, originator, state, priority, crime_types, content, created_by, respond_by,
                          reason)
    SELECT uuidv7(), 'GAIN-2020-' || n, 'OLD', 'cancelled', 2, '{{fraud}}',
           convert_to('{{"purpose": "{WORD} ' || n || '", "subject": {{"identifiers": [{{"type": "passport", '
                      '"value": "' || n || '"}}]}}}}', 'UTF8'), 'k', now(), '{WORD} reason'
      FROM generate_series(1, 1200) AS n;
    INSERT INTO dispatch (id, referral_id, agency, state, priority, rule, release, reason, due_at, expires_at,
                          closed_at, ended_because)
    SELECT uuidv7(), id, 'BODY', 'cancelled', 2, 'named', 0, 'named', now(), now(), now(), '{WORD} cancelled'
      FROM referral LIMIT 700;
    INSERT INTO response (id, dispatch_id, referral_id, agency, outcome, content, sameness, flag, recorded_by)
    SELECT uuidv7(), id, referral_id, 'BODY', 'no_hit', convert_to('{{"summary": "{WORD}"}}', 'UTF8'), 's', 'late', 'k'
      FROM dispatch;
    INSERT INTO message (id, dispatch_id, referral_id, sender, content, sent_by)
    SELECT uuidv7(), id, referral_id, 'OLD', convert_to('{{"text": "{WORD}"}}', 'UTF8'), 'k' FROM dispatch;
"""  # noqa: S608  all of it is of this file

_OPEN = f"""
    SELECT count(*) FROM (
        SELECT CAST(t AS text) AS row FROM referral AS t
         UNION ALL SELECT CAST(t AS text) FROM response AS t
         UNION ALL SELECT CAST(t AS text) FROM message AS t
         UNION ALL SELECT CAST(t AS text) FROM dispatch AS t) AS every
     WHERE row LIKE '%{WORD}%' OR row LIKE '%{WORD.encode().hex()}%'
"""  # noqa: S608


@pytest.fixture
async def filled_before(postgres: str) -> AsyncIterator[Settings]:
    """The settings for a database as the version before left it."""
    name = f"before_{os.getpid()}"
    await _administer(postgres, f"CREATE DATABASE {name}")
    url = _database(postgres, name)
    await migrate(url, "0006")
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    await connection.execute(_BEFORE)
    await connection.close()
    yield Settings(database_url=url, secret=SecretStr(SECRET), key_ring=SecretStr(RING))
    await _administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


async def test_it_is_migrated_and_sealed(filled_before: Settings) -> None:
    url = filled_before.database_url
    await prepare(url)
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    assert await connection.fetchval(_OPEN) == 1200 + 3 * 700
    with pytest.raises(StartRefused, match="key ring"):
        await seal(filled_before.model_copy(update={"key_ring": SecretStr("")}), lambda done: None)
    told: list[int] = []
    assert await seal(filled_before, told.append) == 1200 + 3 * 700 == told[-1]
    assert len(told) == 3 + 3 * 2
    assert await connection.fetchval(_OPEN) == 0
    assert await connection.fetchval("SELECT count(*) FROM data_key") == 1200
    assert await connection.fetchval("SELECT count(*) FROM subject_index") == 1200
    await connection.close()
    database = Database(filled_before)
    assert {one["purpose"] for one in (await opened(database)).values()} == {f"{WORD} {n}" for n in range(1, 1201)}
    await database.close()
    assert await seal(filled_before, told.append) == 0
