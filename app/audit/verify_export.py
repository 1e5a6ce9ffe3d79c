"""The verifier of an exported log: a file and a public key, no database, no secret, constant memory."""

import json
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rfc8785

from app.audit.export import SELECTION, WHOLE
from app.audit.note import Checkpoint, NotSigned, VerifierKey, read
from app.audit.tree import Frontier, leaf_hash, verify_inclusion
from app.crypto.sameness import canonical


class ExportRefused(Exception):
    """The file is not what the log's key has signed; the text names the line and the entry."""


@dataclass(frozen=True, slots=True)
class Export:
    """A file that holds: its kind, its entries, how many of them are without content, and the checkpoint's note."""

    kind: str
    entries: int
    pruned: int
    note: str
    key: VerifierKey


def verify_export(file: Path, key: VerifierKey | None, progress: Callable[[int], None] = lambda _n: None) -> Export:
    """Verify an export against `key`, or against the one that the file names. Raises `ExportRefused`, `OSError`."""
    with file.open("rb") as lines:
        head = _parsed(next(lines, b""), 1)
        try:
            used = key or VerifierKey.parse(str(head["key"]))
            note = str(head["checkpoint"])
            promised = read(note, [used])
        except (KeyError, TypeError, NotSigned) as refusal:
            raise ExportRefused(f"line 1: {refusal}") from None
        if head.get("kind") not in (WHOLE, SELECTION) or head.get("size") != promised.size:
            raise ExportRefused("line 1: it does not fit its checkpoint")
        checker = _Whole(promised) if head["kind"] == WHOLE else _Selection(promised)
        pruned = number = 0
        for number, line in enumerate(lines, 1):
            try:
                pruned += checker.take(_parsed(line, number + 1))
            except (KeyError, TypeError, ValueError) as error:
                raise ExportRefused(f"line {number + 1}: it is no entry ({type(error).__name__})") from None
            if number % 10_000 == 0:
                progress(number)
        checker.finish()
        return Export(head["kind"], number, pruned, note, used)


def _parsed(line: bytes, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        raise ExportRefused(f"line {number}: it is not JSON") from None
    if not isinstance(found, dict):
        raise ExportRefused(f"line {number}: it is no object")
    return found


def _leaf(line: dict[str, Any]) -> tuple[int, bytes, bool]:
    """Sequence, leaf hash, and whether the content is gone. Raises `ExportRefused`."""
    sequence, leaf, entry = int(line["sequence"]), bytes.fromhex(line["leaf"]), line["entry"]
    if entry is None:
        return sequence, leaf, True
    try:
        known = leaf_hash(canonical(entry))
    except rfc8785.CanonicalizationError:
        known = b""
    if known != leaf or entry.get("sequence") != sequence:
        raise ExportRefused(f"entry {sequence}: it is not the one that was sealed")
    return sequence, leaf, False


class _Whole:
    """Every entry, in order: their tree must be the promised one."""

    def __init__(self, promised: Checkpoint) -> None:
        self._promised = promised
        self._frontier = Frontier()

    def take(self, line: dict[str, Any]) -> bool:
        sequence, leaf, gone = _leaf(line)
        if sequence != self._frontier.size:
            raise ExportRefused(f"entry {self._frontier.size}: it is missing or out of its place")
        self._frontier.extend([leaf])
        return gone

    def finish(self) -> None:
        size = self._frontier.size
        if size != self._promised.size:
            first = min(size, self._promised.size)
            raise ExportRefused(
                f"entry {first}: the checkpoint promises {self._promised.size} entries, here are {size}"
            )
        if self._frontier.root() != self._promised.root:
            raise ExportRefused(f"entries 0 to {size - 1} are not what the checkpoint promises")


class _Selection:
    """Some entries: each must prove that it is in the promised tree."""

    def __init__(self, promised: Checkpoint) -> None:
        self._promised = promised

    def take(self, line: dict[str, Any]) -> bool:
        sequence, leaf, gone = _leaf(line)
        try:
            path = [b64decode(step, validate=True) for step in line["proof"]]
        except NotBase64:
            path = []
        if not verify_inclusion(leaf, sequence, self._promised.size, path, self._promised.root):
            raise ExportRefused(f"entry {sequence}: it does not prove that it is in the log")
        return gone

    def finish(self) -> None:
        """Nothing: a selection cannot show that it is complete."""
