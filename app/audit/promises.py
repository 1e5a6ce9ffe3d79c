"""Every checkpoint ever signed that is still to be found, in the order of their sizes, to compare a log with."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text

from app.audit import checkpoints
from app.audit.note import Checkpoint, NotSigned, VerifierKey, read
from app.db import Connection

_STORED = text("SELECT size, note FROM audit_checkpoint ORDER BY size")
_CHUNK = 500


class PromiseBroken(Exception):
    """A checkpoint itself is bad: `where` it stands, and why."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")


@dataclass(frozen=True, slots=True, order=True)
class Promise:
    """The root of the first `size` entries, as promised `where`."""

    size: int
    root: bytes
    where: str


@dataclass(slots=True)
class Aside:
    """What a file of checkpoints holds beside promises in their order.

    `unordered` stand after a larger one: schedulers that take turns may write two lines in the other order.
    `unfinished` are the numbers of lines whose writing was cut off.
    """

    unordered: list[Promise] = field(default_factory=list)
    unfinished: list[int] = field(default_factory=list)


class Source:
    """Promises from one place with a look at the next one."""

    def __init__(self, promises: AsyncIterator[Promise]) -> None:
        self._promises = promises
        self.next: Promise | None = None

    async def advance(self) -> None:
        """Go on to the next promise. Raises `PromiseBroken`."""
        self.next = await anext(self._promises, None)


async def stored(connection: Connection, keys: Sequence[VerifierKey]) -> AsyncIterator[Promise]:
    """The promises in the table, which `connection` streams. Raises `PromiseBroken`."""
    result = await connection.stream(_STORED, execution_options={"yield_per": _CHUNK})
    async for row in result:
        where = f"the stored checkpoint of {row.size} entries"
        found = _read(row.note, keys, where)
        if found.size != row.size:
            raise PromiseBroken(where, "its note promises another size")
        yield Promise(found.size, found.root, where)


async def in_file(file: Path, keys: Sequence[VerifierKey], aside: Aside) -> AsyncIterator[Promise]:
    """The promises in a file of checkpoints in order; puts the rest `aside`. Raises `PromiseBroken`, `OSError`."""
    largest = -1
    for promise in _lines(file, keys, aside):
        if promise.size < largest:
            aside.unordered.append(promise)
            continue
        largest = promise.size
        yield promise


def _lines(file: Path, keys: Sequence[VerifierKey], aside: Aside) -> Iterator[Promise]:
    for line in checkpoints.notes(file):
        if not line.whole:
            aside.unfinished.append(line.number)
            continue
        where = f"{file} line {line.number}"
        if line.note is None:
            raise PromiseBroken(where, "it holds no checkpoint")
        found = _read(line.note, keys, where)
        yield Promise(found.size, found.root, where)


def _read(note: str, keys: Sequence[VerifierKey], where: str) -> Checkpoint:
    try:
        return read(note, keys)
    except NotSigned as refusal:
        raise PromiseBroken(where, str(refusal)) from None
