"""What each role of the database may do: logins worth nothing by themselves, grants as the page lists them."""

import ast
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from app.access.policy import Role
from app.access.principal import behalf_of
from app.db import ACTING, AS_GATEWAY, AS_WORKER, Behalf, Database
from app.runtime.migrate import migrate, prepare
from app.runtime.refusal import StartRefused
from app.runtime.roles import ACTED, COORDINATOR, COVERING, LOGINS, WORKER, missing, verifier
from app.runtime.wall import MUTE, complaints, talkative
from app.schema import metadata
from app.settings import Settings
from tests.acts import rows
from tests.conftest import PASSWORD, _administer, signed_in
from tests.guards.test_row_security import refused
from tests.guards.walls import BY_GRANT_ALONE, WALLED

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "database-roles.md"


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


NOT_IN_18 = {"debug_print_raw_parse"}
"""What only a later PostgreSQL has. What an extension would have is taken by any, for when that is loaded."""

AS_IT_COMES = {name for name in MUTE if name.startswith(("debug_print_", "auto_explain.", "pgaudit."))} | {
    "log_min_duration_sample",
    "log_transaction_sample_rate",
}
"""What PostgreSQL has as it should be, or has not at all."""

# What PostgreSQL 18 comes with.
STOCK = {
    **MUTE,
    "log_min_messages": "warning",
    "log_min_error_statement": "error",
    "log_error_verbosity": "default",
    "log_parameter_max_length": "-1",
}


async def test_production_would_not_run_on_a_database_whose_log_holds_what_was_sent(
    database: Database, database_url: str
) -> None:
    login = signed_in(database_url, WORKER)
    assert not [why for why in await complaints(login) if "log" in why]
    values = {**STOCK, "log_statement": "all", "log_min_duration_statement": "250", "log_min_duration_sample": "100"}
    values |= {"log_transaction_sample_rate": "0.5", "log_parameter_max_length_on_error": "-1"}
    values |= dict.fromkeys(["debug_print_parse", "debug_print_rewritten", "debug_print_plan"], "on")
    values |= {"auto_explain.log_min_duration": "0", "pgaudit.log": "read, write", "pgaudit.role": "auditor"}
    values = {name: value for name, value in values.items() if name not in NOT_IN_18}
    assert values.keys() == MUTE.keys() - NOT_IN_18
    for name, value in values.items():
        await _administer(database_url, f"ALTER DATABASE {database.engine.url.database} SET {name} = '{value}'")
        [why] = [why for why in await complaints(login) if f"{name} is" in why]
        assert why.endswith(f"set {name} = '{MUTE[name]}'")
    assert len([why for why in await complaints(login) if "log may hold" in why]) == len(values)


def test_a_stock_server_is_told_what_to_set_and_a_muter_one_nothing() -> None:
    assert [why.partition(" ")[0] for why in talkative(STOCK)] == [
        "log_min_messages", "log_min_error_statement", "log_error_verbosity", "log_parameter_max_length",
    ]  # fmt: skip
    assert talkative({**MUTE, "log_min_messages": "panic", "log_min_error_statement": "fatal"}) == []
    assert talkative(dict.fromkeys(MUTE)) == [], "what the server has not"
    assert [why.partition(" ")[0] for why in talkative(dict.fromkeys(NOT_IN_18, "on"))] == [*NOT_IN_18]


def test_what_comes_with_the_program_is_as_mute_as_production_asks() -> None:
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    embedded = (ROOT / "app" / "runtime" / "postgres.py").read_text(encoding="utf-8")
    for name in MUTE.keys() - AS_IT_COMES:
        assert f"-c{name}={MUTE[name]}\n" in compose
        assert f'"{name}": "{MUTE[name]}"' in embedded


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


@pytest.mark.parametrize("acting", ["originator", "agency", "worker", "auditor"])
async def test_why_an_alert_was_noted_and_what_salts_a_hash_is_read_by_nobody_who_does_not_need_it(
    database: Database, acting: str
) -> None:
    for statement in ("SELECT sealed_reason FROM alert", "SELECT * FROM alert", "SELECT salt FROM audit_salt"):
        with pytest.raises(DBAPIError) as refusal:
            async with database.transaction(Behalf(ACTING + acting, ("GAIN",))) as connection:
                await connection.execute(text(statement))
        assert refused(refusal.value)


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
    assert listed == lines, "see it with git diff after: pytest tests/guards/test_database_roles.py -k page --rewrite"


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
        "refuse_key_of_disposed",
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
