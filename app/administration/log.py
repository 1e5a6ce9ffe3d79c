"""The audit log, for auditors: its signed checkpoint, its entries, and proofs of what a checkpoint promises.

Hashes and roots are in base64, as in a checkpoint. A checkpoint and a proof tell nothing of what was done, so that
asking for one is not logged; a page of entries is.
"""

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from app.access.policy import Action
from app.access.routes import AccessRoute, CurrentPrincipal, permit
from app.audit import checkpoints, prove, read, witness
from app.audit.note import Checkpoint
from app.audit.record import Event, Operation, record
from app.db import Connection
from app.errors import INVALID_PARAMETER, NOT_FOUND, UNAVAILABLE, Problem
from app.logs import logger
from app.settings import Settings
from app.web.database import Transaction
from app.web.docs import refusals
from app.web.json import json_response

log = logger()

router = APIRouter(route_class=AccessRoute, prefix="/v1/audit", tags=["auditors"])

_MOST = 500
_LARGEST = 2**53 - 1
Count = Annotated[int, Query(ge=0, le=_LARGEST)]


class WitnessView(BaseModel):
    """What the configured witness has countersigned last, and since when it fails."""

    size: int
    at: datetime | None
    failing_since: datetime | None
    failure: str | None


class CheckpointView(BaseModel):
    """The latest signed checkpoint."""

    origin: str
    size: int = Field(description="Entries that it promises.")
    root: str = Field(description="Root of their tree (RFC 9162), base64.")
    at: datetime
    checkpoint: str = Field(description="The signed note (C2SP tlog-checkpoint).")
    key: str = Field(description="The verifier key; compare it with what `gain audit key` prints.")
    sealed: int = Field(description="Entries sealed by now.")
    witness: WitnessView | None


class EntryView(BaseModel):
    """One entry: what was done, by whom, when, to what. Null where the content was pruned."""

    sequence: int
    leaf_hash: str
    entry: dict[str, Any] | None


class EntryPage(BaseModel):
    """Entries in the order of the tree; `next` is what `from` takes for the page after."""

    items: list[EntryView]
    next: str | None


class InclusionProof(BaseModel):
    """That an entry is among the first `size` (RFC 9162, section 2.1.3)."""

    entry: int
    size: int
    leaf_hash: str
    root: str
    path: list[str]


class ConsistencyProof(BaseModel):
    """That the first `from` entries are a beginning of the first `to` (RFC 9162, section 2.1.4)."""

    from_: int = Field(alias="from")
    to: int
    from_root: str
    to_root: str
    path: list[str]


@router.get(
    "/checkpoint", response_model=CheckpointView, responses=refusals(NOT_FOUND), summary="Read the signed checkpoint"
)
@permit(Action.READ_CHECKPOINT)
async def read_checkpoint(request: Request, connection: Transaction) -> Response:
    """What the log promises to hold: compare it with those you kept, by a consistency proof."""
    last = await checkpoints.latest(connection)
    if last is None:
        raise Problem(NOT_FOUND, "No checkpoint has been signed yet. Try again in a minute.")
    promised = Checkpoint.parse(last.note)
    configuration: Settings = request.app.state.settings
    url = configuration.witness_url.rstrip("/")
    return json_response(
        {
            "origin": promised.origin,
            "size": promised.size,
            "root": _base64(promised.root),
            "at": last.at,
            "checkpoint": last.note,
            "key": request.app.state.log_key,
            "sealed": await prove.tree_size(connection),
            "witness": await witness.standing(connection, url) if url else None,
        }
    )


@router.get("/entries", response_model=EntryPage, summary="Read the log")
@permit(Action.READ_LOG)
async def read_entries(
    principal: CurrentPrincipal,
    connection: Transaction,
    start: Annotated[int, Query(alias="from", ge=0, le=_LARGEST)] = 0,
    limit: Annotated[int, Query(ge=1, le=_MOST)] = 100,
) -> Response:
    """A page of entries. Reading it is itself an entry, also where there are none."""
    items = await read.page(connection, start, limit)
    detail = {"from": start, "to": items[-1]["sequence"] if items else None}
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "audit.read", detail=detail)])
    following = str(start + limit) if len(items) == limit else None
    return json_response(
        {"items": [{**item, "leaf_hash": _base64(item["leaf_hash"])} for item in items], "next": following}
    )


@router.get(
    "/proofs/inclusion",
    response_model=InclusionProof,
    responses=refusals(NOT_FOUND, INVALID_PARAMETER),
    summary="Prove that an entry is in the log",
)
@permit(Action.READ_CHECKPOINT)
async def read_inclusion(entry: Count, connection: Transaction, size: Count | None = None) -> Response:
    """The path from an entry to the root of the first `size` entries; left out, those of the latest checkpoint."""
    if size is None:
        last = await checkpoints.latest(connection)
        size = last.size if last else 0
    leaf = await read.leaf(connection, entry) if entry < size else None
    await _sealed(connection, "size", size)
    if leaf is None:
        raise Problem(NOT_FOUND, f"The first {size} entries hold none of this number.")
    with _needing_hashes():
        root = await prove.root(connection, size)
        path = await prove.inclusion(connection, entry, size)
    return json_response(
        {
            "entry": entry,
            "size": size,
            "leaf_hash": _base64(leaf),
            "root": _base64(root),
            "path": [_base64(step) for step in path],
        }
    )


@router.get(
    "/proofs/consistency",
    response_model=ConsistencyProof,
    responses=refusals(INVALID_PARAMETER),
    summary="Prove that the log has only grown",
)
@permit(Action.READ_CHECKPOINT)
async def read_consistency(
    first: Annotated[int, Query(alias="from", ge=0, le=_LARGEST)],
    second: Annotated[int, Query(alias="to", ge=0, le=_LARGEST)],
    connection: Transaction,
) -> Response:
    """What proves that the log of `from` entries is a beginning of that of `to`."""
    if first > second:
        raise _refused("from", "at most `to`")
    await _sealed(connection, "to", second)
    with _needing_hashes():
        roots = [await prove.root(connection, size) for size in (first, second)]
        path = await prove.consistency(connection, first, second)
    return json_response(
        {
            "from": first,
            "to": second,
            "from_root": _base64(roots[0]),
            "to_root": _base64(roots[1]),
            "path": [_base64(step) for step in path],
        }
    )


@contextmanager
def _needing_hashes() -> Iterator[None]:
    """Refuse (503) where what is stored of the tree has holes: somebody has tampered with it."""
    try:
        yield
    except KeyError:
        log.error("stored hashes of the audit tree are missing: run `gain audit verify`")
        raise Problem(UNAVAILABLE, "Stored hashes are missing: tell the operator to run `gain audit verify`.") from None


async def _sealed(connection: Connection, name: str, size: int) -> None:
    sealed = await prove.tree_size(connection)
    if size > sealed:
        raise _refused(name, f"at most the number of entries sealed, {sealed}")


def _refused(name: str, takes: str) -> Problem:
    return Problem(INVALID_PARAMETER, errors=[{"pointer": f"query/{name}", "detail": takes}])


def _base64(value: bytes) -> str:
    return b64encode(value).decode()
