"""Referrals whose fan-out has failed, or was cut off: counted and leased here, so that one of them stops nothing else.

A referral has a row here only once something went wrong, or while it is looked at for a second time: the normal path
writes nothing. A try is counted before it is made, in a transaction of its own, so one that kills its worker counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, SmallInteger, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, Connection

RETRY_SECONDS = (0, 5, 60, 600)
"""Waits after the first (in a batch), second, … failed try (alone)."""

MOST_TRIES = len(RETRY_SECONDS) + 1
"""Tries before a co-ordinator has to decide."""

LEASE_SECONDS = 45
"""When a try that nobody reports on counts as failed: far longer than fanning out takes."""


class FanOutTry(Base):
    """The `tries` at one referral's fan-out so far, the one under way included.

    `next_at` is when it is tried again, or its lease's end; null: no more, a co-ordinator decides. `failure` names the
    kind of error, never its text, which may quote what was submitted.
    """

    __tablename__ = "fan_out_try"

    referral_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("referral.id", ondelete="CASCADE"), primary_key=True)
    tries: Mapped[int] = mapped_column(SmallInteger)
    next_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    failure: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (Index("ix_fan_out_try_next_at", "next_at", postgresql_where=text("next_at IS NOT NULL")),)


@dataclass(frozen=True, slots=True)
class Try:
    """One referral to be fanned out alone; `tries` counts this one already."""

    referral_id: UUID
    tries: int


_BEGIN = text("""
    INSERT INTO fan_out_try (referral_id, tries, next_at)
    SELECT id, 1, now() + make_interval(secs => CAST(:lease AS double precision))
      FROM unnest(CAST(:ids AS uuid[])) AS id
    ON CONFLICT (referral_id) DO NOTHING
""")

_TAKE = text("""
    UPDATE fan_out_try
       SET tries = tries + 1, next_at = now() + make_interval(secs => CAST(:lease AS double precision))
     WHERE referral_id = (SELECT referral_id FROM fan_out_try WHERE next_at <= now()
                           ORDER BY next_at, referral_id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING referral_id, tries
""")

# Past the last wait there is none: the array gives null, and the referral is tried no more.
_FAIL = text("""
    INSERT INTO fan_out_try (referral_id, tries, next_at, failure)
    SELECT id, 1, now(), :failure FROM unnest(CAST(:ids AS uuid[])) AS id ORDER BY id
    ON CONFLICT (referral_id) DO UPDATE
       SET failure = excluded.failure,
           next_at = now() + make_interval(secs => (CAST(:waits AS double precision[]))[fan_out_try.tries])
""")

_STOP = text("UPDATE fan_out_try SET next_at = NULL WHERE referral_id = :id")
_FORGET = text("DELETE FROM fan_out_try WHERE referral_id = ANY(CAST(:ids AS uuid[]))")


async def begin(connection: Connection, referral_ids: Sequence[UUID]) -> None:
    """Count a first try at these. Commit before making it."""
    await connection.execute(_BEGIN, {"ids": list(referral_ids), "lease": LEASE_SECONDS})


async def take(connection: Connection) -> Try | None:
    """Count the next try at one referral whose time has come, None where there is none. Commit before making it."""
    row = (await connection.execute(_TAKE, {"lease": LEASE_SECONDS})).one_or_none()
    return None if row is None else Try(row.referral_id, row.tries)


async def fail(connection: Connection, referral_ids: Sequence[UUID], failure: str) -> None:
    """The latest try at these has failed: each is tried again, alone, after its wait; after the last try no more."""
    parameters = {"ids": list(referral_ids), "failure": failure, "waits": [float(wait) for wait in RETRY_SECONDS]}
    await connection.execute(_FAIL, parameters)


async def stop(connection: Connection, referral_id: UUID) -> None:
    """Try this one no more."""
    await connection.execute(_STOP, {"id": referral_id})


async def forget(connection: Connection, referral_ids: Sequence[UUID]) -> None:
    """These went through, or are to begin anew."""
    await connection.execute(_FORGET, {"ids": list(referral_ids)})
