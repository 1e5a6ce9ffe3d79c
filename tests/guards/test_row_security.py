"""The second wall: whatever a query asks for, PostgreSQL shows each party its own rows, and nobody's to nobody."""

# ruff: noqa: S608  names of tables and columns cannot be parameters; none comes from outside

import json
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.access.policy import Role
from app.access.principal import behalf_of
from app.db import AS_GATEWAY, Behalf, Connection, Database, act
from app.schema import metadata
from app.settings import Settings
from tests.acts import QUESTION, inbox, rows, submitted
from tests.conftest import HIT, Cast, Workers, referral
from tests.guards.walls import SEEN, UNSEEN, WALLED

NOT_ALLOWED = "42501"

WHO = {
    Role.ORIGINATOR: ("SWP", "MPS", "KNT"),
    Role.AGENCY: ("HMRC", "EA", "DVLA"),
    Role.COORDINATOR: ("TARIAN", "NERSOU"),
    Role.NATIONAL: ("GAIN",),
    Role.AUDITOR: ("GAIN",),
    Role.ADMINISTRATOR: ("GAIN",),
}
"""For each role parties with rows of their own, and one without any."""


def refused(error: DBAPIError) -> bool:
    """Whether PostgreSQL says that this role may not."""
    return getattr(error.orig, "sqlstate", None) == NOT_ALLOWED


async def selected(connection: Connection, table: str) -> list[tuple[Any, ...]]:
    """All that this connection sees of a table, by the columns that it may read; nothing where it may read none."""
    columns = [
        row.attname
        for row in await connection.execute(
            text("""
                SELECT attname FROM pg_attribute
                 WHERE attrelid = CAST(:table AS regclass) AND attnum > 0 AND NOT attisdropped
                   AND has_column_privilege(attrelid, attnum, 'SELECT')
                 ORDER BY attnum
            """),
            {"table": table},
        )
    ]
    if not columns:
        return []
    found = await connection.execute(text(f"SELECT {', '.join(columns)} FROM {table}"))
    return sorted((tuple(row) for row in found), key=repr)


async def expected(connection: Connection, table: str, names: str, role: Role, party: str) -> list[tuple[Any, ...]]:
    """The rows that this party should see, asked for by the owner."""
    condition = SEEN.get(table, {}).get(role)
    if condition is None:
        return []
    found = await connection.execute(text(f"SELECT {names} FROM {table} WHERE {condition}"), {"party": party})
    return sorted((tuple(row) for row in found), key=repr)


_DATED = """
    INSERT INTO retention (referral_id, mopi_group, release, closed_at, review_on)
    SELECT id, 1, 1, updated_at, current_date FROM referral
"""
_COVERED = """
    INSERT INTO cover (region, by_region, starts_on, ends_on, granted_party, granted_by)
    VALUES ('WMROCU', 'TITAN', current_date, current_date, 'WMROCU', 'x'),
           ('TARIAN', 'TITAN', current_date, current_date, 'TARIAN', 'x')
"""
_NOTED = """
    WITH note AS (
        INSERT INTO handover_note (party, content, written_party, written_by)
        VALUES ('TARIAN', '', 'TARIAN', 'x'), ('TITAN', '', 'TITAN', 'x') RETURNING id
    )
    INSERT INTO data_key (referral_id, ring_key, wrapped) SELECT id, 'x', '' FROM note
"""
_PEOPLE = """
    INSERT INTO account (id, party, username, name, roles)
    SELECT gen_random_uuid(), code, lower(code) || '@x.example', 'X', '{}' FROM party
     WHERE code IN ('SWP', 'HMRC', 'TARIAN', 'GAIN')
"""
_DRAFTS = """
    WITH begun AS (
        INSERT INTO draft (id, party, created_by, updated_by)
        SELECT gen_random_uuid(), code, 'x', 'x' FROM party WHERE code IN ('SWP', 'MPS') RETURNING id
    )
    INSERT INTO data_key (referral_id, ring_key, wrapped) SELECT id, 'x', '' FROM begun
"""
_AT_A_DESK = (
    """INSERT INTO assignment (dispatch_id, agency, account_id, assigned_by)
       SELECT dispatch.id, agency, account.id, 'x' FROM dispatch JOIN account ON account.party = agency""",
    """INSERT INTO answer_draft (dispatch_id, referral_id, agency, content, saved_by)
       SELECT id, referral_id, agency, '', 'x' FROM dispatch""",
    "INSERT INTO own_policy (agency, version, document, changed_by)"
    """ VALUES ('HMRC', 1, '{"working_days": [1]}', 'x')""",
)
_ON_HOLD = """
    INSERT INTO legal_hold (referral_id, party, set_by, sealed_reason) SELECT id, region, 'x', '' FROM referral
"""


