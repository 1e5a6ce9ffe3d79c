"""Heartbeats: a part is healthy when it completed work lately, not when its process is alive."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import DateTime, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, Connection

HEALTHY_SECONDS = 30
"""A part that completed nothing for this long is not healthy. The scheduler wakes the workers every few seconds."""

_BEAT = text("""
    INSERT INTO heartbeat (part, at) VALUES (:part, now())
    ON CONFLICT (part) DO UPDATE SET at = excluded.at
""")


_SILENT = text("SELECT part, extract(epoch FROM clock_timestamp() - at) AS seconds FROM heartbeat")


class Beating(StrEnum):
    """The parts that beat.

    A worker when a wake-up came through the queue, a scheduler while one leads, a sealer when all of the log is sealed.
    """

    WORKER = "worker"
    SCHEDULER = "scheduler"
    SEALER = "sealer"


class Heartbeat(Base):
    """When any process of a part last completed its work."""

    __tablename__ = "heartbeat"

    part: Mapped[str] = mapped_column(Text, primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


async def beat(connection: Connection, part: Beating) -> None:
    """Say that work of this part was completed now."""
    await connection.execute(_BEAT, {"part": part.value})


async def silent_seconds(connection: Connection) -> dict[Beating, float | None]:
    """Of each part the seconds since it last completed work, on the database's clock; None where it never did."""
    found = {row.part: float(row.seconds) for row in await connection.execute(_SILENT)}
    return {part: found.get(part.value) for part in Beating}
