"""Whether an entry proves to be in the log: its hash, its path to a checkpoint's root, the checkpoint's signature."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from app.audit import checkpoints, prove
from app.audit.entry import canonical_hash
from app.audit.note import NotSigned, VerifierKey
from app.audit.note import read as read_note
from app.audit.tree import verify_inclusion
from app.db import Connection


class Check(StrEnum):
    """What the proof of an entry comes to."""

    PROVED = "proved"
    WAITING = "waiting"  # no signed checkpoint covers it yet
    CHANGED = "changed"  # it is not the entry that was sealed
    NOT_INCLUDED = "not_included"  # its hash does not lead to the checkpoint's root
    NOT_SIGNED = "not_signed"  # nobody known has signed the checkpoint
    BROKEN = "broken"  # stored hashes are missing


async def checked(connection: Connection, item: Mapping[str, Any], key: VerifierKey) -> Check:
    """The check of an entry as `app.audit.read.page` gives it, against the latest checkpoint."""
    sequence, leaf, entry = item["sequence"], item["leaf_hash"], item["entry"]
    if entry is not None and canonical_hash(entry) != leaf:
        return Check.CHANGED
    signed = await checkpoints.latest(connection)
    if signed is None or signed.size <= sequence:
        return Check.WAITING
    try:
        promised = read_note(signed.note, [key])
        path = await prove.inclusion(connection, sequence, signed.size)
    except NotSigned:
        return Check.NOT_SIGNED
    except KeyError:
        return Check.BROKEN
    included = promised.size == signed.size and verify_inclusion(leaf, sequence, promised.size, path, promised.root)
    return Check.PROVED if included else Check.NOT_INCLUDED
