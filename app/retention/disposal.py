"""Disposal: of what a review has decided, the data key and all content go; a tombstone stays, and the log tells.

A batch is one transaction, so that whatever ends it leaves each referral either whole or disposed of; the next run goes
on. What is left is who, whom and when: ids, reference, party codes, states, outcomes, times, group.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import TextClause, text

from app import clock
from app.audit.record import Actor, Event, Operation, record
from app.db import AS_OWNER, Connection, Database
from app.referrals.lifecycle.notify import inboxes_changed
from app.referrals.states import ReferralState
from app.retention.policy import Standing, may_be_disposed

BATCH = 200

_COUNT = text("""
    SELECT count(*) FROM retention JOIN referral ON referral.id = retention.referral_id
     WHERE retention.dispose AND (CAST(:before AS date) IS NULL OR retention.review_on < :before)
       AND retention.closed_at = referral.updated_at AND referral.disposed_at IS NULL
       AND referral.state IN ('completed', 'cancelled', 'rejected')
       AND NOT EXISTS (SELECT FROM legal_hold WHERE legal_hold.referral_id = referral.id)
""")

# Locked first and looked at again afterwards: what a legal hold or a reopening committed meanwhile is seen then.
_LOCK = text("""
    SELECT referral.id FROM retention JOIN referral ON referral.id = retention.referral_id
     WHERE retention.dispose AND (CAST(:before AS date) IS NULL OR retention.review_on < :before)
       AND retention.referral_id > CAST(:after AS uuid)
     ORDER BY retention.referral_id LIMIT :limit FOR NO KEY UPDATE OF referral
""")

_LOOK = text("""
    SELECT referral.id, referral.state, referral.disposed_at IS NOT NULL AS disposed, retention.mopi_group,
           retention.release, retention.closed_at, retention.review_on, retention.dispose,
           retention.closed_at = referral.updated_at AS as_decided,
           EXISTS (SELECT FROM legal_hold WHERE legal_hold.referral_id = referral.id) AS on_legal_hold
      FROM referral JOIN retention ON retention.referral_id = referral.id
     WHERE referral.id = ANY(CAST(:ids AS uuid[]))
     ORDER BY referral.id
""")

_THESE = "ANY(CAST(:ids AS uuid[]))"

# The key first: with it gone, nothing of the rest opens. What cannot be deleted as a row is emptied in its place, and a
# hash of what was said gives way to the row's own id.
_ERASE: tuple[TextClause, ...] = tuple(
    text(statement.replace(":these", _THESE))
    for statement in (
        "DELETE FROM data_key WHERE referral_id = :these",
        "DELETE FROM subject_index WHERE referral_id = :these",
        "DELETE FROM answer_draft WHERE referral_id = :these",
        "UPDATE response SET content = '', sealed = true, sameness = uuid_send(id) WHERE referral_id = :these",
        """UPDATE message SET content = '', sealed = true
            WHERE dispatch_id = ANY(ARRAY(SELECT id FROM dispatch WHERE referral_id = :these))""",
        # Between the first and the last: its index is of ranges (BRIN), which cost a submission nothing.
        """UPDATE submission SET sameness = ''
            WHERE referral_id >= (CAST(:ids AS uuid[]))[1]
              AND referral_id <= (CAST(:ids AS uuid[]))[cardinality(CAST(:ids AS uuid[]))]
              AND referral_id = :these""",
        """UPDATE dispatch SET sealed_reason = NULL, ended_because = NULL, last_failure = NULL
            WHERE referral_id = :these
              AND (sealed_reason IS NOT NULL OR ended_because IS NOT NULL OR last_failure IS NOT NULL)""",
        "UPDATE alert SET sealed_reason = NULL WHERE referral_id = :these AND sealed_reason IS NOT NULL",
        "DELETE FROM fan_out_try WHERE referral_id = :these",
        "UPDATE referral_outcome SET sealed_summary = NULL WHERE referral_id = :these",
        # Nobody can decide any more what is still asked.
        """UPDATE consent
              SET content = '', sealed_decision = CASE WHEN state IN ('given', 'refused') THEN CAST('' AS bytea) END,
                  state = CASE WHEN state = 'asked' THEN 'withdrawn' ELSE state END,
                  settled_at = coalesce(settled_at, now())
            WHERE referral_id = :these""",
        # That two referrals are about one subject says something of the subject; of the other it goes too.
        "DELETE FROM duplicate WHERE earlier = :these OR later = :these",
        """DELETE FROM audit_salt USING audit_event
            WHERE audit_salt.event_id = audit_event.id AND audit_event.referral_id = :these""",
        """UPDATE referral
              SET content = '', sealed = true, reason = NULL, sealed_reason = NULL, held_because = NULL,
                  crime_types = '{}', addressees = NULL, retention_group = retention.mopi_group,
                  disposed_at = now(), updated_at = now()
             FROM retention WHERE retention.referral_id = referral.id AND referral.id = :these""",
        "DELETE FROM retention WHERE referral_id = :these",
    )
)

_AGENCIES = text(f"SELECT DISTINCT agency FROM dispatch WHERE referral_id = {_THESE} AND queued_at IS NOT NULL")  # noqa: S608

_BEFORE_ALL = UUID(int=0)


async def disposable(connection: Connection, before: date | None = None) -> int:
    """How many referrals a run would dispose of now; changes nothing. `before` limits it to earlier review dates."""
    return int(await connection.scalar(_COUNT, {"before": before}) or 0)


async def dispose_all(
    database: Database,
    actor: Actor,
    before: date | None = None,
    told: Callable[[int], bool] = lambda _number: True,
    batch: int = BATCH,
) -> int:
    """Dispose of all that reviews have decided on, a transaction a batch; returns how many.

    `told` hears the number after each batch, and says whether to go on. What is on legal hold, was reopened or is not
    decided any more stays.
    """
    done, after = 0, _BEFORE_ALL
    while True:
        async with database.transaction(AS_OWNER) as connection:
            parameters = {"before": before, "after": after, "limit": batch}
            locked = list((await connection.execute(_LOCK, parameters)).scalars())
            gone = await _dispose(connection, actor, locked)
        done += gone
        if not told(done) or len(locked) < batch:
            return done
        after = locked[-1]


async def _dispose(connection: Connection, actor: Actor, locked: Collection[UUID]) -> int:
    events = await _erasures(connection, locked)
    if not events:
        return 0
    ids = {"ids": list(events)}
    for statement in _ERASE:
        await connection.execute(statement, ids)
    await record(connection, actor, list(events.values()))
    await inboxes_changed(connection, list((await connection.execute(_AGENCIES, ids)).scalars()))
    return len(events)


async def _erasures(connection: Connection, locked: Collection[UUID]) -> Mapping[UUID, Event]:
    """The event of each of these referrals that may go now."""
    rows = await connection.execute(_LOOK, {"ids": list(locked)})
    today = clock.now().date()
    found = {}
    for row in rows:
        decided = row.dispose and row.as_decided
        state = ReferralState(row.state)
        standing = Standing(state, row.review_on, row.on_legal_hold, decided, row.disposed)
        if may_be_disposed(standing, today) is None:
            found[row.id] = _erasure(row.id, row.mopi_group, row.release, row.closed_at)
    return found


def _erasure(referral_id: UUID, group: int, release: int, closed_at: datetime) -> Event:
    detail = {"group": group, "release": release, "closed_at": closed_at.isoformat()}
    return Event(Operation.ERASURE, "referral.disposed", referral_id, detail=detail)
