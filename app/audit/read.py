"""Reading the log: entries as they were sealed, in the order of the tree."""

from typing import Any

from sqlalchemy import text

from app.audit.entry import COLUMNS, document
from app.db import Connection

_PAGE = text(f"""
    SELECT audit_entry.sequence, audit_entry.leaf, {COLUMNS}
      FROM audit_entry LEFT JOIN audit_event ON audit_event.id = audit_entry.event_id
     WHERE audit_entry.sequence >= :start AND audit_entry.sequence < CAST(:start AS bigint) + :limit
     ORDER BY audit_entry.sequence
""")  # noqa: S608
_LEAF = text("SELECT leaf FROM audit_entry WHERE sequence = :sequence")


async def page(connection: Connection, start: int, limit: int) -> list[dict[str, Any]]:
    """Entries from `start` on: `sequence`, `leaf_hash` (bytes) and `entry`, None where its content was pruned."""
    rows = await connection.execute(_PAGE, {"start": start, "limit": limit})
    return [
        {
            "sequence": row.sequence,
            "leaf_hash": row.leaf,
            "entry": None if row.id is None else document(row[2:], row.sequence),
        }
        for row in rows
    ]


async def leaf(connection: Connection, sequence: int) -> bytes | None:
    """The leaf hash of an entry, None where there is none of this number."""
    found: bytes | None = await connection.scalar(_LEAF, {"sequence": sequence})
    return found
