"""The log as JSON lines: the whole, which shows that nothing is missing, or a selection, each entry with its proof.

Line 1 is `{"log", "key", "kind", "size", "checkpoint"}`; then an entry a line, `{"entry", "leaf", "sequence"}`: the
entry is null where its content was pruned, and `leaf` its hash in hexadecimal. In a selection each has `proof`, its
path to the checkpoint's root in base64. Entries stand in their order, and each line is the canonical JSON of what it
says (RFC 8785). Where one is null, a later one declares that it was pruned. Whoever holds such a file needs nothing
else of ours but the public key.
"""

from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Row, text

from app.audit import prove
from app.audit.checkpoints import Signed
from app.audit.entry import COLUMNS, encoded
from app.audit.note import VerifierKey
from app.audit.pruned import OF_PRUNINGS
from app.db import Connection

WHOLE, SELECTION = "whole", "selection"
_CHUNK = 2_000

_ENTRIES = text(f"""
    SELECT audit_entry.sequence, audit_entry.leaf, {COLUMNS}
      FROM audit_entry LEFT JOIN LATERAL (
           SELECT * FROM audit_event AS event WHERE event.id = audit_entry.event_id OFFSET 0) AS audit_event ON true
     WHERE audit_entry.sequence < :size
       AND (CAST(:party AS text) IS NULL OR audit_event.party = :party OR :party = ANY(audit_event.recipients))
       AND (CAST(:since AS timestamptz) IS NULL OR audit_event.at >= :since)
       AND (CAST(:until AS timestamptz) IS NULL OR audit_event.at < :until)
     ORDER BY audit_entry.sequence
""")  # noqa: S608

_ONE = text(f"""
    SELECT audit_entry.sequence, audit_entry.leaf, {COLUMNS}
      FROM audit_entry LEFT JOIN audit_event ON audit_event.id = audit_entry.event_id
     WHERE audit_entry.sequence = :sequence
""")  # noqa: S608

# A declaration that reaches further stands later, so the last one covers whatever was pruned. OFFSET 0 begins with
# declarations, which are few: a walk from the log's end to the first of them reads all of it.
_DECLARATION = text(f"""
    SELECT audit_entry.sequence, audit_entry.leaf, {COLUMNS}
      FROM audit_event CROSS JOIN LATERAL (
           SELECT sequence, leaf FROM audit_entry WHERE event_id = audit_event.id OFFSET 0) AS audit_entry
     WHERE audit_event.{OF_PRUNINGS} AND audit_entry.sequence < :size
     ORDER BY audit_entry.sequence DESC LIMIT 1
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class Filters:
    """What of the log is exported: entries by or disclosing to a party, from a time on, before a time (UTC)."""

    party: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def kind(self) -> str:
        """Whether this is the whole log."""
        return WHOLE if self == Filters() else SELECTION

    def detail(self) -> dict[str, Any]:
        """The filters as the log tells of them."""
        return {
            "kind": self.kind,
            "party": self.party,
            "since": self.since and self.since.isoformat(),
            "until": self.until and self.until.isoformat(),
        }


async def lines(
    connection: Connection, proving: Connection, filters: Filters, signed: Signed, key: VerifierKey
) -> AsyncIterator[bytes]:
    """The export of what a checkpoint covers; `proving` is a second connection, which reads hashes meanwhile."""
    yield _head(filters.kind, signed, key)
    parameters = {"size": signed.size, "party": filters.party, "since": filters.since, "until": filters.until}
    result = await connection.stream(_ENTRIES, parameters, execution_options={"yield_per": _CHUNK})
    async for row in result:
        proving_it = filters.kind == SELECTION
        yield _line(row, await prove.inclusion(proving, row.sequence, signed.size) if proving_it else None)


async def one(connection: Connection, sequence: int, signed: Signed, key: VerifierKey) -> bytes:
    """A selection of one entry, which a checkpoint covers; if its content was pruned, also what declares that.

    Raises `KeyError` where stored hashes are missing.
    """
    row = (await connection.execute(_ONE, {"sequence": sequence})).one()
    rows = [row]
    if row.id is None:
        rows += await connection.execute(_DECLARATION, {"size": signed.size})
    lines = [_line(row, await prove.inclusion(connection, row.sequence, signed.size)) for row in rows]
    return b"".join([_head(SELECTION, signed, key), *lines])


def _head(kind: str, signed: Signed, key: VerifierKey) -> bytes:
    return heading(kind, signed.size, signed.note, key)


def heading(kind: str, size: int, note: str, key: VerifierKey) -> bytes:
    """Line 1 of an export."""
    head = {"log": key.name, "key": str(key), "kind": kind, "size": size, "checkpoint": note}
    return orjson.dumps(head, option=orjson.OPT_APPEND_NEWLINE)


def _line(row: Row[Any], path: Sequence[bytes] | None) -> bytes:
    entry = None if row.id is None else encoded(row[2:], row.sequence)
    return entry_line(row.sequence, row.leaf, entry, path)


def entry_line(sequence: int, leaf: bytes, entry: bytes | None, path: Sequence[bytes] | None) -> bytes:
    """The line of an entry: its canonical JSON, None where that was pruned, and in a selection its path."""
    proof = b"" if path is None else b',"proof":' + orjson.dumps([b64encode(step).decode() for step in path])
    # The entry stands in it as it was hashed: a reader without RFC 8785 can cut it out and hash that.
    written = b"null" if entry is None else entry
    return b'{"entry":%b,"leaf":"%b"%b,"sequence":%d}\n' % (written, leaf.hex().encode(), proof, sequence)
