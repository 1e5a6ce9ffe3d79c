"""Notices: telling an agency, by push or email, that an item waits in its inbox. Nothing of the referral leaves here.

A notice discloses nothing and moves no state: a dispatch is delivered when its agency reads it. What is beyond an
agency's quota stays due until there is room again. A notice that cannot be given is an alert; the dispatch stays open.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from app.db import Connection
from app.parties.quota import Quota
from app.referrals import delivery, lifecycle
from app.referrals.alerts import raise_alerts, settle_alerts
from app.referrals.codes import PriorityRank
from app.referrals.delivery import Settled
from app.referrals.lifecycle import HandOver, Slot
from app.referrals.states import AlertKind

_DUE = text("""
    SELECT agency FROM unnest(CAST(:agencies AS text[])) AS agency
     WHERE EXISTS (SELECT FROM dispatch WHERE dispatch.agency = agency.agency AND due_delivery_at <= now())
""")

_COUNT = text("""
    INSERT INTO notice_count (agency) SELECT unnest(CAST(:agencies AS text[])) ON CONFLICT DO NOTHING
""")

_MINUTE = "CAST(extract(epoch FROM now()) AS bigint) / 60"
_DAY = "(now() AT TIME ZONE 'Europe/London')::date - date '1970-01-01'"

# An agency whose count another worker holds is served by that one.
_COUNTED = text(f"""
    SELECT agency, CASE WHEN minute = {_MINUTE} THEN in_minute ELSE 0 END AS in_minute,
           CASE WHEN day = {_DAY} THEN in_day ELSE 0 END AS in_day
      FROM notice_count WHERE agency = ANY(CAST(:agencies AS text[])) FOR NO KEY UPDATE SKIP LOCKED
""")  # noqa: S608  both parts are constants of this file

_ADD = text(f"""
    UPDATE notice_count
       SET in_minute = given.number + CASE WHEN minute = {_MINUTE} THEN in_minute ELSE 0 END, minute = {_MINUTE},
           in_day = given.number + CASE WHEN day = {_DAY} THEN in_day ELSE 0 END, day = {_DAY}
      FROM unnest(CAST(:agencies AS text[]), CAST(:numbers AS integer[])) AS given (agency, number)
     WHERE notice_count.agency = given.agency
""")  # noqa: S608

_FAIL = text("""
    WITH locked AS MATERIALIZED (
        SELECT id FROM dispatch WHERE id = ANY(CAST(:ids AS uuid[])) ORDER BY referral_id, id FOR NO KEY UPDATE
    )
    UPDATE dispatch SET due_delivery_at = NULL, failures = 0, last_failure = given.reason
      FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS integer[]), CAST(:reasons AS text[]))
           AS given (id, attempt, reason)
     WHERE dispatch.id = given.id AND dispatch.attempt = given.attempt AND dispatch.due_delivery_at IS NOT NULL
       AND dispatch.id = ANY(ARRAY(SELECT id FROM locked))
    RETURNING dispatch.id
""")


@dataclass(frozen=True, slots=True)
class Room:
    """How many dispatches an agency may be told of now (`free` calls at once), within its quota of notices."""

    free: int
    quota: Quota


@dataclass(frozen=True, slots=True)
class Claimed:
    """What was claimed. `more`: another worker held an agency's count, so that more may be there the next moment."""

    items: list[HandOver]
    more: bool


@dataclass(frozen=True, slots=True)
class NoticeFailed:
    """A notice that cannot be given; `reason` holds no personal data. `ended` is an address not to be used again."""

    id: UUID
    attempt: int
    agency: str
    reason: str
    ended: str | None = None


async def claim(connection: Connection, rooms: Mapping[str, Room], limit: int) -> Claimed:
    """Claim up to `limit` dispatches whose agencies are to be told, within their quotas. Commit before telling."""
    free = [agency for agency, room in rooms.items() if room.free > 0]
    due = [row.agency for row in await connection.execute(_DUE, {"agencies": sorted(free)})] if free else []
    if not due:
        return Claimed([], more=False)
    await connection.execute(_COUNT, {"agencies": due})
    counted = (await connection.execute(_COUNTED, {"agencies": due})).all()
    slots = [slot for row in counted for slot in allowed(row.agency, rooms[row.agency], row.in_minute, row.in_day)]
    claimed = await lifecycle.lease(connection, slots, limit)
    numbers = Counter(item.agency for item in claimed if not is_known(item))
    if numbers:
        notices = [rooms[agency].quota.notices(number) for agency, number in numbers.items()]
        await connection.execute(_ADD, {"agencies": list(numbers), "numbers": notices})
    return Claimed(claimed, more=len(counted) < len(due))


def allowed(agency: str, room: Room, in_minute: int, in_day: int) -> list[Slot]:
    """Pure: what may be claimed after so many notices. Urgent dispatches never wait for a quota."""
    left = room.quota.left(in_minute, in_day)
    if left is None or left >= room.free:
        return [Slot(agency, room.free)]
    return [
        Slot(agency, room.free - left, last=PriorityRank.URGENT),
        Slot(agency, left, first=PriorityRank.URGENT + 1),
    ]


async def notice_failed(connection: Connection, items: Sequence[NoticeFailed]) -> None:
    """Stop trying to tell of these, unless they were claimed again since, and alert the co-ordinator to each."""
    if not items:
        return
    parameters = {
        "ids": [item.id for item in items],
        "attempts": [item.attempt for item in items],
        "reasons": [item.reason for item in items],
    }
    failed = [row.id for row in await connection.execute(_FAIL, parameters)]
    await raise_alerts(connection, AlertKind.NOTICE_FAILED, failed)


async def told(connection: Connection, items: Sequence[Settled]) -> None:
    """The agencies of these were told: nothing more to hand over, and an earlier failure needs nobody any more."""
    await delivery.settle(connection, items)
    await settle_alerts(connection, [item.id for item in items], [AlertKind.NOTICE_FAILED])


def is_known(item: HandOver) -> bool:
    """Pure: whether its agency has seen it, and nothing is new since, no reminder and no reply: nothing to tell it."""
    return item.seen and not item.chases and not item.replied
