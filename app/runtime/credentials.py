"""API keys for a data directory, whether or not its system is running."""

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from app.access import keys, register
from app.access.policy import Role
from app.access.register import Issuer
from app.audit.record import Event, Operation, record
from app.crypto.keys import Keys
from app.db import Connection
from app.runtime.moment import database_of
from app.runtime.operating import in_transaction, operator
from app.runtime.refusal import StartRefused, refusing
from app.settings import Settings

T = TypeVar("T")

COLUMNS = (
    "id",
    "party",
    "role",
    "created",
    "expires",
    "last used",
    "revoked",
    "scope",
    "networks",
    "replaces",
    "label",
)
"""What `listed` tells of a key."""


def issue(data_dir: Path, party: str, role: Role | None = None, terms: keys.Terms | None = None) -> str:
    """A new key of `party`, in `role` or its default one. Raises `StartRefused` with what a person can mend."""

    async def make(connection: Connection) -> str:
        issued = await _issuer(settings).issue(connection, party, role, terms or keys.Terms())
        return str(issued.key)

    with database_of(data_dir) as settings:
        return _in_transaction(settings, make)


def listed(data_dir: Path, party: str | None = None, *, every: bool = False) -> list[list[str]]:
    """The keys in force, or every one, newest first: the texts of `COLUMNS`. Raises as `issue`."""

    async def read(connection: Connection) -> list[list[str]]:
        lines = [_line(row) for row in await connection.execute(register.listed(party, alive=not every))]
        told = {"ids": [line[0] for line in lines]}
        await record(connection, operator(), [Event(Operation.CONSULTATION, "keys.listed", detail=told)])
        return lines

    with database_of(data_dir) as settings:
        return _in_transaction(settings, read)


def rotate(data_dir: Path, key: str, overlap_hours: int) -> str:
    """A successor of this key, which is taken for so many hours more. Raises as `issue`."""

    async def make(connection: Connection) -> str:
        issued = await _issuer(settings).rotate(connection, _id_of(key), timedelta(hours=overlap_hours))
        if issued is None:
            raise _unknown()
        return str(issued.key)

    with database_of(data_dir) as settings:
        return _in_transaction(settings, make)


def revoke(data_dir: Path, key: str) -> None:
    """Refuse this key from now on. Raises as `issue`."""

    async def end(connection: Connection) -> None:
        if not await register.revoke(connection, operator(), _id_of(key)):
            raise _unknown()

    with database_of(data_dir) as settings:
        _in_transaction(settings, end)


def replace(data_dir: Path, label: str, parties: Sequence[str], file: Path) -> None:
    """Revoke the keys of `label` and write one new key for each party to `file` (JSON, 0600). Raises as `issue`."""

    async def change(connection: Connection) -> dict[str, str]:
        await keys.revoke_labelled(connection, label)
        issuer, terms = _issuer(settings), keys.Terms(label=label)
        return {party: str((await issuer.issue(connection, party, None, terms)).key) for party in parties}

    with database_of(data_dir) as settings:
        issued = _in_transaction(settings, change)
    with refusing(f"write {file}"):
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_text(json.dumps(issued), encoding="utf-8")


def refuse_elsewhere(settings: Settings) -> None:
    """Raise `StartRefused` in production where keys made elsewhere, as those of a demonstration, are in force.

    So no session or token made of one goes on either, nor one that says of itself that it was made here.
    """
    if settings.environment != "production":
        return

    async def read(connection: Connection) -> list[str]:
        return list(await connection.scalars(register.of_elsewhere(settings.mark)))

    if found := in_transaction(settings, read):
        raise StartRefused(
            f"production does not start with keys of a demonstration or a test: {', '.join(found)}. "
            "Revoke them with: gain keys revoke"
        )


def _issuer(settings: Settings) -> Issuer:
    return Issuer(operator(), Keys(settings.master_secret()), settings.mark)


def _id_of(key: str) -> str:
    """The id of a key that is named by it, or given whole."""
    parsed = keys.parse(key.strip())
    return parsed[0] if parsed else key.strip()


def _unknown() -> StartRefused:
    return StartRefused("there is no such key: gain keys list --all shows them")


def _line(row: register.KeyRow) -> list[str]:
    moments = [row.created_at, row.expires_at, row.last_used_at, row.revoked_at]
    times = ["-" if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in moments]
    lists = [",".join(words) if words else "-" for words in (row.scope, row.networks)]
    return [row.id, row.party, row.role, *times, *lists, row.replaces or "-", row.label or "-"]


def _in_transaction(settings: Settings, work: Callable[[Connection], Awaitable[T]]) -> T:
    try:
        return in_transaction(settings, work)
    except keys.KeyRefused as refusal:
        raise StartRefused(str(refusal)) from refusal
