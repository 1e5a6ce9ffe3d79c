"""Which agencies a worker does not call for now, for people to see: each process decides for itself, in its memory.

A row lapses soon after the next call was due, so that one whose process has died does not stay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, ForeignKey, SmallInteger, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, Connection

LAPSE_SECONDS = 60
"""How long after the next call was due a row still counts: that call takes up to 30 s, and says more."""


class Circuit(Base):
    """One process's pause in calling one agency: since when, after how many failures, and when it calls next."""

    __tablename__ = "circuit"

    process: Mapped[str] = mapped_column(Uuid(as_uuid=False), primary_key=True)
    agency: Mapped[str] = mapped_column(Text, ForeignKey("party.code"), primary_key=True)
    failures: Mapped[int] = mapped_column(SmallInteger)
    since: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    next_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


@dataclass(frozen=True, slots=True)
class Pause:
    """No calls to an agency for `seconds` since, and for `seconds_left` more, after this many `failures` in a row."""

    agency: str
    failures: int
    seconds: float
    seconds_left: float


_CLEAR = text(f"""
    DELETE FROM circuit
     WHERE (process = CAST(:process AS uuid) AND NOT agency = ANY(CAST(:agencies AS text[])))
        OR next_at < now() - interval '{LAPSE_SECONDS} seconds'
""")  # noqa: S608  a constant of this file

_WRITE = text("""
    INSERT INTO circuit (process, agency, failures, since, next_at)
    SELECT CAST(:process AS uuid), agency, least(failures, 32767), now() - make_interval(secs => seconds),
           now() + make_interval(secs => seconds_left)
      FROM unnest(CAST(:agencies AS text[]), CAST(:failures AS integer[]), CAST(:seconds AS double precision[]),
                  CAST(:lefts AS double precision[])) AS given (agency, failures, seconds, seconds_left)
    ON CONFLICT (process, agency) DO UPDATE
       SET failures = excluded.failures, since = excluded.since, next_at = excluded.next_at
""")

_PAUSED_NOW = f"next_at >= now() - interval '{LAPSE_SECONDS} seconds'"

PAUSED_AGENCIES = f"SELECT agency FROM circuit WHERE {_PAUSED_NOW}"  # noqa: S608
"""SQL: the agencies that some worker does not call now, for a statement that tells more of them."""

# Each process finds out for itself: the agency is called again when the first of them does.
_PAUSED = text(f"""
    SELECT agency, max(failures) AS failures, min(since) AS since, min(next_at) AS next_at FROM circuit
     WHERE {_PAUSED_NOW}
     GROUP BY agency ORDER BY agency
""")  # noqa: S608


async def write(connection: Connection, process: str, pauses: Sequence[Pause]) -> None:
    """Say which agencies this process does not call now; those it said before and leaves out, it calls again."""
    agencies = [pause.agency for pause in pauses]
    await connection.execute(_CLEAR, {"process": process, "agencies": agencies})
    if pauses:
        parameters = {
            "process": process,
            "agencies": agencies,
            "failures": [pause.failures for pause in pauses],
            "seconds": [pause.seconds for pause in pauses],
            "lefts": [pause.seconds_left for pause in pauses],
        }
        await connection.execute(_WRITE, parameters)


async def paused(connection: Connection) -> list[dict[str, Any]]:
    """The agencies that some worker does not call now: `agency`, `failures`, `since`, `next_at`."""
    return [dict(row._mapping) for row in await connection.execute(_PAUSED)]
