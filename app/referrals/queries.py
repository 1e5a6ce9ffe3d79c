"""Reading referrals: one, a page of them, their responses, their timeline; only what the reader's relation allows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, TextClause, exists, false, func, literal_column, select, text, true

from app.access.policy import Action, Relation
from app.access.principal import Principal
from app.audit.models import AuditEvent
from app.audit.record import Event, Operation, record
from app.crypto.models import WrappedKey
from app.crypto.vault import Opener
from app.db import Connection
from app.errors import DISPOSED, Problem
from app.referrals import timeline
from app.referrals.codes import priority_of
from app.referrals.models import Dispatch, Referral, Response
from app.referrals.reasons import reason_of
from app.referrals.states import DispatchState, HeldBecause
from app.referrals.views import document

RESPONSES_READ = "responses.read"
"""The log's name for reading the answers: a disclosure, and yet no part of the referral's timeline."""

_OUR_REASONS = {
    HeldBecause.NO_ADDRESSEE: "No addressee was named and the routing matrix chooses none.",
    HeldBecause.NOT_SENT_OUT: "It could not be sent out. Release it to try again, or reject it.",
}
_SEALING = frozenset({"sealed_reason", "held_because", "sealed", "ring_key", "wrapped"})
_OF_TOMBSTONES = frozenset({"priority", "disposed_at", "retention_group"})
_LEFT = ("id", "reference", "originator", "state", "created_at", "updated_at", "respond_by", "disposed_at")
# Literals, as the conditions of the indexes have them.
_IS_ASKED = Dispatch.state == literal_column(f"'{DispatchState.QUERY}'")
_IS_OPEN = text("referral.state IN ('held', 'accepted', 'in_progress')")
_ASKED = select(Dispatch.referral_id).where(_IS_ASKED)
_SETTLED_BEFORE = text("SELECT settled_before()")


def visible(principal: Principal, action: Action) -> ColumnElement[bool]:
    """The condition on `referral` that `action` demands of this caller. Raises `Problem` (403) where it may not."""
    match principal.relation(action):
        case Relation.OWN:
            return Referral.originator == principal.party
        case Relation.REGION:
            # One region alone keeps the order of the index.
            return Referral.region.in_(principal.parties) if principal.covers else Referral.region == principal.party
        case Relation.ALL:
            return true()
        case Relation.ADDRESSED:
            return exists().where(Dispatch.referral_id == Referral.id, Dispatch.agency == principal.party)
        case _:
            return false()


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed to; None leaves a field open. `after` is the id the page before ended with.

    With `updated_since` only what was updated before `settled` is shown (see `settled_before`). `created_by` is the
    key or account that submitted it, as the log names it; `asked` is what an agency asked a question about.
    """

    state: str | None = None
    agency: str | None = None
    updated_since: datetime | None = None
    settled: datetime | None = None
    after: UUID | None = None
    limit: int = 50
    created_by: str | None = None
    asked: bool = False


async def get(connection: Connection, seen: ColumnElement[bool], referral_id: UUID) -> dict[str, Any] | None:
    """One referral with its dispatches as the contract shows it, or None where it is not there to see.

    Of one that was disposed of its tombstone, which has `disposed_at`.
    """
    found = await _described(connection, _select().where(Referral.id == referral_id, seen))
    return found[0] if found else None


async def whole(connection: Connection, seen: ColumnElement[bool], referral_id: UUID) -> dict[str, Any] | None:
    """The same of a referral that has its content. Raises `Problem` (410) where it was disposed of."""
    found = await get(connection, seen, referral_id)
    if found is not None and "disposed_at" in found:
        raise Problem(DISPOSED)
    return found


async def shown(connection: Connection, principal: Principal, referral_id: UUID) -> None:
    """Log that the caller is shown a referral's content: asked for it, or got it in the answer to a deed."""
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "referral.read", referral_id)])


