"""The verifier of an exported log: a file and a public key, no database, no secret, constant memory."""

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson
import rfc8785

from app.audit.export import SELECTION, WHOLE, entry_line, heading
from app.audit.note import Checkpoint, NotSigned, VerifierKey, read
from app.audit.pruned import PRUNED, declared
from app.audit.tree import Frontier, leaf_hash, verify_inclusion
from app.crypto.sameness import canonical


class ExportRefused(Exception):
    """The file is not what the log's key has signed; the text names the line and the entry."""


@dataclass(frozen=True, slots=True)
class Export:
    """A file that holds: its kind, its entries, the checkpoint's note and its key.

    `pruned` entries are without content: the entry `declared_by` says, signed, that what stood before `pruned_to` went.
    """

    kind: str
    entries: int
    pruned: int
    pruned_to: int
    declared_by: int
    note: str
    key: VerifierKey


class _Entry(NamedTuple):
    """A line of an export. `content` is None where it is gone, `path` where the line has no proof."""

    sequence: int
    leaf: bytes
    content: dict[str, Any] | None
    path: list[bytes] | None


@dataclass(slots=True)
class _Gone:
    """What of a file is without content, and what excuses it: the furthest declaration in the same file."""

    keys: Sequence[VerifierKey]
    number: int = 0
    last: int = -1
    pruned_to: int = 0
    declared_by: int = -1

    def take(self, entry: _Entry) -> None:
        """Count an entry without content, or read a declaration. Raises `ExportRefused` where that is not signed."""
        if entry.content is None:
            self.number += 1
            self.last = entry.sequence
        elif entry.content.get("action") == PRUNED:
            try:
                to = declared(entry.content.get("detail"), self.keys)
            except NotSigned as refusal:
                raise ExportRefused(f"entry {entry.sequence}: it declares a pruning, and {refusal}") from None
            if to > self.pruned_to:
                self.pruned_to, self.declared_by = to, entry.sequence

    def finish(self, lines: BinaryIO) -> None:
        """Raise `ExportRefused` where something is gone that nothing declares: the first such entry of these lines."""
        if self.last >= self.pruned_to:
            raise ExportRefused(
                f"entry {self._first(lines)}: its content is missing, "
                "and no entry of this file declares that it was pruned"
            )

    def _first(self, lines: BinaryIO) -> int:
        """Found by reading the lines again: what excuses an entry stands after it. Of a pipe it is the last."""
        if lines.seekable():
            lines.seek(0)
        entries = (_entry(line, number) for number, line in enumerate(lines, 1) if number > 1)
        gone = (entry.sequence for entry in entries if entry.content is None and entry.sequence >= self.pruned_to)
        return next(gone, self.last)


@dataclass(slots=True)
class _Whole:
    """Every entry, in order: their tree must be the promised one."""

    promised: Checkpoint
    frontier: Frontier = field(default_factory=Frontier)

    def take(self, entry: _Entry) -> None:
        if entry.sequence != self.frontier.size:
            raise ExportRefused(f"entry {self.frontier.size}: it is missing or out of its place")
        if entry.path is not None:
            raise ExportRefused(f"entry {entry.sequence}: it has a proof, which a whole log needs not")
        self.frontier.extend([entry.leaf])

    def finish(self) -> None:
        size = self.frontier.size
        if size != self.promised.size:
            first = min(size, self.promised.size)
            raise ExportRefused(f"entry {first}: the checkpoint promises {self.promised.size} entries, here are {size}")
        if self.frontier.root() != self.promised.root:
            raise ExportRefused(f"entries 0 to {size - 1} are not what the checkpoint promises")


