"""Signed checkpoints: made of what is sealed and committed, kept in a table, appended to a file."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson
from sqlalchemy import text

from app.audit.note import Signer
from app.audit.tree import Frontier
from app.db import Connection

_HEAD = text("SELECT size, frontier FROM audit_head")
_STORE = text("""
    INSERT INTO audit_checkpoint (size, at, note) VALUES (:size, clock_timestamp(), :note)
    ON CONFLICT (size) DO NOTHING RETURNING at
""")
_LATEST = text("SELECT size, at, note FROM audit_checkpoint ORDER BY size DESC LIMIT 1")
_DUE = text("""
    SELECT coalesce(size > last_size AND (last_size = 0 OR at < clock_timestamp() - make_interval(secs => :seconds)),
                    true)
      FROM audit_head LEFT JOIN LATERAL (
           SELECT size AS last_size, at FROM audit_checkpoint ORDER BY audit_checkpoint.size DESC LIMIT 1
           ) AS last ON true
""")


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint as it was signed, at the database's time `at` (UTC)."""

    size: int
    at: datetime
    note: str

    def line(self) -> bytes:
        """The checkpoint as a line of the file."""
        return orjson.dumps({"at": self.at, "checkpoint": self.note}, option=orjson.OPT_APPEND_NEWLINE)


async def sign(connection: Connection, signer: Signer) -> Signed | None:
    """Sign what is sealed, in the caller's transaction; None where a checkpoint of this size is there already.

    In a transaction of its own: only a committed tree may be promised.
    """
    head = (await connection.execute(_HEAD)).one()
    note = signer.sign(head.size, Frontier.unpack(head.size, head.frontier).root())
    at = await connection.scalar(_STORE, {"size": head.size, "note": note})
    return None if at is None else Signed(head.size, at, note)


async def latest(connection: Connection) -> Signed | None:
    """The checkpoint of the most entries, None before the first."""
    row = (await connection.execute(_LATEST)).one_or_none()
    return None if row is None else Signed(row.size, row.at, row.note)


async def is_due(connection: Connection, seconds: float) -> bool:
    """Whether the log has grown since the last checkpoint and that is so many seconds old, or is of an empty log."""
    return bool(await connection.scalar(_DUE, {"seconds": seconds}))


def append(file: Path, signed: Signed) -> None:
    """Append a checkpoint to a file, on its disk when this returns. Raises `OSError`."""
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        os.write(handle, signed.line())
        os.fsync(handle)
    finally:
        os.close(handle)


def notes(file: Path) -> Iterator[tuple[int, str | None]]:
    """The notes in a file of checkpoints with their line numbers, None for a line that holds none. Raises `OSError`."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                note = orjson.loads(line)["checkpoint"]
            except (orjson.JSONDecodeError, KeyError, TypeError):
                note = None
            yield number, note if isinstance(note, str) else None
