"""Accepting batches: a slice of rows at a time becomes referrals, by the verb that single submissions go through.

A slice is one transaction: the batch's row is locked, its next rows become referrals and are deleted, its counts move
on. Whoever is killed in the middle has changed nothing, and the next to look goes on from there; so no lease is needed.
Each try is counted before it begins, and one that was heard of again sets the count back: a row that kills whoever
works on it is found by taking half as many at each try, and given up. The batches of one party go in the order in which
they came, parties take turns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import Row, text

from app.audit.record import Actor, Event, Operation, record
from app.crypto.vault import vault_of
from app.db import AS_WORKER, Connection, Database, is_away, settings_of
from app.errors import CLIENT_REFERENCE_REUSED, DISPOSED, ROW_GIVEN_UP, ProblemType
from app.logs import logger
from app.parties.codes import Priority
from app.parties.policy import Policy
from app.referrals.accept import Receipt, Submission, accept
from app.referrals.backlog import Backlog, Bounds, batch_room
from app.referrals.batches.models import Format
from app.referrals.batches.store import place_of
from app.referrals.codes import priority_of
from app.referrals.deadlines import due_at
from app.referrals.views import document

log = logger()

SLICE = 100
"""The most rows of one transaction: as many as a worker fans out in two."""

LATER_SECONDS = 10.0
"""When a batch is tried again that could not be accepted for a reason that is not its rows'."""

ALONE = 3
"""How often a row is tried alone before it is given up."""

GIVEN_UP_SECONDS = 10.0
"""For how long nothing of a batch was accepted before a row of it is given up: workers that begin at the same moment
count each its try, and have not died of it."""

_USUAL = Policy()
_FAULTS_OF_A_ROW = ("22", "23")  # classes of SQLSTATE: data that PostgreSQL does not take, a constraint

_WAITING = text("SELECT EXISTS (SELECT FROM batch WHERE state = 'accepting' AND (next_at IS NULL OR next_at <= now()))")

# What cannot be fanned out waits by itself, and long: that says nothing of how fan-out keeps up.
_BACKLOG = text("""
    SELECT count(*) AS referrals,
           CAST(extract(epoch FROM clock_timestamp() - min(updated_at)) AS double precision) AS seconds
      FROM (SELECT updated_at FROM referral
             WHERE state = 'accepted' AND id <> ALL(ARRAY(SELECT referral_id FROM fan_out_try))
             ORDER BY priority, id LIMIT CAST(:most AS integer)) AS waiting
""")

_BEGIN = text("""
    UPDATE batch SET tries = tries + 1 WHERE id = (
    SELECT id FROM batch
     WHERE state = 'accepting' AND (next_at IS NULL OR next_at <= now())
       AND NOT EXISTS (SELECT FROM batch AS before
                        WHERE before.party = batch.party AND before.state = 'accepting' AND before.id < batch.id)
     ORDER BY touched_at, id LIMIT 1
       FOR NO KEY UPDATE SKIP LOCKED)
    RETURNING id, tries,
              touched_at < clock_timestamp() - make_interval(secs => CAST(:seconds AS double precision)) AS old
""")

_CLAIM = text("""
    SELECT id, party, region, format, created_by, request_id, now() AS now FROM batch
     WHERE id = :id AND state = 'accepting' FOR NO KEY UPDATE SKIP LOCKED
""")

_LOCK = text("SELECT id FROM batch WHERE id = :id AND state = 'accepting' FOR NO KEY UPDATE")

_KEY = text("SELECT ring_key, wrapped FROM data_key WHERE referral_id = :id")

_ROWS = text("""
    SELECT priority, number, referral_id, key, sameness, content FROM batch_row
     WHERE batch_id = :id ORDER BY priority, number LIMIT :limit
""")

_TAKEN = text("""
    DELETE FROM batch_row
     WHERE batch_id = :id AND (priority, number) <= (CAST(:priority AS smallint), CAST(:number AS integer))
""")

_REJECT = text("""
    INSERT INTO batch_error (batch_id, number, kind, faults)
    SELECT :id, given.*
      FROM unnest(CAST(:numbers AS integer[]), CAST(:kinds AS text[]), CAST(:faults AS jsonb[])) AS given
""")

_COUNT = text("""
    UPDATE batch SET accepted = accepted + :accepted, repeated = repeated + :repeated, rejected = rejected + :rejected,
                     touched_at = clock_timestamp(), next_at = NULL, tries = 0
     WHERE id = :id
""")