async def is_there(connection: Connection, seen: ColumnElement[bool], referral_id: UUID) -> bool:
    """Whether a referral is there to see; nothing of it is opened."""
    return await connection.scalar(select(Referral.id).where(Referral.id == referral_id, seen)) is not None


async def settled_before(connection: Connection) -> datetime:
    """The moment before which every change is committed. Ask before reading: a later snapshot holds all of them."""
    moment: datetime = await connection.scalar(_SETTLED_BEFORE)
    return moment


async def page(connection: Connection, seen: ColumnElement[bool], filters: Filters) -> list[dict[str, Any]]:
    """One page of referrals, newest first, at most `filters.limit`."""
    conditions: list[ColumnElement[bool] | TextClause] = [seen]
    if filters.state is not None:
        conditions.append(Referral.state == filters.state)
    if filters.agency is not None:
        conditions.append(exists().where(Dispatch.referral_id == Referral.id, Dispatch.agency == filters.agency))
    if filters.created_by is not None:
        conditions.append(Referral.created_by == filters.created_by)
    if filters.asked:
        # What waits for a reply is open: a list of these few need not look at all that were ever made.
        conditions.extend((Referral.id.in_(_ASKED), _IS_OPEN))
    if filters.updated_since is not None:
        conditions.append(Referral.updated_at >= filters.updated_since)
    if filters.settled is not None:
        conditions.append(Referral.updated_at < filters.settled)
    if filters.after is not None:
        conditions.append(Referral.id < filters.after)
    statement = _select().where(*conditions).order_by(Referral.id.desc()).limit(filters.limit)
    return await _described(connection, statement)


async def questions(connection: Connection, seen: ColumnElement[bool], limit: int = 20) -> list[dict[str, Any]]:
    """The dispatches whose agency waits for the originator's reply, the longest wait first."""
    rows = await connection.execute(
        select(Referral.id, Referral.reference, Dispatch.agency, Dispatch.queried_at)
        .join(Dispatch, Dispatch.referral_id == Referral.id)
        .where(_IS_ASKED, _IS_OPEN, seen)
        .order_by(Dispatch.queried_at, Dispatch.id)
        .limit(limit)
    )
    return [dict(row._mapping) for row in rows]


async def responses(connection: Connection, referral_id: UUID, *, flagged: bool = False) -> list[dict[str, Any]]:
    """The answers to a referral the caller may see, oldest first.

    Late and conflicting ones are the co-ordinator's: with `flagged` they are there too, and each answer has its `flag`
    (null, `late` or `conflict`). Raises `Problem` (410) where the referral was disposed of since the caller looked.
    """
    rows = await connection.execute(
        select(
            Response.id,
            Response.dispatch_id,
            Response.agency,
            Response.recorded_at,
            Response.content,
            Response.sealed,
            Response.flag,
            Referral.disposed_at,
            WrappedKey.ring_key,
            WrappedKey.wrapped,
        )
        .join(Referral, Referral.id == Response.referral_id)
        .outerjoin(WrappedKey, WrappedKey.referral_id == Response.referral_id)
        .where(Response.referral_id == referral_id, true() if flagged else Response.flag.is_(None))
        .order_by(Response.recorded_at, Response.id)
    )
    opener, found = Opener(connection), rows.all()
    if any(row.disposed_at is not None for row in found):
        raise Problem(DISPOSED)
    return [
        {
            "id": row.id,
            "dispatch_id": row.dispatch_id,
            "agency": row.agency,
            "recorded_at": row.recorded_at,
            **({"flag": row.flag} if flagged else {}),
            **document(opener.content("response", row.id, referral_id, row)),
        }
        for row in found
    ]


