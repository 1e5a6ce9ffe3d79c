"""The second line: what PostgreSQL itself refuses, and that migrations give the schema that the program believes in."""

# ruff: noqa: S608  names of tables and columns cannot be parameters; none comes from outside

import itertools
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection as SyncConnection
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from app.db import Connection, Database
from app.referrals.states import DISPATCH_MOVES, REFERRAL_MOVES
from app.runtime.migrate import configuration as alembic_configuration
from app.schema import metadata
from tests.acts import change, dispatched, rows
from tests.conftest import Cast, Workers

MACHINES: dict[str, Mapping[Any, frozenset[Any]]] = {"referral": REFERRAL_MOVES, "dispatch": DISPATCH_MOVES}


CHECK_VIOLATION = "23514"


async def _moves(connection: Connection, table: str, row: UUID, before: str, after: str) -> bool:
    """Whether PostgreSQL lets this row go from one state to the other. Nothing is left of the try."""
    attempt = await connection.begin_nested()
    try:
        # As a replica would: the row is put into its first state without asking the trigger.
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(text(f"UPDATE {table} SET state = :to WHERE id = :id"), {"to": before, "id": row})
        await connection.execute(text("SET LOCAL session_replication_role = origin"))
        await connection.execute(text(f"UPDATE {table} SET state = :to WHERE id = :id"), {"to": after, "id": row})
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != CHECK_VIOLATION:
            raise
        return False
    finally:
        await attempt.rollback()
    return True


@pytest.mark.parametrize("table", MACHINES)
async def test_the_trigger_knows_exactly_the_moves_of_the_program(
    cast: Cast, workers: Workers, database: Database, table: str
) -> None:
    await dispatched(cast, workers, "HMRC")
    [row] = await rows(database, f"SELECT id FROM {table}")
    moves = MACHINES[table]
    allowed = set()
    async with database.transaction() as connection:
        for before, after in itertools.product(moves, moves):
            if await _moves(connection, table, row["id"], before, after):
                allowed.add((before, after))
    assert allowed == {(state, onward) for state in moves for onward in moves[state] | {state}}


@pytest.mark.parametrize("table", MACHINES)
async def test_no_unknown_state_is_stored(cast: Cast, workers: Workers, database: Database, table: str) -> None:
    await dispatched(cast, workers, "HMRC")
    async with database.engine.connect() as connection:
        await connection.execute(text("SET session_replication_role = replica"))
        with pytest.raises(DBAPIError):
            await connection.execute(text(f"UPDATE {table} SET state = 'lost'"))
        await connection.invalidate()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_event SET actor = 'nobody'",
        "UPDATE audit_event SET actor = actor WHERE false",
        "DELETE FROM audit_event",
        "TRUNCATE audit_event",
        "TRUNCATE referral CASCADE; TRUNCATE audit_event CASCADE",
        "INSERT INTO audit_event (id, operation, action, party, actor) VALUES (1, 'erasure', 'x', 'GAIN', 'x')",
        "INSERT INTO audit_event (operation, action, party, actor) VALUES ('guessing', 'x', 'GAIN', 'x')",
        "UPDATE party_revision SET document = '{}'",
        "DELETE FROM party_revision",
    ],
)
async def test_the_log_only_ever_grows(database: Database, statement: str) -> None:
    *before, last = statement.split(";")
    async with database.engine.connect() as connection:
        for part in before:
            await connection.execute(text(part))
        with pytest.raises(DBAPIError):
            await connection.execute(text(last))


