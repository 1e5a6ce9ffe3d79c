"""What fails on the way to the agencies: referrals that cannot be sent out, calls that are paused, ended addresses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from app.db import Connection
from app.parties import channels
from app.referrals import circuits

UNSENT_SHOWN = 5

_UNSENT = text("""
    SELECT referral.id, referral.reference, referral.originator
      FROM fan_out_try JOIN referral ON referral.id = fan_out_try.referral_id
     WHERE next_at IS NULL AND referral.state IN ('held', 'accepted')
       AND (CAST(:region AS text) IS NULL OR referral.region = :region)
     ORDER BY referral.id
     LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Trouble:
    """Rows of each kind.

    `unsent` are up to `UNSENT_SHOWN` + 1 referrals (`id`, `reference`, `originator`) that wait for a co-ordinator's
    release to be tried again. `paused` has `agency`, `failures`, `since`, `next_at`; `ended` has `agency`, `channel`
    and `at`: the agency's own system has refused its address for good.
    """

    unsent: Sequence[dict[str, Any]] = ()
    paused: Sequence[dict[str, Any]] = ()
    ended: Sequence[dict[str, Any]] = ()


NO_TROUBLE = Trouble()


async def trouble(connection: Connection, region: str | None) -> Trouble:
    """What fails now; the referrals are those of a region, or (None) all."""
    rows = await connection.execute(_UNSENT, {"region": region, "limit": UNSENT_SHOWN + 1})
    return Trouble(
        unsent=[dict(row._mapping) for row in rows],
        paused=await circuits.paused(connection),
        ended=await channels.ended(connection),
    )
