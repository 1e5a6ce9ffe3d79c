"""Witnesses: what is sent to one (C2SP tlog-witness), and what is kept of its answers."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from app.db import Connection

_GET = text("SELECT size, at, failing_since, failure FROM audit_witness WHERE url = :url")
_COUNTERSIGNED = text("""
    INSERT INTO audit_witness (url, size, at, signatures) VALUES (:url, :size, now(), :signatures)
    ON CONFLICT (url) DO UPDATE
       SET size = excluded.size, at = excluded.at, signatures = excluded.signatures,
           failing_since = NULL, failure = NULL
""")
_FAILED = text("""
    INSERT INTO audit_witness (url, failing_since, failure) VALUES (:url, now(), :failure)
    ON CONFLICT (url) DO UPDATE
       SET failing_since = coalesce(audit_witness.failing_since, excluded.failing_since), failure = excluded.failure
""")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a witness stands: what it countersigned last and when (UTC), and since when and how it fails."""

    size: int = 0
    at: datetime | None = None
    failing_since: datetime | None = None
    failure: str | None = None


def request_body(old_size: int, proof: Sequence[bytes], note: str) -> bytes:
    """What `add-checkpoint` takes: the size the witness knows, the consistency proof from there, the signed note."""
    lines = [f"old {old_size}", *(b64encode(step).decode() for step in proof)]
    return ("\n".join(lines) + "\n\n" + note).encode()


async def standing(connection: Connection, url: str) -> Standing:
    """How the witness at this address stands."""
    row = (await connection.execute(_GET, {"url": url})).one_or_none()
    return Standing() if row is None else Standing(*row)


async def countersigned(connection: Connection, url: str, size: int, signatures: str) -> None:
    """Keep a witness's signature lines."""
    await connection.execute(_COUNTERSIGNED, {"url": url, "size": size, "signatures": signatures})


async def failed(connection: Connection, url: str, failure: str) -> None:
    """Note that a witness could not be told; `failure` is one short line of ours, never the witness's words."""
    await connection.execute(_FAILED, {"url": url, "failure": failure})