@dataclass(slots=True)
class _Selection:
    """Some entries, in order: each must prove that it is in the promised tree."""

    promised: Checkpoint
    last: int = -1

    def take(self, entry: _Entry) -> None:
        if entry.sequence <= self.last:
            raise ExportRefused(f"entry {entry.sequence}: it is there twice or out of its place")
        self.last = entry.sequence
        size, root = self.promised.size, self.promised.root
        if not verify_inclusion(entry.leaf, entry.sequence, size, entry.path or [], root):
            raise ExportRefused(f"entry {entry.sequence}: it does not prove that it is in the log")

    def finish(self) -> None:
        """Nothing: a selection cannot show that it is complete."""


def verify_export(file: Path, keys: Sequence[VerifierKey], progress: Callable[[int], None] = lambda _n: None) -> Export:
    """Verify an export against the log's keys, or where none is given the one that the file names.

    Content may be missing only where an entry of the same file declares, signed, that it was pruned. Raises
    `ExportRefused`, `OSError`.
    """
    with file.open("rb") as lines:
        kind, note, key, promised = _head(next(lines, b""), keys)
        checker = _Whole(promised) if kind == WHOLE else _Selection(promised)
        gone = _Gone(keys or [key])
        number = 0
        for number, line in enumerate(lines, 1):
            entry = _entry(line, number + 1)
            checker.take(entry)
            gone.take(entry)
            if number % 10_000 == 0:
                progress(number)
        checker.finish()
        gone.finish(lines)
        return Export(kind, number, gone.number, gone.pruned_to, gone.declared_by, note, key)


def _head(line: bytes, keys: Sequence[VerifierKey]) -> tuple[str, str, VerifierKey, Checkpoint]:
    head = _parsed(line, 1)
    try:
        key, note, kind = VerifierKey.parse(head["key"]), head["checkpoint"], head["kind"]
        if keys and key not in keys:
            raise ExportRefused(f"line 1: it names the key {key}, which is none of those given")
        promised = read(note, [key])
    except (AttributeError, KeyError, TypeError, NotSigned) as refusal:
        raise ExportRefused(f"line 1: {refusal}") from None
    if kind not in (WHOLE, SELECTION) or head.get("size") != promised.size or promised.origin != key.name:
        raise ExportRefused("line 1: it does not fit its checkpoint")
    if heading(kind, promised.size, note, key) != line:
        raise ExportRefused("line 1: it is not written as the log's program writes it")
    return kind, note, key, promised


def _parsed(line: bytes, number: int) -> dict[str, Any]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise ExportRefused(f"line {number}: it is not JSON") from None
    if not isinstance(found, dict):
        raise ExportRefused(f"line {number}: it is no object")
    return found


def _entry(line: bytes, number: int) -> _Entry:
    """The entry in a line, which is its own canonical form, byte for byte. Raises `ExportRefused`.

    So a key that stands there twice, of which a reader sees one and the hash another, is refused like any other byte
    that no export has.
    """
    found = _parsed(line, number)
    try:
        sequence, leaf, content = found["sequence"], bytes.fromhex(found["leaf"]), found["entry"]
        if type(sequence) is not int:
            raise TypeError
        path = [b64decode(step, validate=True) for step in found["proof"]] if "proof" in found else None
        written = None if content is None else _canonical(content)
        exact = entry_line(sequence, leaf, written, path) == line
    except (KeyError, TypeError, ValueError, NotBase64) as error:
        raise ExportRefused(f"line {number}: it is no entry ({type(error).__name__})") from None
    if written is not None and (leaf_hash(written) != leaf or content.get("sequence") != sequence):
        raise ExportRefused(f"entry {sequence}: it is not the one that was sealed")
    if not exact:
        raise ExportRefused(f"entry {sequence}: line {number} is not its canonical form")
    return _Entry(sequence, leaf, content, path)


def _canonical(content: object) -> bytes:
    """The canonical form; of what has none something that no leaf is the hash of. Raises `TypeError`."""
    if not isinstance(content, dict):
        raise TypeError
    try:
        return canonical(content)
    except (rfc8785.CanonicalizationError, RecursionError):
        return b""
