"""Proofs from what is stored of the tree: a few hundred rows at most, however long the log."""

from collections.abc import Sequence

from sqlalchemy import text

from app.audit.tree import Node, Span, consistency_spans, inclusion_spans, needed, span_roots
from app.db import Connection

_LEAVES = text("""
    SELECT sequence, leaf FROM unnest(CAST(:starts AS bigint[]), CAST(:ends AS bigint[])) AS part (start, stop)
      JOIN audit_entry ON sequence >= start AND sequence < stop
""")
_NODES = text("""
    SELECT level, place, hash
      FROM unnest(CAST(:levels AS smallint[]), CAST(:starts AS bigint[]), CAST(:ends AS bigint[]))
           AS part (wanted, start, stop)
      JOIN audit_node ON level = wanted AND place >= start AND place < stop
""")
_SIZE = text("SELECT size FROM audit_head")


async def tree_size(connection: Connection) -> int:
    """How many entries are sealed."""
    return int(await connection.scalar(_SIZE) or 0)


async def inclusion(connection: Connection, index: int, size: int) -> list[bytes]:
    """The path from entry `index` to the root of the first `size` entries, which must be sealed.

    Raises `ValueError` where they hold no such entry, `KeyError` where stored hashes are missing.
    """
    return await roots(connection, inclusion_spans(index, size))


async def consistency(connection: Connection, first: int, second: int) -> list[bytes]:
    """What proves that the first `first` entries are a beginning of the first `second`. Raises as `inclusion`."""
    return await roots(connection, consistency_spans(first, second))


async def root(connection: Connection, size: int) -> bytes:
    """The root of the first `size` entries, which must be sealed. Raises `KeyError` where stored hashes are missing."""
    return (await roots(connection, [(0, size)]))[0]


async def roots(connection: Connection, spans: Sequence[Span]) -> list[bytes]:
    """The roots of the spans, each of which must lie within the sealed log."""
    wanted = list(needed(spans))
    leaves = [span for level, span in wanted if level == 0]
    nodes = [(level, span) for level, span in wanted if level > 0]
    stored: dict[Node, bytes] = {}
    if leaves:
        parameters = {"starts": [start for start, _ in leaves], "ends": [end for _, end in leaves]}
        stored |= {Node(0, row.sequence): row.leaf for row in await connection.execute(_LEAVES, parameters)}
    if nodes:
        parameters = {
            "levels": [level for level, _ in nodes],
            "starts": [start for _, (start, _) in nodes],
            "ends": [end for _, (_, end) in nodes],
        }
        stored |= {Node(row.level, row.place): row.hash for row in await connection.execute(_NODES, parameters)}
    return span_roots(spans, stored)
