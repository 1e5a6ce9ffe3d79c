"""Dispatches whose clock a version before had lost are looked at again after the upgrade; the others are left alone."""

import os
from collections.abc import AsyncIterator

import asyncpg
import pytest
from pydantic import SecretStr

from app.db import Database
from app.referrals.timekeeper import look_again
from app.runtime.migrate import migrate
from app.settings import Settings
from tests.conftest import SECRET, _administer, _database

_BEFORE = """
    INSERT INTO reference_release (version, valid_from, digest) VALUES (0, '2020-01-01', 'x');
    INSERT INTO party (code, name, kind, territory, policy, release, can_refer)
    VALUES ('OLD', 'An old force', 'force', '{}', '{}', 0, true), ('LOST', 'Lost', 'agency', '{}', '{}', 0, false),
           ('LATE', 'Late', 'agency', '{}', '{}', 0, false),
           ('RUNS', 'Runs', 'agency', '{}', '{}', 0, false), ('ASKS', 'Asks', 'agency', '{}', '{}', 0, false);
    INSERT INTO referral (id, reference, originator, state, priority, crime_types, content, created_by, respond_by)
    VALUES (uuidv7(), 'GAIN-2020-000001', 'OLD', 'in_progress', 0, '{fraud}', '', 'k', now());
    INSERT INTO dispatch (id, referral_id, agency, state, priority, rule, release, reason, due_at, expires_at,
                          next_check_at, queried_at)
    SELECT uuidv7(), referral.id, given.agency, given.state, 0, 'named', 0, 'named', now() + due,
           now() + interval '1 day', now() + next, queried
      FROM referral, (VALUES ('LOST', 'queued', interval '-1 hour', NULL, NULL),
                             ('LATE', 'delivered', '-1 hour', '1 day', NULL),
                             ('RUNS', 'queued', interval '1 hour', interval '30 minutes', NULL),
                             ('ASKS', 'query', interval '-1 hour', NULL, now()))
                       AS given (agency, state, due, next, queried);
"""


@pytest.fixture
async def filled_before(postgres: str) -> AsyncIterator[str]:
    """The address of a database as the version before left it."""
    name = f"clock_{os.getpid()}"
    await _administer(postgres, f"CREATE DATABASE {name}")
    url = _database(postgres, name)
    await migrate(url, "0024")
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await connection.execute(_BEFORE)
    finally:
        await connection.close()
    yield url
    await _administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


async def test_a_clock_that_was_lost_goes_on(filled_before: str) -> None:
    """By the scheduler as it begins to lead: one of the version before, still running, would only lose it again."""
    await migrate(filled_before)
    database = Database(Settings(database_url=filled_before, secret=SecretStr(SECRET)))
    async with database.transaction() as connection:
        await look_again(connection)
    await database.close()
    connection = await asyncpg.connect(filled_before.replace("+asyncpg", ""))
    found = await connection.fetch("SELECT agency, next_check_at <= now() AS looks_now, clock_from FROM dispatch")
    await connection.close()
    assert {row["agency"]: row["looks_now"] for row in found} == {
        "LOST": True,
        "LATE": True,
        "RUNS": False,
        "ASKS": None,
    }
    assert {row["clock_from"] for row in found} == {None}
