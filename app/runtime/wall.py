"""The database as a process of the program must find it: a wall it cannot step over, commits that last, a mute log."""

from collections.abc import Mapping, Sequence

from sqlalchemy import pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from app.db import is_away
from app.logs import logger
from app.runtime.reach import needing_database
from app.runtime.refusal import StartRefused
from app.settings import Settings

log = logger()

_ASK = text("""
    SELECT rolname, rolsuper, rolbypassrls, rolcreaterole,
           EXISTS (SELECT FROM pg_class WHERE pg_has_role(current_user, relowner, 'USAGE')
                      AND relnamespace = CAST(current_schema() AS regnamespace)) AS owns,
           current_setting('fsync') = 'off' AS forgets,
           current_setting('full_page_writes') = 'off' AS tears,
           current_setting('synchronous_commit') = 'off' AS hurries,
           (SELECT jsonb_object_agg(name, current_setting(name, true))
              FROM unnest(CAST(:mute AS text[])) AS name) AS told
      FROM pg_roles WHERE rolname = current_user
""")

_WHY = {
    "rolsuper": "{rolname} is a superuser",
    "rolbypassrls": "{rolname} has BYPASSRLS",
    "rolcreaterole": "{rolname} may make roles (CREATEROLE)",
    "owns": "{rolname} owns tables",
    "forgets": "fsync is off",
    "tears": "full_page_writes is off",
    "hurries": "synchronous_commit is off",
}

MUTE = {
    "log_statement": "none",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    # What is sent is in a parsed statement and in its plan too, as constants.
    "debug_print_raw_parse": "off",
    "debug_print_parse": "off",
    "debug_print_rewritten": "off",
    "debug_print_plan": "off",
    # Extensions that many servers load. Both write to the log themselves, whatever the settings above say.
    "auto_explain.log_min_duration": "-1",
    "pgaudit.log": "none",
    "pgaudit.role": "",
}
"""What keeps PostgreSQL from writing statements, their values and the rows they fail on into its own log, unsealed."""

_MUTER = {"log_min_messages": ("fatal", "panic"), "log_min_error_statement": ("fatal",)}
"""What else will do: statements of ours end in no FATAL, which ends the connection."""


async def complaints(database_url: str) -> list[str]:
    """What is wrong with the database's user and settings, for a gateway, worker or scheduler to sign in to."""
    engine = create_async_engine(database_url, poolclass=pool.NullPool, hide_parameters=True)
    try:
        async with engine.connect() as connection:
            found = (await connection.execute(_ASK, {"mute": list(MUTE)})).mappings().one()
    finally:
        await engine.dispose()
    return [why.format(**found) for name, why in _WHY.items() if found[name]] + talkative(found["told"])


def talkative(told: Mapping[str, str | None]) -> list[str]:
    """Pure: which settings let PostgreSQL's log hold what was sent, and what to set; those it has not are none."""
    return [
        f"{name} is {value}, so its log may hold what is personal: set {name} = '{MUTE[name]}'"
        for name, value in told.items()
        if value is not None and value != MUTE[name] and value not in _MUTER.get(name, ())
    ]


async def check(settings: Settings) -> None:
    """Raise `StartRefused` in production where anything is wrong, or the database does not answer; else only log it."""
    if settings.environment == "production":
        with needing_database():
            if found := await complaints(settings.database_url):
                raise StartRefused(_text(found))
        return
    try:
        found = await complaints(settings.database_url)
    except Exception as error:
        if not is_away(error):
            raise
        log.info("the database is away; how it is set up is not looked at")
        return
    if found:
        log.warning("production would refuse this database", because=found)


def _text(found: Sequence[str]) -> str:
    return f"production refuses this database: {'; '.join(found)}. Sign in as gain_gateway or gain_worker."