_BY_MONTH = """
    INSERT INTO report_month (report, month, party, region, figure, detail, number)
    SELECT report, '2026-11-01', party, region, figure, detail, sum(number) FROM report_change
     GROUP BY report, party, region, figure, detail
"""
_BY_HOUR = """
    INSERT INTO report_hour (hour, agency, region, number)
    SELECT hour, party, region, number FROM report_change WHERE bucket IS NOT NULL
"""


@pytest.fixture
async def house(configuration: Settings) -> Any:
    """The gateway's own way to the database."""
    opened = Database(configuration)
    yield opened
    await opened.close()


_BATCHES = "/v1/referral-batches"


@pytest.fixture
async def busy(cast: Cast, workers: Workers, database: Database) -> None:
    """Two forces of two regions with one subject, two agencies, an answer and a second one as evidence, a question and
    its answer, and an outcome.
    """
    for force, agencies in (("SWP", ["HMRC", "EA"]), ("MPS", ["HMRC"])):
        client = await cast.play(force)
        made = await submitted(client, {"Idempotency-Key": f"of-{force}"}, addressees=agencies)
        await workers.run()
        hmrc = await cast.play("HMRC")
        for item in await inbox(hmrc):
            if item["referral"]["id"] != made["id"]:
                continue
            await hmrc.post(f"/v1/inbox/{item['id']}/response", json=QUESTION)
            sent = await client.post(
                f"/v1/referrals/{made['id']}/messages", json={"dispatch_id": item["id"], "text": "The first."}
            )
            assert sent.status_code == 200, sent.text
    ea = await cast.play("EA")
    [item] = await inbox(ea)
    assert (await ea.post(f"/v1/inbox/{item['id']}/response", json=HIT)).status_code == 201
    assert (await ea.post(f"/v1/inbox/{item['id']}/response", json={"outcome": "no_hit"})).status_code == 409
    for force in ("SWP", "MPS"):
        client, body = await cast.play(force), json.dumps(referral()).encode() + b"\n{}"
        batch = await client.post(_BATCHES, content=body, headers={"Content-Type": "application/x-ndjson"})
        assert batch.status_code == 202, batch.text
    [owner] = await rows(database, "SELECT referral_id AS id FROM dispatch WHERE id = :id", id=item["id"])
    outcome = {"acted_on": "2026-11-20", "arrests": 2, "summary": "Two.", "useful": [item["id"]]}
    swp = await cast.play("SWP")
    assert (await swp.post(f"/v1/referrals/{owner['id']}/outcome", json=outcome)).status_code == 200
    asked = {"recipient": "GMP", "reason": "They search there."}
    path = f"/v1/referrals/{owner['id']}/dispatches/{item['id']}/consents"
    assert (await swp.post(path, json=asked)).status_code == 201
    async with database.transaction() as connection:
        await connection.execute(
            text("INSERT INTO fan_out_try (referral_id, tries) SELECT id, 1 FROM referral ORDER BY id LIMIT 1")
        )
        for statement in (_DATED, _ON_HOLD, _PEOPLE, _COVERED, _NOTED, *_AT_A_DESK, _BY_MONTH, _BY_HOUR, _DRAFTS):
            await connection.execute(text(statement))


