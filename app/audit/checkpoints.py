"""Signed checkpoints: made of what is sealed and committed, kept in a table, appended to a file."""

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

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

UNFINISHED = b" (unfinished)\n"
"""What ends a line whose writing was cut off. It holds no checkpoint, and accuses nobody."""

_LONGEST_LINE = 64 * 1024  # a hundred times what one takes: room for what a broken file system puts there


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
    """Append a checkpoint to a file, whole and on its disk when this returns. Raises `OSError`.

    What a full disk or a power cut has left of an earlier line is ended first, marked as `UNFINISHED`.
    """
    with open(file, "a+b", opener=_opener) as lines:
        fcntl.flock(lines, fcntl.LOCK_EX)  # another scheduler's line in the making is no unfinished one
        lines.write(_ending(lines) + signed.line())  # buffered: flushing writes all of it, or raises
        lines.flush()
        os.fsync(lines.fileno())


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o644)


def _ending(lines: BinaryIO) -> bytes:
    """What ends the file's last line."""
    size = lines.seek(0, os.SEEK_END)
    lines.seek(max(0, size - _LONGEST_LINE))
    rest = lines.read().rpartition(b"\n")[2]
    if not rest:
        return b""
    return b"\n" if _note(rest) is not None else UNFINISHED


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file of checkpoints: its note, None where it holds none; `whole` is false where it was cut off."""

    number: int
    note: str | None
    whole: bool = True


def notes(file: Path) -> Iterator[Line]:
    """The lines of a file of checkpoints, the first being number 1. Raises `OSError`."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            note = _note(line)
            cut_off = note is None and (line.endswith(UNFINISHED) or not line.endswith(b"\n"))
            yield Line(number, note, whole=not cut_off)


def _note(line: bytes) -> str | None:
    try:
        note = orjson.loads(line)["checkpoint"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return note if isinstance(note, str) else None
