"""Declarations of pruning: all that excuses an entry without content. Signed, so that no database can make one.

Who prunes has the master secret; who owns the database has not. The signature is that of a C2SP signed note with the
checkpoint key, over a text that is no checkpoint's: its second line is a word, where a checkpoint has a number.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.audit.note import NotSigned, Signer, VerifierKey, verify_line

PRUNED = "audit.pruned"
"""The action that says that content was pruned: `detail` is a signed declaration."""

OF_PRUNINGS = f"action = '{PRUNED}'"
"""The condition on `audit_event` of declarations. Written out: of a parameter PostgreSQL does not know
that the index of them fits."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the log tells of a pruning: the content of all entries before `to` goes, as being older than `before`."""

    to: int
    before: str
    signature: str

    @classmethod
    def of(cls, signer: Signer, to: int, before: datetime) -> "Declaration":
        """The declaration, signed; `before` has a zone."""
        written = before.isoformat()
        return cls(to, written, b64encode(signer.signature(_text(signer.key, to, written))).decode())

    def detail(self) -> dict[str, Any]:
        """The declaration as its event's detail."""
        return {"to": self.to, "before": self.before, "signature": self.signature}


def declared(detail: object, keys: Sequence[VerifierKey]) -> int:
    """The first entry whose content a declaration leaves. Raises `NotSigned` where none of the keys has signed it."""
    if not isinstance(detail, Mapping):
        raise NotSigned("it is no declaration")
    to, before, signature = detail.get("to"), detail.get("before"), detail.get("signature")
    if type(to) is not int or not isinstance(before, str) or not isinstance(signature, str) or "\n" in before:
        raise NotSigned("it is not signed")
    for key in keys:
        if verify_line(key, _text(key, to, before), signature):
            return to
    raise NotSigned("no known key has signed it")


def _text(key: VerifierKey, to: int, before: str) -> str:
    return f"{key.name}\npruned\n{to}\n{before}\n"