@pytest.mark.parametrize("role", Role)
async def test_who_selects_everything_gets_its_own_rows_only(
    busy: None, house: Database, database: Database, role: Role
) -> None:
    """The gateway's own connection, each principal, every table that is walled."""
    seen = 0
    for party in WHO[role]:
        for table in WALLED:
            async with house.transaction(behalf_of(role, [party])) as connection:
                found = await selected(connection, table)
            names = await _columns(house, behalf_of(role, [party]), table)
            async with database.transaction() as owner:
                wanted = await expected(owner, table, names, role, party) if names else []
            assert found == wanted, (table, party)
            seen += len(found)
    assert seen


async def _columns(house: Database, behalf: Behalf, table: str) -> str:
    async with house.transaction(behalf) as connection:
        return ", ".join(
            row.attname
            for row in await connection.execute(
                text("""
                    SELECT attname FROM pg_attribute
                     WHERE attrelid = CAST(:table AS regclass) AND attnum > 0 AND NOT attisdropped
                       AND has_column_privilege(attrelid, attnum, 'SELECT')
                     ORDER BY attnum
                """),
                {"table": table},
            )
        )


async def test_the_rows_that_are_walled_are_there_to_be_seen(busy: None, database: Database) -> None:
    """Else the test before this one shows nothing. Changes of inboxes are the gateway's alone."""
    for table in WALLED:
        assert await rows(database, f"SELECT 1 FROM {table}"), table
    for role, parties in ((Role.ORIGINATOR, ["KNT"]), (Role.AGENCY, ["DVLA"])):
        async with database.transaction(behalf_of(role, parties)) as connection:
            assert [table for table in UNSEEN if await selected(connection, table)] == []


async def test_without_a_principal_there_is_nothing(busy: None, house: Database) -> None:
    for table in metadata.tables:
        with pytest.raises(DBAPIError) as refusal:
            async with house.transaction() as connection:
                await connection.execute(text(f"SELECT FROM {table}"))
        assert refused(refusal.value), table


async def test_a_principal_without_a_party_sees_no_row(busy: None, house: Database) -> None:
    for role in (Role.ORIGINATOR, Role.AGENCY, Role.COORDINATOR):
        async with house.transaction(behalf_of(role, [])) as connection:
            assert [table for table in UNSEEN if await selected(connection, table)] == []


async def test_who_covers_a_region_reaches_its_rows_beside_its_own_and_writes_in_its_own_name(
    busy: None, house: Database
) -> None:
    covering = Behalf("gain_as_covering", ("NERSOU", "TARIAN"))
    async with house.transaction(covering) as connection:
        found = await connection.scalars(text("SELECT DISTINCT region FROM dispatch"))
        assert list(found) == ["TARIAN"]
        assert await connection.scalar(text("SELECT count(*) FROM handover_note")) == 1
        await connection.execute(text("UPDATE referral SET updated_at = now()"))
    event = text("INSERT INTO audit_event (operation, action, party, actor) VALUES ('alteration', 'x', 'TARIAN', 'x')")
    with pytest.raises(DBAPIError) as refusal:
        async with house.transaction(covering) as connection:
            await connection.execute(event)
    assert refused(refusal.value)


async def test_a_connection_given_back_forgets_whom_it_acted_for(busy: None, configuration: Settings) -> None:
    one = Database(configuration.model_copy(update={"database_pool": 1}))
    try:
        async with one.transaction(behalf_of(Role.NATIONAL, ["GAIN"])) as connection:
            assert await connection.scalar(text("SELECT count(*) FROM referral")) == 2
        with pytest.raises(DBAPIError) as refusal:
            async with one.transaction() as connection:
                await connection.execute(text("SELECT FROM referral"))
        assert refused(refusal.value)
        async with one.transaction(behalf_of(Role.ORIGINATOR, [])) as connection:
            assert await connection.scalar(text("SELECT count(*) FROM referral")) == 0
            assert not await connection.scalar(text("SELECT acting_for()"))
    finally:
        await one.close()


