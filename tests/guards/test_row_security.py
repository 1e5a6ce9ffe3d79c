"""The second wall: whatever a query asks for, PostgreSQL shows each party its own rows, and nobody's to nobody."""

# ruff: noqa: S608  names of tables and columns cannot be parameters; none comes from outside

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from app.access.policy import Role
from app.access.principal import behalf_of
from app.db import AS_GATEWAY, AS_WORKER, Behalf, Connection, Database, act
from app.runtime.migrate import migrate, prepare
from app.runtime.refusal import StartRefused
from app.runtime.roles import ACTED, COORDINATOR, COVERING, LOGINS, WORKER, missing, verifier
from app.runtime.wall import complaints
from app.schema import metadata
from app.settings import Settings
from tests.acts import QUESTION, inbox, rows, submitted
from tests.conftest import HIT, PASSWORD, Cast, Workers, _administer, referral, signed_in

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "database-roles.md"
NOT_ALLOWED = "42501"

BY_GRANT_ALONE: Mapping[str, str] = {
    **dict.fromkeys(
        ["party", "party_revision", "reference_release", "routing_release", "routing_rule", "routing_gateway"],
        "reference data, published with the broker",
    ),
    **dict.fromkeys(["api_key", "session", "revoked_token"], "the gateway's look-up of who asks, before it is known"),
    **dict.fromkeys(["recovery_code", "sign_in_step", "sign_in_failure"], "the gateway's own, of people signing in"),
    **dict.fromkeys(["push_endpoint", "email_mailbox", "notice_count"], "read by workers; of no referral"),
    **dict.fromkeys(["agency_seen", "circuit", "heartbeat", "ring_key"], "signs of life and proofs; of no referral"),
    **dict.fromkeys(
        ["audit_salt", "audit_entry", "audit_node", "audit_head", "audit_checkpoint", "audit_witness"],
        "hashes, for sealer and auditor",
    ),
}
"""Tables without row-level security, and why: their rows are all alike to each role that may read them at all."""

PUBLISHED = frozenset({"own_policy"})
"""What everybody sees alike who may read it at all: only writing is walled."""

WALLED = sorted(metadata.tables.keys() - BY_GRANT_ALONE.keys())

UNSEEN = [table for table in WALLED if table not in PUBLISHED]
"""Of which a party without rows of its own sees none."""

OVERSEEN: Mapping[Role, str] = {
    Role.COORDINATOR: "referral_id IN (SELECT id FROM referral WHERE region = :party)",
    Role.NATIONAL: "true",
}

REPORTED: Mapping[Role, str] = {
    Role.ORIGINATOR: "party = :party AND report IN ('referrals', 'outcomes')",
    Role.COORDINATOR: "region = :party",
    Role.NATIONAL: "true",
}

