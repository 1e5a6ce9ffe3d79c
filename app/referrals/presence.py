"""When each agency was last heard of: noted in memory, written every few seconds, so that a poll writes no row."""

import time
from collections.abc import Collection

from sqlalchemy import text

from app.db import Connection

_WRITE = text("""
    INSERT INTO agency_seen (agency, last_seen_at)
    SELECT agency, now() FROM unnest(CAST(:agencies AS text[])) AS agency ORDER BY agency
    ON CONFLICT (agency) DO UPDATE SET last_seen_at = greatest(agency_seen.last_seen_at, excluded.last_seen_at)
""")


class Presence:
    """The agencies this process has heard of since it last wrote them down."""

    def __init__(self, seconds: float = 2.0) -> None:
        self._seconds = seconds
        self._noted: set[str] = set()
        self._written_at: dict[str, float] = {}

    def note(self, agency: str) -> None:
        """An agency was heard of now."""
        self._noted.add(agency)

    def due(self) -> list[str]:
        """The agencies to write now: noted, and not written for `seconds`."""
        latest = time.monotonic() - self._seconds
        return sorted(agency for agency in self._noted if self._written_at.get(agency, float("-inf")) <= latest)

    async def write(self, connection: Connection, agencies: Collection[str]) -> None:
        """Write that these were heard of. Call it last in a transaction: others wait for these rows."""
        if not agencies:
            return
        await connection.execute(_WRITE, {"agencies": sorted(agencies)})
        self._noted.difference_update(agencies)
        self._written_at.update(dict.fromkeys(agencies, time.monotonic()))
