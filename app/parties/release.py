"""Versioned reference files: reading them, and deciding whether a database takes one."""

import hashlib
import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import func, insert, select

from app.db import Connection
from app.parties.models import Release

_LOCK = 0x4741494E_0001
"""Advisory lock of everyone who loads reference data; the number only has to be nobody else's."""


class ReferenceDataError(RuntimeError):
    """Reference data that cannot be loaded; its text is one line and says what to do."""


class ReferenceFile(BaseModel):
    """What every reference file begins with; `digest` is set by `read_release`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(ge=1)
    valid_from: date
    digest: str = ""


def digest_of(document: dict[str, Any]) -> str:
    """SHA-256 (hex) of what a file says: comments, order and the code's defaults do not change it."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()


def read_release(path: Path) -> dict[str, Any]:
    """The TOML document of a reference file with its digest. Raises `ReferenceDataError` where it is not TOML."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ReferenceDataError(f"{path.name} is not TOML: {error}") from None
    return {**document, "digest": digest_of(document)}


def explain(name: str, error: ValidationError) -> ReferenceDataError:
    """A validation error of reference data as one line."""
    faults = (f"{'.'.join(str(step) for step in fault['loc']) or 'file'}: {fault['msg']}" for fault in error.errors())
    return ReferenceDataError(f"{name} is not valid: {'; '.join(faults)}")


async def take_release(connection: Connection, table: type[Release], name: str, file: ReferenceFile) -> bool:
    """Record `file` as loaded, if it is newer than what is loaded; False where there is nothing to load.

    Whoever comes second waits for the first one's transaction. Raises `ReferenceDataError` where the loaded version was
    another content. An older file is left alone: an older program may start on a newer database.
    """
    await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    newest = (
        await connection.execute(select(table.version, table.digest).order_by(table.version.desc()).limit(1))
    ).first()
    if newest is not None and newest.version == file.version and newest.digest != file.digest:
        raise ReferenceDataError(
            f"{name} was changed, but version {file.version} is already loaded: set version = {file.version + 1}."
        )
    if newest is not None and newest.version >= file.version:
        return False
    await connection.execute(insert(table).values(version=file.version, valid_from=file.valid_from, digest=file.digest))
    return True
