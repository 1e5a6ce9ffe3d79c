"""API keys for a data directory, whether or not its system is running."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from app.access import keys
from app.access.policy import Role
from app.crypto.keys import Keys
from app.db import Connection, Database
from app.runtime.moment import database_of
from app.runtime.reach import needing_database
from app.runtime.refusal import StartRefused, refusing
from app.settings import Settings

T = TypeVar("T")

_MARK = {"development": "dev", "production": "live"}


def issue(data_dir: Path, party: str, role: Role | None = None) -> str:
    """A new key of `party`, in `role` or its default one. Raises `StartRefused` with what a person can mend."""
    with database_of(data_dir) as settings:
        return _in_transaction(settings, lambda connection: _issue(connection, settings, party, role, ""))


def replace(data_dir: Path, label: str, parties: Sequence[str], file: Path) -> None:
    """Revoke the keys of `label` and write one new key for each party to `file` (JSON, 0600). Raises as `issue`."""

    async def change(connection: Connection) -> dict[str, str]:
        await keys.revoke_labelled(connection, label)
        return {party: await _issue(connection, settings, party, None, label) for party in parties}

    with database_of(data_dir) as settings:
        issued = _in_transaction(settings, change)
    with refusing(f"write {file}"):
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_text(json.dumps(issued), encoding="utf-8")


async def _issue(connection: Connection, settings: Settings, party: str, role: Role | None, label: str) -> str:
    derived = Keys(settings.master_secret())
    return await keys.issue(connection, derived, party, role, environment=_MARK[settings.environment], label=label)


def _in_transaction(settings: Settings, work: Callable[[Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        database = Database(settings)
        try:
            async with database.transaction() as connection:
                return await work(connection)
        finally:
            await database.close()

    try:
        with needing_database():
            return asyncio.run(run())
    except keys.KeyRefused as refusal:
        raise StartRefused(str(refusal)) from refusal