SEEN: Mapping[str, Mapping[Role, str]] = {
    "referral": {
        Role.ORIGINATOR: "originator = :party",
        Role.AGENCY: "id IN (SELECT referral_id FROM dispatch WHERE agency = :party AND queued_at IS NOT NULL)",
        Role.COORDINATOR: "region = :party",
        Role.NATIONAL: "true",
        Role.AUDITOR: "true",
    },
    "dispatch": {
        Role.ORIGINATOR: "referral_id IN (SELECT id FROM referral WHERE originator = :party)",
        Role.AGENCY: "agency = :party AND queued_at IS NOT NULL",
        Role.COORDINATOR: "referral_id IN (SELECT id FROM referral WHERE region = :party)",
        Role.NATIONAL: "true",
    },
    "response": {
        Role.ORIGINATOR: "flag IS NULL AND referral_id IN (SELECT id FROM referral WHERE originator = :party)",
        Role.AGENCY: "agency = :party",
        Role.COORDINATOR: "referral_id IN (SELECT id FROM referral WHERE region = :party)",
        Role.NATIONAL: "true",
    },
    "message": {
        Role.ORIGINATOR: "sender = :party",
        Role.AGENCY: "dispatch_id IN (SELECT id FROM dispatch WHERE agency = :party)",
    },
    "submission": {Role.ORIGINATOR: "party = :party"},
    "draft": {Role.ORIGINATOR: "party = :party"},
    "data_key": {
        Role.ORIGINATOR: "referral_id IN (SELECT id FROM referral WHERE originator = :party)"
        " OR referral_id IN (SELECT id FROM draft WHERE party = :party)",
        Role.AGENCY: "referral_id IN (SELECT referral_id FROM dispatch WHERE agency = :party)",
        Role.COORDINATOR: "referral_id IN (SELECT id FROM referral WHERE region = :party"
        " UNION ALL SELECT id FROM handover_note WHERE party = :party)",
        Role.NATIONAL: "true",
    },
    "subject_index": {
        Role.ORIGINATOR: "referral_id IN (SELECT id FROM referral WHERE originator = :party)",
        Role.COORDINATOR: "referral_id IN (SELECT id FROM referral WHERE region = :party)",
        Role.NATIONAL: "true",
    },
    "cover": {Role.COORDINATOR: ":party IN (region, by_region)", Role.NATIONAL: "true"},
    "handover_note": {Role.COORDINATOR: "party = :party", Role.NATIONAL: "true"},
    "referral_outcome": {
        Role.ORIGINATOR: "originator = :party",
        Role.COORDINATOR: "region = :party",
        Role.NATIONAL: "true",
    },
    "useful_answer": {
        Role.ORIGINATOR: "referral_id IN (SELECT id FROM referral WHERE originator = :party)",
        Role.COORDINATOR: "referral_id IN (SELECT id FROM referral WHERE region = :party)",
        Role.NATIONAL: "true",
    },
    "consent": {
        Role.ORIGINATOR: "referral_id IN (SELECT id FROM referral WHERE originator = :party)",
        Role.AGENCY: "agency = :party",
        Role.COORDINATOR: "referral_id IN (SELECT id FROM referral WHERE region = :party)",
        Role.NATIONAL: "true",
    },
    "duplicate": {
        Role.COORDINATOR: "earlier IN (SELECT id FROM referral WHERE region = :party)"
        " OR later IN (SELECT id FROM referral WHERE region = :party)",
        Role.NATIONAL: "true",
    },
    "alert": {
        Role.ORIGINATOR: "referral_id IN (SELECT id FROM referral WHERE originator = :party)",
        Role.AGENCY: "agency = :party",
        Role.COORDINATOR: "region = :party",
        Role.NATIONAL: "true",
    },
    "queue_count": {Role.COORDINATOR: "region = :party", Role.NATIONAL: "true"},
    "audit_event": {
        Role.ORIGINATOR: "operation <> 'consultation'"
        " AND referral_id IN (SELECT id FROM referral WHERE originator = :party)",
        Role.COORDINATOR: "operation <> 'consultation'"
        " AND referral_id IN (SELECT id FROM referral WHERE region = :party)",
        Role.NATIONAL: "operation <> 'consultation' AND referral_id IS NOT NULL",
        Role.AUDITOR: "true",
    },
    "batch": {Role.ORIGINATOR: "party = :party"},
    "batch_row": {Role.ORIGINATOR: "batch_id IN (SELECT id FROM batch WHERE party = :party)"},
    "batch_error": {Role.ORIGINATOR: "batch_id IN (SELECT id FROM batch WHERE party = :party)"},
    "fan_out_try": OVERSEEN,
    "retention": OVERSEEN,
    "legal_hold": OVERSEEN,
    "assignment": {Role.AGENCY: "agency = :party"},
    "answer_draft": {Role.AGENCY: "agency = :party"},
    "own_policy": dict.fromkeys((Role.ORIGINATOR, Role.AGENCY, Role.COORDINATOR, Role.NATIONAL), "true"),
    "report_change": REPORTED,
    "report_month": REPORTED,
    "report_hour": {Role.COORDINATOR: "region = :party", Role.NATIONAL: "true"},
    "account": {
        **dict.fromkeys((Role.ORIGINATOR, Role.AGENCY, Role.COORDINATOR, Role.NATIONAL), "party = :party"),
        Role.AUDITOR: "true",
        Role.ADMINISTRATOR: "true",
    },
}
"""What each role's party sees of each table, in words of their own: everybody else sees nothing."""

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