_COMPLETE = text("""
    UPDATE batch SET state = 'completed', completed_at = now() WHERE id = :id
    RETURNING total, accepted, repeated, rejected
""")

_HEARD_OF = text("UPDATE batch SET tries = 0 WHERE id = :id AND state = 'accepting'")

_FORGET_KEY = text("DELETE FROM data_key WHERE referral_id = :id")

_LATER = text("""
    UPDATE batch SET touched_at = clock_timestamp(), tries = 0,
                     next_at = clock_timestamp() + make_interval(secs => CAST(:seconds AS double precision))
     WHERE id = :id AND state = 'accepting'
""")

_Found = Row[tuple[Any, ...]]


class _Refused(NamedTuple):
    """A row that cannot be accepted, why, and where in it that lies."""

    number: int
    kind: ProblemType
    pointer: str


async def is_waiting(connection: Connection) -> bool:
    """Whether any batch waits to be accepted, or to be accepted further."""
    return bool(await connection.scalar(_WAITING))


@dataclass(slots=True)
class _Slice:
    """What is being worked on, so that a failure knows whose it is."""

    batch: UUID
    rows: Sequence[_Found] = ()


async def accept_slice(database: Database, actor: Actor, most: int = SLICE) -> int:
    """Accept up to `most` rows of one batch; returns how many were taken, accepted or not, at least 1 for a batch.

    0 where no batch can be gone on with, or batches rest because fan-out has enough to do. `actor` is who works; a
    referral is logged as its force's. Raises where the database is away.
    """
    begun = await _begin(database, most)
    if begun is None:
        return 0
    tried = _Slice(begun.id)
    if begun.most < 1:
        log.error("a row of a batch is given up: whoever worked on it was never heard of again", batch=str(begun.id))
        return await _give_up_row(database, tried)
    try:
        async with database.transaction(AS_WORKER) as connection:
            return await _take(connection, actor, begun.most, tried)
    except Exception as error:
        if is_away(error):
            raise
        return await _after_failure(database, actor, tried, error)


class _Begun(NamedTuple):
    """A batch to go on with, and how many of its rows to take: none where the first of them is to be given up."""

    id: UUID
    most: int


async def _begin(database: Database, most: int) -> _Begun | None:
    """Count a try, in a transaction of its own: it stands whatever becomes of who makes it."""
    async with database.transaction(AS_WORKER) as connection:
        room = min(most, await _room(connection))
        if room < 1:
            return None
        batch = (await connection.execute(_BEGIN, {"seconds": GIVEN_UP_SECONDS})).one_or_none()
        if batch is None:
            return None
        return _Begun(batch.id, min(room, portion(batch.tries) or (0 if batch.old else 1)))


def portion(tries: int) -> int:
    """How many rows the first, second, … try takes: half as many each time, one alone `ALONE` times, then none."""
    halvings = SLICE.bit_length() - 1  # so many lead to one row
    return SLICE >> (tries - 1) if tries <= halvings else int(tries - halvings <= ALONE)


async def _room(connection: Connection) -> int:
    settings = settings_of(connection)
    bounds = Bounds(settings.backlog_referrals, settings.backlog_seconds)
    row = (await connection.execute(_BACKLOG, {"most": batch_room(Backlog(), bounds)})).one()
    return batch_room(Backlog(row.referrals, max(row.seconds or 0.0, 0.0)), bounds)


async def _take(connection: Connection, actor: Actor, most: int, tried: _Slice) -> int:
    batch = (await connection.execute(_CLAIM, {"id": tried.batch})).one_or_none()
    if batch is None:
        return 1  # another worker is at it; there may be other batches
    rows = (await connection.execute(_ROWS, {"id": batch.id, "limit": most})).all()
    tried.rows = rows
    if rows:
        receipts = await accept(connection, await _submissions(connection, batch, rows))
        await _settle(connection, batch, rows, receipts)
    if len(rows) < most:
        await _complete(connection, actor, batch.id)
    return max(len(rows), 1)  # to have found that a batch is complete is work, too


async def _submissions(connection: Connection, batch: _Found, rows: Sequence[_Found]) -> list[Submission]:
    """The rows opened. Raises `Unopenable` where the key ring lacks their key."""
    kept = (await connection.execute(_KEY, {"id": batch.id})).one()
    key = vault_of(connection).key(batch.id, kept.ring_key, kept.wrapped)
    return [_submission(batch, row, key.open(place_of(row.referral_id), row.content)) for row in rows]


