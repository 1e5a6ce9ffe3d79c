"""What moves no state but is asked of a dispatch all the same: chasing, being overdue, being given more time."""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from app.audit.record import Actor
from app.db import Connection
from app.parties.codes import Priority
from app.parties.policy import Policy
from app.referrals.codes import priority_of
from app.referrals.lifecycle.notify import inboxes_changed, referral_changed
from app.referrals.schedule import Span, expiry, first_check, steps

_CHASE = text("""
    WITH chased AS (
        UPDATE dispatch
           SET chased_at = now(), chases = chases + 1,
               -- Agencies that are told by notice are told again, with all its tries; the others see it in their inbox.
               due_delivery_at = CASE WHEN party.channel IN ('push', 'email') THEN now()
                                      ELSE dispatch.due_delivery_at END,
               failures = CASE WHEN party.channel IN ('push', 'email') THEN 0 ELSE dispatch.failures END,
               -- What comes of a notice still under way must not settle this one, nor put it off.
               attempt = dispatch.attempt
                         + CASE WHEN dispatch.attempt > 0 AND party.channel IN ('push', 'email') THEN 1 ELSE 0 END
          FROM party
         WHERE party.code = dispatch.agency AND dispatch.id = ANY(CAST(:ids AS uuid[]))
           AND dispatch.state IN ('queued', 'delivered', 'acknowledged')
        RETURNING dispatch.id, dispatch.referral_id, dispatch.agency
    ), logged AS (
        INSERT INTO audit_event (operation, action, party, actor, request_id, referral_id, dispatch_id)
        SELECT 'alteration', 'dispatch.chased', :actor_party, :actor_name, :request_id, referral_id, id FROM chased
    )
    SELECT id, agency FROM chased
""")

_OVERDUE = text("""
    WITH marked AS (
        UPDATE dispatch SET overdue_at = now()
         WHERE id = ANY(CAST(:ids AS uuid[])) AND overdue_at IS NULL
           AND state IN ('queued', 'delivered', 'acknowledged')
        RETURNING id, referral_id
    )
    INSERT INTO audit_event (operation, action, party, actor, request_id, referral_id, dispatch_id)
    SELECT 'alteration', 'dispatch.overdue', :actor_party, :actor_name, :request_id, referral_id, id FROM marked
""")

_SET_CHECKS = text("""
    UPDATE dispatch SET next_check_at = given.next_check_at
      FROM unnest(CAST(:ids AS uuid[]), CAST(:checks AS timestamptz[])) AS given (id, next_check_at)
     WHERE dispatch.id = given.id AND dispatch.next_check_at IS NOT NULL
""")

_RUNNING = text("""
    SELECT dispatch.referral_id, dispatch.priority, coalesce(dispatch.clock_from, dispatch.created_at) AS received,
           dispatch.next_check_at, now() AS now
      FROM dispatch JOIN referral ON referral.id = dispatch.referral_id
     WHERE dispatch.id = :id AND dispatch.state IN ('queued', 'delivered', 'acknowledged')
       FOR NO KEY UPDATE OF referral, dispatch
""")

_EXTEND = text("""
    WITH extended AS (
        UPDATE dispatch
           SET due_at = :due_at, expires_at = :expires_at, next_check_at = :next_check_at, overdue_at = NULL
         WHERE id = :id
        RETURNING id, referral_id, agency
    ), logged AS (
        INSERT INTO audit_event (operation, action, party, actor, request_id, referral_id, dispatch_id)
        SELECT 'alteration', 'dispatch.extended', :actor_party, :actor_name, :request_id, referral_id, id FROM extended
    )
    SELECT agency FROM extended
""")


async def chase(connection: Connection, actor: Actor, dispatch_ids: Collection[UUID]) -> set[UUID]:
    """Remind the agencies of these dispatches, by their channel, in their inbox and in the timeline.

    Returns those still open.
    """
    if not dispatch_ids:
        return set()
    rows = (await connection.execute(_CHASE, {"ids": list(dispatch_ids), **actor.parameters()})).all()
    await inboxes_changed(connection, {row.agency for row in rows})
    return {row.id for row in rows}


async def mark_overdue(connection: Connection, actor: Actor, dispatch_ids: Collection[UUID]) -> None:
    """Say of these open dispatches that their time is over."""
    if dispatch_ids:
        await connection.execute(_OVERDUE, {"ids": list(dispatch_ids), **actor.parameters()})


async def set_checks(connection: Connection, checks: Mapping[UUID, datetime | None]) -> None:
    """Set when the clock next asks something of these dispatches, unless it stands by now."""
    if checks:
        await connection.execute(_SET_CHECKS, {"ids": list(checks), "checks": list(checks.values())})


async def extend(connection: Connection, actor: Actor, dispatch_id: UUID, due_at: datetime, policy: Policy) -> bool:
    """Give an open dispatch until then, and after it the grace of its agency's policy; the chases still to come follow.

    False where it is not open, or its clock stands.
    """
    row = (await connection.execute(_RUNNING, {"id": dispatch_id})).one_or_none()
    if row is None:
        return False
    priority = Priority(priority_of(row.priority))
    given = Span(row.received, due_at, expiry(due_at, priority, policy))
    check = first_check(steps(given, priority, policy), row.now)
    if row.next_check_at is not None and row.next_check_at <= row.now:
        check = row.next_check_at  # what the clock has come for already, and not yet asked, it still asks
    times = {"due_at": given.due, "expires_at": given.expires, "next_check_at": check}
    agency = await connection.scalar(_EXTEND, {"id": dispatch_id, **times, **actor.parameters()})
    await referral_changed(connection, row.referral_id)
    await inboxes_changed(connection, [agency])
    return True