@pytest.mark.parametrize(
    ("statement", "sqlstate"),
    [
        ("UPDATE dispatch SET referral_id = gen_random_uuid()", "23001"),
        ("UPDATE response SET dispatch_id = gen_random_uuid()", "23001"),
        ("UPDATE referral SET id = gen_random_uuid()", "23001"),
        ("UPDATE dispatch SET id = gen_random_uuid()", "23001"),
        ("DELETE FROM dispatch", "23503"),
        ("DELETE FROM submission; DELETE FROM referral", "23503"),
        (
            "INSERT INTO dispatch (id, referral_id, agency, state, priority, rule, release, reason, due_at, expires_at)"
            " SELECT gen_random_uuid(), gen_random_uuid(), 'EA', 'held', 2, 'x', 1, 'x', now(), now()",
            "23503",
        ),
        (
            "INSERT INTO response (id, dispatch_id, referral_id, agency, outcome, content, sameness, recorded_by)"
            " SELECT gen_random_uuid(), gen_random_uuid(), id, 'EA', 'no_hit', '', '', 'x' FROM referral",
            "23503",
        ),
    ],
)
async def test_no_dispatch_without_its_referral_and_no_response_without_its_dispatch(
    cast: Cast, workers: Workers, database: Database, statement: str, sqlstate: str
) -> None:
    """Triggers see to it for a whole statement, where a foreign key would for each row."""
    await dispatched(cast, workers, "HMRC")
    [item] = await rows(database, "SELECT id FROM dispatch")
    answer = {"outcome": "declined", "decline_reason": "capacity"}
    assert (await (await cast.play("HMRC")).post(f"/v1/inbox/{item['id']}/response", json=answer)).status_code == 201
    *before, last = statement.split(";")
    for part in before:
        await change(database, part)
    with pytest.raises(DBAPIError) as refusal:
        await change(database, last)
    assert getattr(refusal.value.orig, "sqlstate", None) == sqlstate


async def test_two_open_dispatches_to_one_agency_are_refused(cast: Cast, workers: Workers, database: Database) -> None:
    await dispatched(cast, workers, "HMRC")
    columns = await rows(
        database,
        "SELECT string_agg(column_name, ', ') AS names FROM information_schema.columns "
        "WHERE table_name = 'dispatch' AND column_name NOT IN ('id', 'number', 'round')",
    )
    names = columns[0]["names"]
    again = f"INSERT INTO dispatch (id, round, {names}) SELECT gen_random_uuid(), 2, {names} FROM dispatch"
    with pytest.raises(DBAPIError) as refusal:
        await change(database, again)
    assert getattr(refusal.value.orig, "sqlstate", None) == "23505"


def _differences(connection: SyncConnection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, metadata))


async def test_the_migrations_give_what_the_models_say(database: Database) -> None:
    async with database.engine.connect() as connection:
        assert await connection.run_sync(_differences) == []


_CATALOGUE = {
    "columns": """
        SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || udt_name || ' ' || is_nullable || ' ' ||
               coalesce(column_default, '-') || ' ' || is_identity || ' ' || coalesce(identity_generation, '-') AS line
          FROM information_schema.columns WHERE table_schema = 'public'
    """,
    "constraints": """
        SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) AS line
          FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    """,
    "indexes": "SELECT indexdef AS line FROM pg_indexes WHERE schemaname = 'public'",
}


@pytest.fixture
async def from_models(postgres: str) -> AsyncIterator[Connection]:
    """A connection to a database made of the models alone, in a schema of its own that is rolled back."""
    engine = create_async_engine(postgres, poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(metadata.create_all)
        yield connection
        await connection.rollback()
    await engine.dispose()


@pytest.mark.parametrize("kind", _CATALOGUE)
async def test_the_catalogue_is_the_same_from_migrations_and_from_models(
    database: Database, from_models: Connection, kind: str
) -> None:
    """What alembic does not compare: checks, partial indexes, identities."""
    query = text(_CATALOGUE[kind])
    modelled = {row.line for row in await from_models.execute(query)}
    async with database.transaction() as connection:
        migrated = {row.line for row in await connection.execute(query)}
    assert {line for line in migrated if "alembic_version" not in line} == modelled


def test_there_is_one_newest_revision_and_one_way_to_it() -> None:
    scripts = ScriptDirectory.from_config(alembic_configuration())
    assert len(scripts.get_heads()) == 1
    assert len(scripts.get_bases()) == 1
    assert [script.revision for script in scripts.walk_revisions()][-1] == scripts.get_base()
    assert not [script.revision for script in scripts.walk_revisions() if script.is_branch_point]


def test_migrations_go_forward_only() -> None:
    for script in ScriptDirectory.from_config(alembic_configuration()).walk_revisions():
        with pytest.raises(NotImplementedError):
            script.module.downgrade()