async def test_a_transaction_that_two_forces_share_reaches_the_rows_of_both_and_no_other(
    cast: Cast, house: Database, database: Database
) -> None:
    for force in ("SWP", "MPS", "KNT"):
        await submitted(await cast.play(force))
    [template] = await rows(database, "SELECT * FROM referral LIMIT 1")
    shared = behalf_of(Role.ORIGINATOR, ["SWP", "MPS"])
    insert = text("""
        INSERT INTO referral (id, reference, originator, state, priority, crime_types, content, created_by, respond_by)
        VALUES (:id, next_reference(), :originator, 'accepted', 2, '{}', '', 'x', now()) RETURNING originator
    """)
    async with house.transaction(shared) as connection:
        for force in ("SWP", "MPS"):
            assert await connection.scalar(insert, {"id": uuid4(), "originator": force}) == force
        found = await connection.scalars(text("SELECT originator FROM referral ORDER BY originator"))
        assert list(found) == ["MPS", "MPS", "SWP", "SWP"]
    with pytest.raises(DBAPIError) as refusal:
        async with house.transaction(shared) as connection:
            await connection.execute(insert, {"id": uuid4(), "originator": "KNT"})
    assert refused(refusal.value)
    assert template["originator"] in {"SWP", "MPS", "KNT"}


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO response (id, dispatch_id, referral_id, agency, outcome, content, sameness, recorded_by)"
        " SELECT gen_random_uuid(), :dispatch, :referral, 'DVLA', 'no_hit', '', '', 'x'",
        "INSERT INTO audit_event (operation, action, party, actor) VALUES ('erasure', 'x', 'HMRC', 'x')",
        "UPDATE dispatch SET priority = 0",
        "UPDATE referral SET content = ''",
        "DELETE FROM dispatch",
        "SELECT addressees FROM referral",
        "SELECT FROM api_key",
        "INSERT INTO queue_count SELECT * FROM queue_count",
        "SELECT FROM backlog(1)",
    ],
)
async def test_an_agency_may_not(busy: None, house: Database, database: Database, statement: str) -> None:
    """Not even for its own: answer what it was not sent, write the log for another, change what it was asked."""
    [found] = await rows(database, "SELECT id, referral_id FROM dispatch WHERE agency = 'EA'")
    query = text(statement)
    given = {"dispatch": found["id"], "referral": found["referral_id"]}
    given = {name: given[name] for name in query.compile().params}
    with pytest.raises(DBAPIError) as refusal:
        async with house.transaction(behalf_of(Role.AGENCY, ["DVLA"])) as connection:
            await connection.execute(query, given)
    assert refused(refusal.value), refusal.value


async def test_a_stranger_changes_nothing(busy: None, house: Database) -> None:
    for role, party in ((Role.ORIGINATOR, "KNT"), (Role.AGENCY, "DVLA"), (Role.COORDINATOR, "NERSOU")):
        async with house.transaction(behalf_of(role, [party])) as connection:
            for statement in (
                "UPDATE referral SET state = 'completed'",
                "UPDATE dispatch SET closed_at = now()",
                "UPDATE alert SET settled_at = now()",
            ):
                assert (await connection.execute(text(statement))).rowcount == 0


async def test_one_transaction_acts_for_one_after_another(busy: None, house: Database) -> None:
    """As the look of all live pages does: housekeeping first, then each region's."""
    async with house.transaction(AS_GATEWAY) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM api_key"))
        await act(connection, behalf_of(Role.COORDINATOR, ["TARIAN"]))
        assert await connection.scalar(text("SELECT count(*) FROM referral")) == 1
        with pytest.raises(DBAPIError):
            await connection.scalar(text("SELECT count(*) FROM api_key"))
