"""Reviews: what is due for one, how one referral stands, and what a reviewer decides."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app import clock
from app.audit.entry import commit
from app.audit.record import Actor, Event, Operation, record
from app.db import AS_OWNER, Connection, Database
from app.referrals.states import ReferralState
from app.retention.policy import Obstacle, Rules, Standing, may_be_decided
from app.retention.schedule import date_one

_CHUNK = 1_000

_DUE = text("""
    SELECT referral.reference, referral.originator, referral.region, referral.state, retention.mopi_group,
           retention.closed_at, retention.review_on, retention.reviewed_at, retention.referral_id,
           EXISTS (SELECT FROM legal_hold WHERE legal_hold.referral_id = referral.id) AS on_legal_hold
      FROM retention JOIN referral ON referral.id = retention.referral_id
     WHERE NOT retention.dispose AND retention.review_on <= :until AND retention.closed_at = referral.updated_at
       AND (retention.review_on, retention.referral_id) > (:day, CAST(:after AS uuid))
     ORDER BY retention.review_on, retention.referral_id LIMIT :limit
""")

_FIND = text("SELECT id FROM referral WHERE reference = :reference")

_STANDING = text("""
    SELECT referral.id, referral.state, referral.disposed_at, referral.retention_group, retention.mopi_group,
           retention.closed_at, retention.review_on, retention.reviewed_at,
           coalesce(retention.dispose, false) AS dispose,
           EXISTS (SELECT FROM legal_hold WHERE legal_hold.referral_id = referral.id) AS on_legal_hold
      FROM referral LEFT JOIN retention
        ON retention.referral_id = referral.id AND retention.closed_at = referral.updated_at
     WHERE referral.id = :id
""")

_LOCK = text("SELECT id FROM referral WHERE id = :id FOR NO KEY UPDATE")

_DECIDE = text("""
    UPDATE retention
       SET dispose = :dispose, review_on = coalesce(:keep_until, review_on), reviewed_at = now(),
           reviewed_by = :reviewer
     WHERE referral_id = :id
""")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a review decides: keep it until a day, or (None) dispose of it.

    `early`: the reviewer says so even where its date has not come. `reason` is the reviewer's own words: the log keeps
    a salted hash of them.
    """

    keep_until: date | None
    early: bool = False
    reason: str = ""


class Refused(Exception):
    """A decision that cannot be taken; its text says why and names no person."""


async def due(database: Database, actor: Actor, until: date) -> AsyncIterator[dict[str, Any]]:
    """What a review is due for by that day (inclusive), the longest due first; logged as one consultation a page.

    What a review has decided to dispose of is due for none.
    """
    day, after = date.min, UUID(int=0)
    while True:
        async with database.transaction(AS_OWNER) as connection:
            parameters = {"until": until, "day": day, "after": after, "limit": _CHUNK}
            rows = (await connection.execute(_DUE, parameters)).all()
            if rows:
                ids = [str(row.referral_id) for row in rows]
                await record(connection, actor, [Event(Operation.CONSULTATION, "retention.due", detail={"ids": ids})])
        for row in rows:
            yield {name: value for name, value in row._mapping.items() if name != "referral_id"}
        if len(rows) < _CHUNK:
            return
        day, after = rows[-1].review_on, rows[-1].referral_id


@dataclass(frozen=True, slots=True)
class Kept:
    """How a referral stands, and since when; `group` is None while it has no review date."""

    standing: Standing
    group: int | None
    closed_at: datetime | None
    reviewed_at: datetime | None
    disposed_at: datetime | None


async def find(connection: Connection, reference: str) -> UUID | None:
    """The referral of this reference, or None."""
    found: UUID | None = await connection.scalar(_FIND, {"reference": reference})
    return found


async def standing(connection: Connection, referral_id: UUID) -> Kept:
    """How a referral that is there stands."""
    row = (await connection.execute(_STANDING, {"id": referral_id})).one()
    return Kept(
        Standing(
            state=ReferralState(row.state),
            review_on=row.review_on,
            on_legal_hold=row.on_legal_hold,
            decided=row.dispose,
            disposed=row.disposed_at is not None,
        ),
        row.retention_group if row.disposed_at else row.mopi_group,
        row.closed_at,
        row.reviewed_at,
        row.disposed_at,
    )


async def decide(connection: Connection, actor: Actor, rules: Rules, referral_id: UUID, decision: Decision) -> None:
    """Write down what a review decided, in the caller's transaction. Raises `Refused`.

    What is to go can be kept again until it is gone, and the other way round.
    """
    await connection.execute(_LOCK, {"id": referral_id})
    await date_one(connection, rules, referral_id)
    kept, today = await standing(connection, referral_id), clock.now().date()
    obstacle = may_be_decided(kept.standing, today, early=decision.early)
    if decision.keep_until is not None:
        if obstacle in (Obstacle.DISPOSED, Obstacle.OPEN, Obstacle.UNDATED):
            raise Refused(obstacle)
        if decision.keep_until <= today:
            raise Refused("the day to keep it until has passed")
    elif obstacle is not None:
        raise Refused(obstacle)
    dispose = decision.keep_until is None
    parameters = {
        "id": referral_id,
        "dispose": dispose,
        "keep_until": decision.keep_until,
        "reviewer": actor.name,
    }
    await connection.execute(_DECIDE, parameters)
    detail: dict[str, Any] = {"dispose": True} if dispose else {"keep_until": str(decision.keep_until)}
    if dispose and kept.standing.review_on is not None and kept.standing.review_on > today:
        detail["early"] = True
    private = commit({"reason": decision.reason}) if decision.reason else None
    event = Event(Operation.ALTERATION, "retention.reviewed", referral_id, detail=detail, private=private)
    await record(connection, actor, [event])
