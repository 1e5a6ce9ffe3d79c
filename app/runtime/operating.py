"""What commands that change a register have in common: who gives them, and the transaction they run in."""

import asyncio
import getpass
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.audit.record import Actor
from app.db import AS_ADMINISTRATOR, Connection, Database
from app.runtime.reach import needing_database
from app.settings import Settings

T = TypeVar("T")

_OPERATORS = "GAIN"


def operator() -> Actor:
    """Whoever runs the command, as the log names them: by the account on this machine."""
    try:
        account = getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in many a container
        account = str(os.getuid())
    return Actor(_OPERATORS, f"command:{account}")


def in_transaction(settings: Settings, work: Callable[[Connection], Awaitable[T]]) -> T:
    """What `work` does as administrator, committed. Raises `StartRefused` where the database cannot be reached."""

    async def run() -> T:
        database = Database(settings)
        try:
            async with database.transaction(AS_ADMINISTRATOR) as connection:
                return await work(connection)
        finally:
            await database.close()

    with needing_database():
        return asyncio.run(run())