async def test_the_logins_are_worth_nothing_by_themselves(database: Database, database_url: str) -> None:
    found = await rows(
        database,
        "SELECT rolname, rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolinherit AS more,"
        " rolname = ANY(:logins) AS may_sign_in, rolcanlogin FROM pg_roles WHERE rolname LIKE 'gain\\_%'",
        logins=[login.name for login in LOGINS],
    )
    assert {row["rolname"] for row in found} == {*ACTED, *(login.name for login in LOGINS)}
    assert not [row for row in found if row["more"] or row["may_sign_in"] != row["rolcanlogin"]]
    assert not await rows(
        database, "SELECT relname FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner WHERE rolname LIKE 'gain\\_%'"
    )
    for login in LOGINS:
        assert not [why for why in await complaints(signed_in(database_url, login)) if "off" not in why]


async def test_production_would_not_run_as_the_owner(database_url: str) -> None:
    found = await complaints(database_url)
    assert {"gain is a superuser", "gain owns tables", "fsync is off", "synchronous_commit is off"} <= set(found)


async def test_a_worker_cannot_act_for_a_party(database_url: str, configuration: Settings) -> None:
    database = Database(configuration.model_copy(update={"database_url": signed_in(database_url, WORKER)}))
    try:
        async with database.transaction(AS_WORKER) as connection:
            await connection.execute(text("SELECT FROM referral"))
        with pytest.raises(DBAPIError) as refusal:
            async with database.transaction(behalf_of(Role.NATIONAL, ["GAIN"])) as connection:
                await connection.execute(text("SELECT 1"))
        assert refused(refusal.value)
        async with database.transaction(AS_WORKER) as connection:
            await connection.execute(text("SELECT FROM referral"))
    finally:
        await database.close()


async def test_every_table_is_walled_or_said_to_need_none(database: Database) -> None:
    walled = await rows(
        database,
        "SELECT relname FROM pg_class"
        " WHERE relrowsecurity AND EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid)"
        " ORDER BY relname",
    )
    assert [row["relname"] for row in walled] == WALLED, "protect(…) it in its migration, or say why in BY_GRANT_ALONE"
    assert BY_GRANT_ALONE.keys() <= metadata.tables.keys()


async def test_every_table_is_for_somebody(database: Database) -> None:
    """Nobody but the owner could use it else: its migration has forgotten to grant(…)."""
    assert metadata.tables.keys() - {name for name, role, _ in await _granted(database) if role in ACTED} == set()


async def test_who_may_touch_a_walled_table_has_a_policy_of_its_own(database: Database) -> None:
    """A role with a grant and no policy would see nothing; a policy for no role in particular would be everybody's."""
    found = await rows(
        database,
        "SELECT tablename, roles::text[] AS roles FROM pg_policies WHERE schemaname = 'public' ORDER BY 1, 2",
    )
    policies = {(row["tablename"], role) for row in found for role in row["roles"]}
    granted = {(table, role) for table, role, _ in await _granted(database) if table in WALLED and role in ACTED}
    inherited = {(table, role) for table, role in policies if role == COVERING}
    assert policies - inherited == granted
    assert {(table, COORDINATOR) for table, _ in inherited} <= granted


async def _granted(database: Database) -> list[tuple[str, str, str]]:
    """Table or sequence, role, and its privileges, those on columns with their names."""
    found = await rows(
        database,
        """
        SELECT name, role, string_agg(privilege, ', ' ORDER BY privilege) AS privileges FROM (
            SELECT relname AS name, grantee::regrole::text AS role, privilege_type AS privilege
              FROM pg_class CROSS JOIN LATERAL aclexplode(relacl)
             WHERE relnamespace = 'public'::regnamespace AND grantee <> relowner
             UNION ALL
            SELECT relname, grantee::regrole::text,
                   privilege_type || ' (' || string_agg(attname, ', ' ORDER BY attnum) || ')'
              FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid CROSS JOIN LATERAL aclexplode(attacl)
             WHERE relnamespace = 'public'::regnamespace AND grantee <> relowner
             GROUP BY relname, grantee, privilege_type) AS granted
         GROUP BY name, role ORDER BY role, name
        """,
    )
    return [(row["name"], row["role"], row["privileges"]) for row in found]


