"""An agency's inbox: a page of it or one item. The first that contains a dispatch delivers it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from app.audit.record import Actor, Event, Operation, record
from app.crypto.vault import Opener
from app.db import Connection, Numbered
from app.referrals import lifecycle
from app.referrals.codes import priority_of
from app.referrals.exchange import messages
from app.referrals.states import DispatchState
from app.referrals.views import for_agency


class _Row(NamedTuple):
    """One item as it is read; `content` is None where it is not read with the others, because they are large."""

    id: UUID
    number: int
    referral_id: UUID
    agency: str
    round: int
    state: str
    priority: int
    due_at: datetime
    delivered_at: datetime | None
    chased_at: datetime | None
    claim_id: UUID | None
    claim_expires_at: datetime | None
    reference: str
    originator: str
    disposed_at: datetime | None
    sealed: bool
    ring_key: str | None
    wrapped: bytes | None
    content: bytes | None


_COLUMNS = """dispatch.id, dispatch.number, dispatch.referral_id, dispatch.agency, dispatch.round, dispatch.state,
           dispatch.priority, dispatch.due_at, dispatch.delivered_at, dispatch.chased_at, dispatch.claim_id,
           dispatch.claim_expires_at, referral.reference, referral.originator, referral.disposed_at, referral.sealed,
           data_key.ring_key, data_key.wrapped, referral.content"""

_INBOX = """
      FROM dispatch JOIN referral ON referral.id = dispatch.referral_id
      LEFT JOIN data_key ON data_key.referral_id = dispatch.referral_id
     WHERE dispatch.agency = :agency AND dispatch.queued_at IS NOT NULL
"""

_SEEN = f"SELECT {_COLUMNS} {_INBOX}"

_ONE = Numbered.of(f"{_SEEN} AND dispatch.id = :id")
_THESE = Numbered.of(f"{_SEEN} AND dispatch.id = ANY(CAST(:ids AS uuid[])) ORDER BY dispatch.priority, dispatch.number")

# As ix_dispatch_inbox has it, to the word.
_WAITING = """(dispatch.state IN ('queued', 'delivered')
               OR (dispatch.state = 'cancelled' AND dispatch.cancellation_seen_at IS NULL
                   AND dispatch.queued_at IS NOT NULL))"""

# The database does not even read the contents beyond `most_bytes`; that of the first row there always is. What was said
# about an item comes with it, and is measured without a look at it.
_PAGE = f"""
    SELECT id, number, referral_id, agency, round, state, priority, due_at, delivered_at, chased_at, claim_id,
           claim_expires_at, reference, originator, disposed_at, sealed, ring_key, wrapped,
           CASE WHEN size_so_far <= :most_bytes OR size_so_far = size THEN content END
      FROM (SELECT *, octet_length(content) + said_bytes AS size,
                   sum(octet_length(content) + said_bytes)
                       OVER (ORDER BY priority, number ROWS UNBOUNDED PRECEDING) AS size_so_far
              FROM (SELECT dispatch.said_bytes, {_COLUMNS} {_INBOX} AND {{which}}
                     ORDER BY dispatch.priority, dispatch.number LIMIT :limit) AS found) AS sized
     ORDER BY priority, number
"""  # noqa: S608  constants of this file

_QUEUED, _DELIVERED, _CANCELLED = (DispatchState[name].value for name in ("QUEUED", "DELIVERED", "CANCELLED"))

PAGE_BYTES = 4 * 1024 * 1024
"""What is given at once ends before its documents, questions and replies exceed this; one item there always is."""


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
    priority, number = window.after or (None, None)
    given = {"agency": actor.party, "limit": window.limit + 1, "most_bytes": PAGE_BYTES}
    statement = _statement(window.state, follows=window.after is not None)
    rows = _rows(await statement.within(connection, {**given, "priority": priority, "number": number}))
    shown = [row for row in rows[: window.limit] if row.content is not None]
    following = (shown[-1].priority, shown[-1].number) if len(rows) > len(shown) else None
    return await _disclose(connection, actor, shown), following


async def item(connection: Connection, actor: Actor, dispatch_id: UUID) -> dict[str, Any] | None:
    """One item of the actor's inbox, whatever its state, or None where it is not in it."""
    rows = await _ONE.within(connection, {"agency": actor.party, "id": dispatch_id})
    shown = await _disclose(connection, actor, _rows(rows))
    return shown[0] if shown else None


async def claim(connection: Connection, actor: Actor, limit: int, lease_seconds: int) -> list[dict[str, Any]]:
    """Claim waiting items for one consumer of the actor's agency; each carries `claim_id` and `lease_expires_at`."""
    ids = await lifecycle.claim(connection, actor.party, limit, lease_seconds, PAGE_BYTES)
    return await _disclose(connection, actor, await _these(connection, actor.party, ids), claimed=True)


@cache
def _statement(state: DispatchState | None, *, follows: bool) -> Numbered:
    """A page of what waits, or of a state: in the text, as indexes of some states have it, else these do not serve."""
    which = _WAITING if state is None else f"dispatch.state = '{state.value}'"
    after = " AND (dispatch.priority, dispatch.number) > (:priority, :number)" if follows else ""
    return Numbered.of(_PAGE.format(which=which + after))


async def _these(connection: Connection, agency: str, ids: Sequence[UUID]) -> list[_Row]:
    return _rows(await _THESE.within(connection, {"agency": agency, "ids": ids}))


def _rows(found: Sequence[Any]) -> list[_Row]:
    return [_Row(*row) for row in found]


async def _disclose(
    connection: Connection, actor: Actor, rows: Sequence[_Row], *, claimed: bool = False
) -> list[dict[str, Any]]:
    """The rows as items: those unseen so far are delivered now, reading the others again is one consultation."""
    if not rows:
        return []
    unseen = [row.id for row in rows if row.delivered_at is None]
    delivered = await lifecycle.deliver(connection, actor, unseen)
    if len(delivered) < len(unseen):
        # Cancelled, or read by another consumer, between our look and the lock: shown as they are now.
        rows = await _these(connection, actor.party, [row.id for row in rows])
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


def _claim_of(row: _Row) -> dict[str, Any]:
    return {"claim_id": row.claim_id, "lease_expires_at": row.claim_expires_at}


def _shown(row: _Row, opener: Opener, delivered: bool, exchange: list[dict[str, Any]]) -> dict[str, Any]:
    # What was cancelled before its agency saw it has not been disclosed, and there is no more reason to.
    unseen = row.state == _CANCELLED and row.delivered_at is None
    return {
        "id": row.id,
        "reference": row.reference,
        "agency": row.agency,
        "round": row.round,
        "state": _DELIVERED if delivered and row.state == _QUEUED else row.state,
        "priority": priority_of(row.priority),
        "due_at": row.due_at,
        "chased_at": row.chased_at,
        "messages": exchange,
        "referral": {"id": row.referral_id} if unseen else _referral(row, opener),
    }


def _referral(row: _Row, opener: Opener) -> dict[str, Any]:
    if row.disposed_at is not None:
        return {"id": row.referral_id, "disposed_at": row.disposed_at}
    return for_agency(row.referral_id, row.originator, opener.referral(row.referral_id, row))
