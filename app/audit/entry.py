"""Canonical entries: an event in the form of RFC 8785, which is what the tree holds a hash of. Pure.

An entry holds who, what, when and codes. What may be personal data (a stated purpose, a person's reason) enters only as
a commitment: a hash under a random salt that is kept beside. Who deletes the salt leaves every proof as it was, and a
hash from which nothing can be guessed.
"""

import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from app.audit.tree import leaf_hash
from app.crypto.sameness import canonical, has_only_text_and_small_integers

SALT_BYTES = 32

COLUMNS = """
    audit_event.id, to_char(audit_event.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at,
    audit_event.operation, audit_event.action, audit_event.party, audit_event.actor, audit_event.request_id,
    audit_event.referral_id::text AS referral_id, audit_event.dispatch_id::text AS dispatch_id,
    audit_event.recipients, audit_event.detail::text AS detail, audit_event.commitments::text AS commitments
"""
"""The columns of an event, in the order `document` takes them. They are text, so that every reader gets the same."""

_FIELDS = (
    *("id", "at", "operation", "action", "party", "actor", "request_id", "referral_id", "dispatch_id", "recipients"),
    *("detail", "commitments"),
)


@dataclass(frozen=True, slots=True)
class Private:
    """Personal data of one event: `commitments` go into the entry, `salt` beside it, the values nowhere in the log."""

    salt: bytes
    commitments: Mapping[str, str]


def commit(values: Mapping[str, str], salt: bytes | None = None) -> Private:
    """Commit to values by the names of their fields, under one salt for the event (a new one unless given)."""
    salt = salt or secrets.token_bytes(SALT_BYTES)
    return Private(salt, {field: commitment(salt_of(salt, field), value) for field, value in values.items()})


def salt_of(salt: bytes, field: str) -> bytes:
    """The salt of one field: to show it opens that field alone, and helps to guess no other of the same event."""
    return hmac.digest(salt, field.encode(), sha256)


def commitment(field_salt: bytes, value: str) -> str:
    """The commitment to a value, 64 hexadecimal digits."""
    return hmac.digest(field_salt, value.encode(), sha256).hex()


def document(columns: Iterable[Any], sequence: int) -> dict[str, Any]:
    """The entry at a place of the log, of a row of `COLUMNS`: every field, null where the event has none."""
    found: dict[str, Any] = dict(zip(_FIELDS, columns, strict=True))
    for field in ("detail", "commitments"):
        if found[field] is not None:
            found[field] = _exact(found[field])
    # An entry knows its place, so that one moved to another is told from its own hash.
    found["sequence"] = sequence
    return found


def _exact(text: str) -> Any:
    """The value of a JSON text; the text itself where a number in it would not be the same to every reader.

    No code of ours writes such a number. One that is there must neither stop the log nor be changed unseen.
    """
    value = orjson.loads(text)
    return value if has_only_text_and_small_integers(value) else text


def encoded(columns: Iterable[Any], sequence: int) -> bytes:
    """The canonical JSON of such an entry."""
    return _written(document(columns, sequence))


def _written(entry: dict[str, Any]) -> bytes:
    # All of it is text and small integers by now: in ASCII, sorted JSON is the canonical form already.
    written = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
    return written if written.isascii() else canonical(entry)


def canonical_hash(entry: dict[str, Any]) -> bytes:
    """The leaf hash of an entry that `document` made."""
    return leaf_hash(_written(entry))


def hashed(columns: Iterable[Any], sequence: int) -> bytes:
    """The leaf hash of such an entry."""
    return leaf_hash(encoded(columns, sequence))
