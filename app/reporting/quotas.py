"""How many notices each body still takes today, where its policy sets a number."""

from sqlalchemy import text

from app.db import Connection

# The day as the notices are counted by (app.referrals.notices).
_LEFT = text("""
    SELECT party.code, CAST(party.policy->>'notices_per_day' AS integer) AS most,
           coalesce(notice_count.in_day, 0) AS sent
      FROM party
      LEFT JOIN notice_count ON notice_count.agency = party.code
       AND notice_count.day = CAST(now() AT TIME ZONE 'Europe/London' AS date) - date '1970-01-01'
     WHERE party.policy->>'notices_per_day' IS NOT NULL AND party.channel IN ('push', 'email')
""")


async def notices_left(connection: Connection) -> dict[str, tuple[int, int]]:
    """By agency, of those that have a quota: how many notices are left today, and how many there are in a day."""
    return {row.code: (max(0, row.most - row.sent), row.most) for row in await connection.execute(_LEFT)}
