"""How far a batch is, and what was wrong with its rows. Nothing here names anybody."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, false, select

from app.access.policy import Action, Relation
from app.access.principal import Principal
from app.audit.record import Event, Operation, record
from app.db import Connection
from app.errors import PROBLEM_TYPES
from app.referrals.batches.models import Batch, BatchError

_SHOWN: tuple[Any, ...] = (
    *(Batch.id, Batch.state, Batch.format, Batch.total, Batch.accepted, Batch.repeated, Batch.rejected),
    *(Batch.created_at, Batch.received_at, Batch.completed_at),
)


@dataclass(frozen=True, slots=True)
class Progress:
    """A batch as its party sees it."""

    id: UUID
    document: dict[str, Any]


async def listed(connection: Connection, principal: Principal, items: Sequence[Progress]) -> None:
    """Log that the caller was shown these batches."""
    told = {"ids": [str(item.id) for item in items]}
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "batches.listed", detail=told)])


async def shown(connection: Connection, principal: Principal, batch_id: UUID) -> None:
    """Log that the caller was shown how far a batch is."""
    told = {"batch": str(batch_id)}
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "batch.read", detail=told)])


async def errors_shown(connection: Connection, principal: Principal, batch_id: UUID) -> None:
    """Log that the caller was shown what was wrong with rows of a batch."""
    told = {"batch": str(batch_id)}
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "batch.errors_read", detail=told)])


def visible(principal: Principal) -> ColumnElement[bool]:
    """The condition on `batch` for this caller: its own party's. Raises `Problem` (403) where it may read none."""
    return Batch.party == principal.party if principal.relation(Action.READ_BATCH) is Relation.OWN else false()


async def get(connection: Connection, seen: ColumnElement[bool], batch_id: UUID) -> Progress | None:
    """One batch, None where it is not there to see."""
    found = await _read(connection, _select().where(Batch.id == batch_id, seen))
    return found[0] if found else None


async def page(
    connection: Connection, seen: ColumnElement[bool], after: UUID | None = None, limit: int = 50
) -> list[Progress]:
    """Batches, newest first; `after` is the id that the page before ended with."""
    conditions = [seen] if after is None else [seen, Batch.id < after]
    return await _read(connection, _select().where(*conditions).order_by(Batch.id.desc()).limit(limit))


async def errors(connection: Connection, batch_id: UUID, after: int = 0, limit: int = 100) -> list[dict[str, Any]]:
    """What was wrong with rows of a batch that the caller may see, by row number, from the one after `after` on."""
    rows = await connection.execute(
        select(BatchError.number, BatchError.kind, BatchError.faults)
        .where(BatchError.batch_id == batch_id, BatchError.number > after)
        .order_by(BatchError.number)
        .limit(limit)
    )
    return [
        {
            "row": row.number,
            "type": f"/problems/{row.kind}",
            "reason": PROBLEM_TYPES[row.kind].title,
            "errors": row.faults,
        }
        for row in rows
    ]


def _select() -> Select[Any]:
    return select(*_SHOWN)


async def _read(connection: Connection, statement: Select[Any]) -> list[Progress]:
    return [Progress(row.id, dict(row._mapping)) for row in await connection.execute(statement)]
