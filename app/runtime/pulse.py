"""How long each part of a running system has been silent."""

from collections.abc import Mapping

from app.db import AS_WORKER, Database
from app.referrals.heartbeat import Beating
from app.referrals.heartbeat import silent_seconds as of
from app.settings import Settings


async def silent_seconds(settings: Settings) -> Mapping[Beating, float | None]:
    """Seconds since each part last completed work, None where it never did."""
    database = Database(settings)
    try:
        async with database.transaction(AS_WORKER) as connection:
            return await of(connection)
    finally:
        await database.close()
