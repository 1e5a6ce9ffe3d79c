"""Locks of migrations are waited for briefly: who waits for a table keeps everybody waiting who comes to it later.

A statement in a transaction that gets no lock ends its migration, which is made again from its start. One that commits
by itself is made again by itself, until it succeeds: what its migration did before is committed and must not be redone.
An index that is built beside the work waits for whoever is at it, and nobody for that: it may take its time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import await_only

from app.logs import logger
from app.runtime.refusal import StartRefused

LOCK_SECONDS = 5.0
PAUSE_SECONDS = 5.0
TRIES = 20

_NOT_AVAILABLE = "55P03"  # SQLSTATE: lock_not_available, which a statement ends with after `lock_timeout`

log = logger()


def wait_briefly(engine: AsyncEngine) -> None:
    """Let no statement of this engine's wait for a lock longer than `LOCK_SECONDS`."""
    event.listen(engine.sync_engine, "connect", _connected)
    event.listen(engine.sync_engine, "do_execute", _execute)


async def again_and_again(migrate: Callable[[], Awaitable[None]]) -> None:
    """Migrate, and again where a lock is not to be had. Raises `StartRefused` after `TRIES`; what is whole stays."""
    for number in range(1, TRIES + 1):
        try:
            return await migrate()
        except DBAPIError as error:
            if not _is_locked(error.orig):
                raise
            log.warning("a table that a migration changes is in use", tried=number, of=TRIES)
        if number < TRIES:
            await asyncio.sleep(PAUSE_SECONDS)
    raise StartRefused(
        "a table that a migration changes stayed in use: see pg_stat_activity for long transactions, such as a"
        " backup's, and migrate again when they have ended; the migrations before it are made"
    )


def _connected(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    _limit(cursor, LOCK_SECONDS)
    cursor.close()
    connection.commit()


def _limit(cursor: Any, seconds: float) -> None:
    cursor.execute(f"SET lock_timeout = {seconds * 1000:.0f}")


def _execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
    """In place of the dialect's own. True: it is done."""
    if context.root_connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        return False
    if "CONCURRENTLY" in statement:
        _limit(cursor, 0)
        context.dialect.do_execute(cursor, statement, parameters, context)
        _limit(cursor, LOCK_SECONDS)
        return True
    while True:
        try:
            context.dialect.do_execute(cursor, statement, parameters, context)
        except context.dialect.dbapi.Error as error:
            if not _is_locked(error):
                raise
        else:
            return True
        log.warning("a table that a migration changes is in use; its next step waits for that")
        await_only(asyncio.sleep(PAUSE_SECONDS))


def _is_locked(error: BaseException | None) -> bool:
    return getattr(error, "sqlstate", None) == _NOT_AVAILABLE
