"""Alerts: what needs a co-ordinator, raised once for each dispatch and kind while it stands."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text

from app.audit.record import Actor
from app.db import Connection
from app.referrals.states import AlertKind

_INSERT = """
    INSERT INTO alert (kind, dispatch_id, referral_id, agency, region)
    SELECT :kind, id, referral_id, agency, region FROM dispatch
     WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY id
    ON CONFLICT (dispatch_id, kind) WHERE settled_at IS NULL DO NOTHING
"""

_RAISE = text(_INSERT)

_TELL = text(f"""
    WITH raised AS ({_INSERT} RETURNING kind, referral_id, dispatch_id)
    INSERT INTO audit_event (operation, action, party, actor, request_id, referral_id, dispatch_id, detail)
    SELECT 'alteration', 'dispatch.alerted', :actor_party, :actor_name, :request_id, referral_id, dispatch_id,
           jsonb_build_object('kind', kind)
      FROM raised
""")  # noqa: S608  constants of this file

_SETTLE = text("""
    UPDATE alert SET settled_at = now()
     WHERE dispatch_id = ANY(CAST(:ids AS uuid[])) AND settled_at IS NULL
       AND (CAST(:kinds AS text[]) IS NULL OR kind = ANY(CAST(:kinds AS text[])))
""")


async def raise_alerts(connection: Connection, kind: AlertKind, dispatch_ids: Collection[UUID]) -> None:
    """Raise an alert for each of these dispatches that has none of the kind standing."""
    if dispatch_ids:
        await connection.execute(_RAISE, {"kind": kind.value, "ids": list(dispatch_ids)})


async def tell_of_alerts(connection: Connection, actor: Actor, kind: AlertKind, dispatch_ids: Collection[UUID]) -> None:
    """The same of what no event tells of yet: each alert that is raised stands in the timeline too."""
    if dispatch_ids:
        parameters = {"kind": kind.value, "ids": list(dispatch_ids), **actor.parameters()}
        await connection.execute(_TELL, parameters)


async def settle_alerts(
    connection: Connection, dispatch_ids: Collection[UUID], kinds: Collection[AlertKind] | None = None
) -> None:
    """Settle the standing alerts of these dispatches: those of `kinds`, or all."""
    if dispatch_ids:
        named = None if kinds is None else [kind.value for kind in kinds]
        await connection.execute(_SETTLE, {"ids": list(dispatch_ids), "kinds": named})
