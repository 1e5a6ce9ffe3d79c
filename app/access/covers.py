"""Cover: the co-ordinators of one region stand in for those of another, from a day to a day.

Granted by a co-ordinator of the region covered, or a national one. While it lasts the relation `region` reaches the
covered region's rows too, and so does the second wall: the transaction then acts for both regions.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Date, DateTime, ForeignKey, Text, Uuid, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.access.policy import Role
from app.audit.record import Actor, Event, Operation, record
from app.db import AS_GATEWAY, Base, Connection, Database, is_away
from app.logs import logger

MOST_DAYS = 31
"""For how long one is granted at most: who is away for longer is asked again [mem]."""

_LOOK_SECONDS = 1.0
_LAPSE_SECONDS = 10.0
"""After so long without a look nobody covers anybody: what is ended may not go on because nobody could read that."""

log = logger()


class Cover(Base):
    """`by_region` covers `region` from the day `starts_on` to the end of the day `ends_on` (London), unless ended."""

    __tablename__ = "cover"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, server_default=text("uuidv7()"))
    region: Mapped[str] = mapped_column(Text, ForeignKey("party.code"))
    by_region: Mapped[str] = mapped_column(Text, ForeignKey("party.code"))
    starts_on: Mapped[date] = mapped_column(Date)
    ends_on: Mapped[date] = mapped_column(Date)
    granted_party: Mapped[str] = mapped_column(Text)
    granted_by: Mapped[str] = mapped_column(Text)
    granted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        CheckConstraint("region <> by_region", name="of_another"),
        CheckConstraint("ends_on BETWEEN starts_on AND starts_on + 366", name="days"),
    )


_TODAY = "CAST(now() AT TIME ZONE 'Europe/London' AS date)"

# ruff: noqa: S608  constants of this file

_STANDING = text(f"""
    SELECT by_region, array_agg(DISTINCT region ORDER BY region) AS regions FROM cover
     WHERE ended_at IS NULL AND {_TODAY} BETWEEN starts_on AND ends_on
     GROUP BY by_region
""")

_SHOWN = f"""
    SELECT id, region, by_region, starts_on, ends_on, granted_party, starts_on > {_TODAY} AS is_to_come FROM cover
     WHERE ended_at IS NULL AND ends_on >= {_TODAY}
"""
_LISTED = text(f"{_SHOWN} ORDER BY starts_on, id LIMIT 50")
_ONE = text(f"{_SHOWN} AND id = :id")

_GRANT = text("""
    INSERT INTO cover (region, by_region, starts_on, ends_on, granted_party, granted_by)
    VALUES (:region, :by_region, :starts_on, :ends_on, :party, :name)
""")

_END = text("""
    UPDATE cover SET ended_at = now()
     WHERE id = :id AND ended_at IS NULL AND (CAST(:region AS text) IS NULL OR region = :region)
    RETURNING region, by_region
""")


@dataclass(frozen=True, slots=True)
class Grant:
    """Whom, by whom, and for which days."""

    region: str
    by_region: str
    starts_on: date
    ends_on: date


class Covers:
    """Who covers whom now, as this process saw it within the last second."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._standing: Mapping[str, tuple[str, ...]] = {}
        self._looked_at = 0.0

    def of(self, party: str, role: Role) -> tuple[str, ...]:
        """The regions that a caller covers now."""
        if role is not Role.COORDINATOR or time.monotonic() - self._looked_at > _LAPSE_SECONDS:
            return ()
        return self._standing.get(party, ())

    async def look(self, connection: Connection) -> None:
        """Look now, in a transaction of the gateway's or of a co-ordinator's."""
        rows = await connection.execute(_STANDING)
        self._standing = {row.by_region: tuple(row.regions) for row in rows}
        self._looked_at = time.monotonic()

    async def run(self) -> None:
        """Look every second, until cancelled."""
        while True:
            try:
                async with self._database.transaction(AS_GATEWAY) as connection:
                    await self.look(connection)
            except Exception as error:
                if not is_away(error):
                    raise
                log.info("the database is away; who covers whom is looked at later")
            await asyncio.sleep(_LOOK_SECONDS)


async def listed(connection: Connection) -> Sequence[Mapping[str, Any]]:
    """The first 50 covers that stand or are to come, of the regions that the caller acts for, or by them."""
    return [dict(row._mapping) for row in await connection.execute(_LISTED)]


async def standing(connection: Connection, id: UUID) -> Mapping[str, Any] | None:
    """One that stands or is to come; None where there is none."""
    row = (await connection.execute(_ONE, {"id": id})).one_or_none()
    return None if row is None else dict(row._mapping)


async def grant_cover(connection: Connection, actor: Actor, grant: Grant) -> None:
    """Have a region covered by another's co-ordinators; logged."""
    days = {"starts_on": grant.starts_on, "ends_on": grant.ends_on}
    parameters = {
        "region": grant.region,
        "by_region": grant.by_region,
        **days,
        "party": actor.party,
        "name": actor.name,
    }
    await connection.execute(_GRANT, parameters)
    told = {"region": grant.region, "by": grant.by_region, **{name: day.isoformat() for name, day in days.items()}}
    await record(connection, actor, [Event(Operation.ALTERATION, "cover.granted", detail=told)])


async def end_cover(connection: Connection, actor: Actor, id: UUID, region: str | None) -> bool:
    """End one at once, where it is of this region (None: any); False where there is none."""
    row = (await connection.execute(_END, {"id": id, "region": region})).one_or_none()
    if row is None:
        return False
    told = {"region": row.region, "by": row.by_region}
    await record(connection, actor, [Event(Operation.ALTERATION, "cover.ended", detail=told)])
    return True