def _submission(batch: _Found, row: _Found, content: bytes) -> Submission:
    said = document(content)
    return Submission(
        id=row.referral_id,
        actor=Actor(batch.party, batch.created_by, batch.request_id),
        region=batch.region,
        priority=row.priority,
        crime_types=said["crime_types"],
        addressees=said.get("addressees"),
        content=content,
        respond_by=due_at(batch.now, Priority(priority_of(row.priority)), _USUAL),
        key=row.key,
        sameness=row.sameness,
    )


async def _settle(connection: Connection, batch: _Found, rows: Sequence[_Found], receipts: Sequence[Receipt]) -> None:
    """Count the rows by what became of them."""
    pointer = "column/client_reference" if batch.format == Format.CSV else "/client_reference"
    refused = [
        _Refused(row.number, DISPOSED if receipt.disposed else CLIENT_REFERENCE_REUSED, pointer)
        for row, receipt in zip(rows, receipts, strict=True)
        if receipt.conflict or receipt.disposed
    ]
    repeated = sum(receipt.replayed for receipt in receipts) - len(refused)
    await _count(connection, batch.id, rows, refused, repeated=repeated)


async def _count(
    connection: Connection,
    batch_id: UUID,
    rows: Sequence[_Found],
    refused: Sequence[_Refused],
    *,
    repeated: int,
) -> None:
    """These rows, the first of the batch, are gone; those refused are told of."""
    await _reject(connection, batch_id, refused)
    await connection.execute(_TAKEN, {"id": batch_id, "priority": rows[-1].priority, "number": rows[-1].number})
    counts = {"accepted": len(rows) - len(refused), "repeated": repeated, "rejected": len(refused)}
    await connection.execute(_COUNT, {"id": batch_id, **counts})


async def _reject(connection: Connection, batch_id: UUID, refused: Sequence[_Refused]) -> None:
    if not refused:
        return
    told = [orjson.dumps([{"pointer": one.pointer, "detail": one.kind.advice}]).decode() for one in refused]
    await connection.execute(
        _REJECT,
        {
            "id": batch_id,
            "numbers": [one.number for one in refused],
            "kinds": [one.kind.slug for one in refused],
            "faults": told,
        },
    )


async def _complete(connection: Connection, actor: Actor, batch_id: UUID) -> None:
    row = (await connection.execute(_COMPLETE, {"id": batch_id})).one()
    await connection.execute(_FORGET_KEY, {"id": batch_id})
    detail = {"batch": str(batch_id), **row._mapping}
    await record(connection, actor, [Event(Operation.ALTERATION, "batch.completed", detail=detail)])


async def _after_failure(database: Database, actor: Actor, tried: _Slice, error: Exception) -> int:
    """A row that PostgreSQL does not take is found by taking half as many, down to one.

    What is no row's fault is tried again later. The error's text may quote what was submitted: only its kind is told.
    """
    kind = type(getattr(error, "orig", None) or error).__name__
    log.error("rows of a batch could not be accepted", batch=str(tried.batch), rows=len(tried.rows), error=kind)
    at_fault = str(getattr(getattr(error, "orig", error), "sqlstate", ""))[:2] in _FAULTS_OF_A_ROW
    if not at_fault or not tried.rows:
        async with database.transaction(AS_WORKER) as connection:
            await connection.execute(_LATER, {"id": tried.batch, "seconds": LATER_SECONDS})
        return 1  # to have put one off is work: another party's may be next
    if len(tried.rows) == 1:
        return await _give_up_row(database, tried)
    async with database.transaction(AS_WORKER) as connection:
        await connection.execute(_HEARD_OF, {"id": tried.batch})
    return await accept_slice(database, actor, len(tried.rows) // 2)


async def _give_up_row(database: Database, tried: _Slice) -> int:
    """The first row of the batch is refused for good: it stops none of the others."""
    async with database.transaction(AS_WORKER) as connection:
        await connection.execute(_LOCK, {"id": tried.batch})
        rows = (await connection.execute(_ROWS, {"id": tried.batch, "limit": 1})).all()
        if not rows or (tried.rows and rows[0].referral_id != tried.rows[0].referral_id):
            return 0  # somebody else was there meanwhile
        await _count(connection, tried.batch, rows, [_Refused(rows[0].number, ROW_GIVEN_UP, "")], repeated=0)
    return 1
