"""An agency's inbox: a page of it or one item. The first that contains a dispatch delivers it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, literal_column, or_, select, tuple_

from app.audit.record import Actor, Event, Operation, record
from app.crypto.models import WrappedKey
from app.crypto.vault import Opener
from app.db import Connection
from app.referrals import lifecycle
from app.referrals.codes import priority_of
from app.referrals.exchange import messages
from app.referrals.models import Dispatch, Referral
from app.referrals.states import DispatchState
from app.referrals.views import for_agency

_STATE: dict[DispatchState, ColumnElement[str]] = {state: literal_column(f"'{state}'") for state in DispatchState}
"""States without parameters, as indexes of some states have them: else PostgreSQL sorts what these have in order."""

# As ix_dispatch_inbox has it, to the word.
_WAITING = or_(
    Dispatch.state.in_([_STATE[DispatchState.QUEUED], _STATE[DispatchState.DELIVERED]]),
    and_(
        Dispatch.state == _STATE[DispatchState.CANCELLED],
        Dispatch.cancellation_seen_at.is_(None),
        Dispatch.queued_at.is_not(None),
    ),
)

PAGE_BYTES = 4 * 1024 * 1024
"""What is given at once ends before its documents exceed this; one item there always is."""


@dataclass(frozen=True, slots=True)
class Window:
    """Part of an inbox: one state or (None) all that waits, after a position (queue order, number), at most `limit`."""

    state: DispatchState | None
    after: tuple[int, int] | None
    limit: int


async def page(
    connection: Connection, actor: Actor, window: Window
) -> tuple[list[dict[str, Any]], tuple[int, int] | None]:
    """Items of the actor's inbox, urgent first, oldest first within each; and the position to go on from, if any.

    Commit before the items leave: the disclosure is logged in the same transaction.
    """
    conditions = [_WAITING if window.state is None else Dispatch.state == _STATE[window.state]]
    if window.after is not None:
        conditions.append(tuple_(Dispatch.priority, Dispatch.number) > tuple_(*window.after))
    statement = (
        _items(actor.party).where(*conditions).order_by(Dispatch.priority, Dispatch.number).limit(window.limit + 1)
    )
    rows = (await connection.execute(_with_content_that_fits(statement))).all()
    shown = [row for row in rows[: window.limit] if row.content is not None]
    following = (shown[-1].priority, shown[-1].number) if len(rows) > len(shown) else None
    return await _disclose(connection, actor, shown), following


async def item(connection: Connection, actor: Actor, dispatch_id: UUID) -> dict[str, Any] | None:
    """One item of the actor's inbox, whatever its state, or None where it is not in it."""
    rows = (await connection.execute(_items(actor.party).where(Dispatch.id == dispatch_id))).all()
    shown = await _disclose(connection, actor, rows)
    return shown[0] if shown else None


async def claim(connection: Connection, actor: Actor, limit: int, lease_seconds: int) -> list[dict[str, Any]]:
    """Claim waiting items for one consumer of the actor's agency; each carries `claim_id` and `lease_expires_at`."""
    ids = await lifecycle.claim(connection, actor.party, limit, lease_seconds, PAGE_BYTES)
    statement = _items(actor.party).where(Dispatch.id == func.any(ids)).order_by(Dispatch.priority, Dispatch.number)
    return await _disclose(connection, actor, (await connection.execute(statement)).all(), claimed=True)


def _items(agency: str) -> Select[*tuple[Any, ...]]:
    return (
        select(
            Dispatch.id,
            Dispatch.number,
            Dispatch.referral_id,
            Dispatch.agency,
            Dispatch.round,
            Dispatch.state,
            Dispatch.priority,
            Dispatch.due_at,
            Dispatch.delivered_at,
            Dispatch.claim_id,
            Dispatch.claim_expires_at,
            Referral.reference,
            Referral.originator,
            Referral.disposed_at,
            Referral.content,
            Referral.sealed,
            WrappedKey.ring_key,
            WrappedKey.wrapped,
        )
        .join(Referral, Referral.id == Dispatch.referral_id)
        .outerjoin(WrappedKey, WrappedKey.referral_id == Referral.id)
        .where(Dispatch.agency == agency, Dispatch.queued_at.is_not(None))
    )


def _with_content_that_fits(statement: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """The same rows, those beyond `PAGE_BYTES` without their `content`: the database does not even read it."""
    row = statement.subquery().c
    size = func.octet_length(row.content)
    size_so_far = func.sum(size).over(order_by=(row.priority, row.number), rows=(None, 0))
    fits = or_(size_so_far <= PAGE_BYTES, size_so_far == size)  # the second: it is the first row
    columns = [column for column in row if column.name != "content"]
    return select(*columns, case((fits, row.content)).label("content")).order_by(row.priority, row.number)


async def _disclose(
    connection: Connection, actor: Actor, rows: Sequence[Row[Any]], *, claimed: bool = False
) -> list[dict[str, Any]]:
    """The rows as items: those unseen so far are delivered now, reading the others again is one consultation."""
    if not rows:
        return []
    unseen = [row.id for row in rows if row.delivered_at is None]
    delivered = await lifecycle.deliver(connection, actor, unseen)
    if len(delivered) < len(unseen):
        # Cancelled, or read by another consumer, between our look and the lock: shown as they are now.
        rows = await _again(connection, actor.party, rows)
    # A delivery is the same event whoever reads: why a person did stands in the event of their reading.
    read = [str(row.id) for row in rows if actor.purpose or row.id not in delivered]
    if read:
        await record(connection, actor, [_read(actor, read)])
    exchanges = await messages(connection, [row.id for row in rows])
    opener = Opener(connection)
    return [
        _shown(row, opener, row.id in delivered, exchanges.get(row.id, [])) | (_claim_of(row) if claimed else {})
        for row in rows
    ]


def _read(actor: Actor, ids: list[str]) -> Event:
    return Event(Operation.CONSULTATION, "inbox.read", recipients=[actor.party], detail={"ids": ids})


async def _again(connection: Connection, agency: str, rows: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    statement = _items(agency).where(Dispatch.id == func.any([row.id for row in rows]))
    return (await connection.execute(statement.order_by(Dispatch.priority, Dispatch.number))).all()


def _claim_of(row: Row[Any]) -> dict[str, Any]:
    return {"claim_id": row.claim_id, "lease_expires_at": row.claim_expires_at}


def _shown(row: Row[Any], opener: Opener, delivered: bool, exchange: list[dict[str, Any]]) -> dict[str, Any]:
    # What was cancelled before its agency saw it has not been disclosed, and there is no more reason to.
    unseen = row.state == DispatchState.CANCELLED and row.delivered_at is None
    return {
        "id": row.id,
        "reference": row.reference,
        "agency": row.agency,
        "round": row.round,
        "state": DispatchState.DELIVERED if delivered and row.state == DispatchState.QUEUED else row.state,
        "priority": priority_of(row.priority),
        "due_at": row.due_at,
        "messages": exchange,
        "referral": {"id": row.referral_id} if unseen else _referral(row, opener),
    }


def _referral(row: Row[Any], opener: Opener) -> dict[str, Any]:
    if row.disposed_at is not None:
        return {"id": row.referral_id, "disposed_at": row.disposed_at}
    return for_agency(row.referral_id, row.originator, opener.referral(row.referral_id, row))