async def test_each_role_may_do_what_the_page_lists_and_nothing_else(
    database: Database, pytestconfig: pytest.Config
) -> None:
    lines = [f"| `{role}` | `{table}` | {privileges} |" for table, role, privileges in await _granted(database)]
    page = PAGE.read_text(encoding="utf-8").splitlines()
    if pytestconfig.getoption("--rewrite"):
        page = [*(line for line in page if not line.startswith("| `")), *lines]
        PAGE.write_text("\n".join(page) + "\n", encoding="utf-8")
    listed = [line for line in page if line.startswith("| `")]
    assert listed == lines, "see it with git diff after: pytest tests/guards/test_row_security.py -k page --rewrite"


async def test_what_runs_with_its_owners_rights_looks_only_where_it_was_told_to(database: Database) -> None:
    found = await rows(
        database,
        "SELECT proname, proconfig FROM pg_proc"
        " WHERE prosecdef AND pronamespace = 'public'::regnamespace ORDER BY proname",
    )
    assert {row["proname"] for row in found} == {
        "backlog",
        "count_delete",
        "count_insert",
        "count_update",
        "forget_draft_key",
        "refuse_dispatch_with_response",
        "refuse_dispatch_without_referral",
        "refuse_referral_with_dispatch",
        "refuse_response_without_dispatch",
        "report_dispatch_delete",
        "report_dispatch_update",
        "report_outcome_insert",
        "report_referral_delete",
        "report_referral_insert",
        "settled_before",
    }
    assert all(any(line.startswith("search_path=pg_catalog") for line in row["proconfig"] or []) for row in found)


def _unsaid(path: Path) -> list[int]:
    """The lines on which a transaction is begun without saying for whom."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "transaction"
        and not node.args
        and ast.unparse(node.func.value) != "inbox"  # an agency's own: it is begun for its principal
    ]


def test_every_transaction_of_the_program_says_for_whom_it_acts() -> None:
    paths = [path for package in ("app", "workers") for path in (ROOT / package).rglob("*.py")]
    assert len(paths) > 100
    assert {str(path): lines for path in paths if (lines := _unsaid(path))} == {}


async def test_roles_are_made_once_and_asked_for_where_they_may_not_be(database: Database, postgres: str) -> None:
    async with database.transaction() as connection:
        assert await missing(connection) == []


async def test_a_password_is_set_without_being_sent(database: Database, database_url: str, postgres: str) -> None:
    """What PostgreSQL makes of it lets in who has it, and nobody else."""
    await _administer(postgres, f"ALTER ROLE gain_auditor PASSWORD '{verifier('another one')}'")
    url = make_url(signed_in(database_url, LOGINS[2]))
    try:
        assert await complaints(url.set(password="another one").render_as_string(hide_password=False))
        with pytest.raises(Exception, match="password authentication failed"):
            await complaints(url.render_as_string(hide_password=False))
    finally:
        await _administer(postgres, f"ALTER ROLE gain_auditor PASSWORD '{verifier(PASSWORD)}'")


async def test_an_owner_who_may_not_make_roles_is_told_what_a_dba_must_run(postgres: str) -> None:
    """And nothing is changed before that. One who may, makes them; and a superuser's work is never needed again."""
    await _administer(postgres, "CREATE ROLE plain_owner LOGIN PASSWORD 'of-tests'")
    await _administer(postgres, "CREATE DATABASE plain OWNER plain_owner")
    url = make_url(postgres).set(username="plain_owner", password=PASSWORD, database="plain")
    plain = url.render_as_string(hide_password=False)
    try:
        with pytest.raises(StartRefused, match="have a DBA run this, then migrate again\n  GRANT gain_as_") as refusal:
            await migrate(plain)
        for line in str(refusal.value).splitlines()[1:]:
            await _administer(postgres, line.strip().removesuffix(";"))
        await prepare(plain)
        for behalf in (AS_WORKER, AS_GATEWAY, behalf_of(Role.AGENCY, ["HMRC"])):
            database = Database(Settings(database_url=plain))
            async with database.transaction(behalf) as connection:
                assert await connection.scalar(text("SELECT count(*) FROM party"))
            await database.close()
        assert [why for why in await complaints(plain) if "off" not in why] == ["plain_owner owns tables"]
    finally:
        await _administer(postgres, "DROP DATABASE plain WITH (FORCE)")
        await _administer(postgres, "DROP ROLE plain_owner")
