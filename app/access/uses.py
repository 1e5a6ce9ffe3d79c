"""When each key was last used: noted in memory, written in the background, so that a request writes no row for it."""

import asyncio
import time

from sqlalchemy import text

from app.db import AS_GATEWAY, Database, is_away
from app.logs import logger

_LOOK_SECONDS = 1.0

# In the order of their ids: two processes that write the same keys otherwise wait for one another for ever.
_WRITE = text("""
    UPDATE api_key SET last_used_at = now()
     WHERE id IN (SELECT id FROM api_key WHERE id = ANY(CAST(:ids AS text[])) ORDER BY id FOR NO KEY UPDATE)
""")

log = logger()


class Uses:
    """The keys this process has let in since it last wrote them down; each is written every `seconds` at most."""

    def __init__(self, database: Database, seconds: float = 20.0) -> None:
        self._database = database
        self._seconds = seconds
        self._noted: set[str] = set()
        self._written_at: dict[str, float] = {}

    def note(self, key: str) -> None:
        """This key was used now."""
        self._noted.add(key)

    async def run(self) -> None:
        """Write what is due every second, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await self.write()
            except Exception as error:
                if not is_away(error):
                    raise
                log.info("the database is away; when keys were last used is written later")

    async def write(self) -> None:
        """Write the keys that are due. Raises what the database does; they are then still due."""
        now = time.monotonic()
        self._written_at = {key: at for key, at in self._written_at.items() if at > now - self._seconds}
        due = sorted(self._noted - self._written_at.keys())
        if not due:
            return
        async with self._database.transaction(AS_GATEWAY) as connection:
            await connection.execute(_WRITE, {"ids": due})
        self._noted.difference_update(due)
        self._written_at.update(dict.fromkeys(due, now))