async def events(connection: Connection, referral_id: UUID, relation: Relation) -> list[dict[str, Any]]:
    """The timeline of a referral the caller may see: what happened to it, in order.

    Of that only what is for whom the referral has this relation to (`timeline`).
    """
    fields = timeline.shown_to(relation)
    rows = await connection.execute(
        select(
            AuditEvent.id,
            AuditEvent.at,
            AuditEvent.action,
            AuditEvent.party,
            AuditEvent.dispatch_id,
            Dispatch.agency,
            AuditEvent.detail,
        )
        .outerjoin(Dispatch, Dispatch.id == AuditEvent.dispatch_id)
        .where(AuditEvent.referral_id == referral_id, AuditEvent.action == func.any(sorted(fields)))
        .order_by(AuditEvent.id)
    )
    return [
        {
            "id": row.id,
            "at": row.at,
            "event": row.action,
            "party": row.party,
            "dispatch_id": row.dispatch_id,
            "agency": row.agency,
            "detail": timeline.part(fields, row.action, row.detail),
        }
        for row in rows
    ]


def _select() -> Select[*tuple[Any, ...]]:
    return select(
        Referral.id,
        Referral.reference,
        Referral.originator,
        Referral.state,
        Referral.created_at,
        Referral.updated_at,
        Referral.respond_by,
        Referral.reason,
        Referral.sealed_reason,
        Referral.held_because,
        Referral.priority,
        Referral.disposed_at,
        Referral.retention_group,
        Referral.content,
        Referral.sealed,
        WrappedKey.ring_key,
        WrappedKey.wrapped,
    ).outerjoin(WrappedKey, WrappedKey.referral_id == Referral.id)


async def _described(connection: Connection, statement: Select[*tuple[Any, ...]]) -> list[dict[str, Any]]:
    referrals = (await connection.execute(statement)).all()
    dispatches = await _dispatches(connection, [row.id for row in referrals])
    opener = Opener(connection)
    return [
        _tombstone(row, dispatches.get(row.id, []))
        if row.disposed_at is not None
        else described(_opened(opener, row), dispatches.get(row.id, []))
        for row in referrals
    ]


def _opened(opener: Opener, row: Row[Any]) -> dict[str, Any]:
    """The row with its content and reason as they were given, without what they were sealed with."""
    columns = {
        name: value for name, value in row._mapping.items() if name not in _SEALING and name not in _OF_TOMBSTONES
    }
    reason = row.reason
    if row.sealed_reason is not None:
        reason = opener.value(reason_of("referral", row.id), row.id, row, row.sealed_reason).decode()
    elif row.held_because is not None:
        reason = _OUR_REASONS[HeldBecause(row.held_because)]
    return {**columns, "reason": reason, "content": opener.referral(row.id, row)}


def _tombstone(row: Row[Any], dispatches: list[dict[str, Any]]) -> dict[str, Any]:
    """What is left of a referral that was disposed of: who, whom and when."""
    return {
        **{name: getattr(row, name) for name in _LEFT},
        "priority": priority_of(row.priority),
        "group": row.retention_group,
        "dispatches": dispatches,
    }


def described(referral: Mapping[str, Any], dispatches: list[dict[str, Any]]) -> dict[str, Any]:
    """A referral's row, opened, as the contract shows it: its columns, all that was submitted, its dispatches."""
    columns = {name: value for name, value in referral.items() if name != "content"}
    return {**columns, **document(referral["content"]), "dispatches": dispatches}


async def _dispatches(connection: Connection, referral_ids: Sequence[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    """The dispatches of several referrals by one query, in the order of their making."""
    if not referral_ids:
        return {}
    rows = await connection.execute(
        select(
            Dispatch.referral_id,
            Dispatch.id,
            Dispatch.agency,
            Dispatch.round,
            Dispatch.state,
            Dispatch.rule,
            Dispatch.release,
            Dispatch.reason,
            Dispatch.gateway,
            Dispatch.due_at,
            Dispatch.delivered_at,
            Dispatch.acknowledged_at,
            Dispatch.answered_at,
            Dispatch.outcome,
        )
        .where(Dispatch.referral_id == func.any(list(referral_ids)))
        .order_by(Dispatch.number)
    )
    grouped: dict[UUID, list[dict[str, Any]]] = {}
    for row in rows:
        described = dict(row._mapping)
        grouped.setdefault(described.pop("referral_id"), []).append(described)
    return grouped
