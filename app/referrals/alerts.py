"""Alerts: what needs a co-ordinator, raised once for each dispatch and kind while it stands."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text

from app.db import Connection
from app.referrals.states import AlertKind

_RAISE = text("""
    INSERT INTO alert (kind, dispatch_id, referral_id, agency, region)
    SELECT :kind, id, referral_id, agency, region FROM dispatch
     WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id
    ON CONFLICT (dispatch_id, kind) WHERE settled_at IS NULL DO NOTHING
""")

_SETTLE = text("""
    UPDATE alert SET settled_at = now()
     WHERE dispatch_id = ANY(CAST(:ids AS uuid[])) AND settled_at IS NULL
       AND (CAST(:kinds AS text[]) IS NULL OR kind = ANY(CAST(:kinds AS text[])))
""")


async def raise_alerts(connection: Connection, kind: AlertKind, dispatch_ids: Collection[UUID]) -> None:
    """Raise an alert for each of these dispatches that has none of the kind standing."""
    if dispatch_ids:
        await connection.execute(_RAISE, {"kind": kind.value, "ids": list(dispatch_ids)})


async def settle_alerts(
    connection: Connection, dispatch_ids: Collection[UUID], kinds: Collection[AlertKind] | None = None
) -> None:
    """Settle the standing alerts of these dispatches: those of `kinds`, or all."""
    if dispatch_ids:
        named = None if kinds is None else [kind.value for kind in kinds]
        await connection.execute(_SETTLE, {"ids": list(dispatch_ids), "kinds": named})
