"""Saying that something has changed: what an inbox shows, to the gateways; a referral, to whoever asks since when.

Every verb that changes what an inbox shows says so, once a transaction.
"""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text

from app.db import Connection, Numbered

CHANNEL = "gain_inbox"
"""The PostgreSQL channel. A payload is the transaction's number, a blank, and the agencies, with commas between."""

EVERYBODY = "*"
"""In the place of agencies that are too many to name."""

CHANGED_IN = "gain.inbox_changed_in"
"""Key of a connection's `info` under which the number of its transaction is left for whoever commits it."""

_MOST_CHARACTERS = 7_000  # PostgreSQL takes less than 8,000 bytes in a payload; codes are ASCII

# The row is for gateways that do not hear the notification; no row is shared, so no transaction waits for another here.
_TELL = Numbered.of("""
    WITH noted AS (
        INSERT INTO inbox_change (transaction, agency)
        SELECT CAST(CAST(pg_current_xact_id() AS text) AS bigint), agency
          FROM unnest(CAST(:agencies AS text[])) AS agency
        ON CONFLICT DO NOTHING
    )
    SELECT CAST(CAST(pg_current_xact_id() AS text) AS bigint),
           pg_notify(:channel, concat(pg_current_xact_id(), ' ', CAST(:named AS text)))
""")

_CHANGED = text("UPDATE referral SET updated_at = now() WHERE id = :id")


async def inboxes_changed(connection: Connection, agencies: Collection[str]) -> None:
    """Say that what these agencies' inboxes show changes when the caller's transaction commits.

    First delivery does not count: a list of what waits is the same before and after.
    """
    if not agencies:
        return
    distinct = sorted(set(agencies))
    named = ",".join(distinct)
    parameters = {
        "agencies": distinct,
        "channel": CHANNEL,
        "named": named if len(named) <= _MOST_CHARACTERS else EVERYBODY,
    }
    [(connection.info[CHANGED_IN], _)] = await _TELL.within(connection, parameters)


async def referral_changed(connection: Connection, referral_id: UUID) -> None:
    """Move `updated_at`, by which its originator finds what became of it; the caller holds the referral's row."""
    await connection.execute(_CHANGED, {"id": referral_id})
