"""`/v1/referral-batches`: many referrals in one file, how far it is, and what was wrong with its rows."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from app.access.policy import Action
from app.access.routes import AccessRoute, CurrentPrincipal, permit
from app.db import Connection
from app.errors import (
    BAD_BATCH,
    BAD_CURSOR,
    BATCH_COLUMNS,
    BATCH_TOO_LARGE,
    BODY_TIMEOUT,
    IDEMPOTENCY_IN_FLIGHT,
    IDEMPOTENCY_KEY_REUSED,
    MEDIA_TYPE,
    NOT_FOUND,
    Problem,
)
from app.referrals.batches import progress
from app.referrals.batches.columns import template
from app.referrals.batches.models import BatchState, Format
from app.referrals.batches.receive import MOST_BYTES, Desk, receive
from app.web import cursor as cursors
from app.web.database import Transaction, database
from app.web.docs import Fault, refusals
from app.web.guard import BodyLimit
from app.web.idempotency import REPLAYED, IdempotencyKey
from app.web.json import json_response

PATH = "/v1/referral-batches"
UPLOAD = BodyLimit(MOST_BYTES, seconds=1800.0)
"""What the body guard lets through here: half an hour for the whole, in which nobody may be silent for a minute."""

_FORMATS = {
    "text/csv": Format.CSV,
    "application/x-ndjson": Format.NDJSON,
    "application/ndjson": Format.NDJSON,
    "application/jsonl": Format.NDJSON,
}
_ACCEPT = "Send `text/csv` or `application/x-ndjson`, in UTF-8 and not compressed."

_BODIES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "At most 100,000 rows and 256 MiB. A `client_reference` is required in each.",
        "content": {
            "text/csv": {
                "schema": {"type": "string"},
                "example": template().removeprefix("\ufeff"),
            },
            "application/x-ndjson": {
                "schema": {
                    "type": "string",
                    "description": "A line is the body of `POST /v1/referrals`, with a `client_reference`.",
                }
            },
        },
    }
}


class BatchView(BaseModel):
    """A batch, and how far it is."""

    id: UUID
    state: BatchState = Field(
        description="`receiving`, then `accepting`, then `completed`; `incomplete` where the upload was cut off: "
        "nothing of it was accepted, send it again."
    )
    format: Format
    total: int = Field(description="Rows received so far; all of them once it is `accepting`.")
    accepted: int = Field(description="Rows that stand for a referral by now.")
    repeated: int = Field(description="Of these, rows that stood for one before: they came in an earlier batch or row.")
    rejected: int = Field(description="Rows that were refused; `/errors` tells each.")
    created_at: datetime
    received_at: datetime | None = Field(description="When all of it was received.")
    completed_at: datetime | None = Field(description="When it came to its end.")


class BatchPage(BaseModel):
    """Batches, newest first."""

    items: list[BatchView]
    next: str | None


class RowErrorView(BaseModel):
    """What was wrong with one row. Never what it said."""

    row: int = Field(description="In a CSV file as a spreadsheet counts (the headings are row 1), else the line.")
    type: str = Field(description="Path of a readable page about this kind of refusal.")
    reason: str
    errors: list[Fault] = Field(
        description="`pointer` is `column/…` in a CSV file, RFC 6901 in NDJSON; empty: the row."
    )


class RowErrorPage(BaseModel):
    """What was wrong with rows, in their order."""

    items: list[RowErrorView]
    next: str | None


router = APIRouter(route_class=AccessRoute, prefix=PATH, tags=["originators"])


@router.post(
    "",
    status_code=202,
    response_model=BatchView,
    responses=refusals(
        BAD_BATCH,
        BATCH_COLUMNS,
        BATCH_TOO_LARGE,
        BODY_TIMEOUT,
        IDEMPOTENCY_IN_FLIGHT,
        IDEMPOTENCY_KEY_REUSED,
        MEDIA_TYPE,
    ),
    openapi_extra=_BODIES,
    summary="Submit many referrals in one file",
)
@permit(Action.SUBMIT_BATCH)
async def submit_batch(
    request: Request, principal: CurrentPrincipal, idempotency_key: IdempotencyKey = None
) -> Response:
    """Store every row durably and answer 202; the workers accept the sound ones, urgent first.

    A row is known by its `client_reference`: one that comes again, in this batch or another, is not a second referral.
    One with a known reference that says something else is rejected.
    """
    received = await receive(_desk(request), principal, _format(request), body_of(request), idempotency_key)
    request.app.state.wake.work()
    async with database(request).transaction(principal.behalf) as connection:
        found = await _seen(connection, progress.visible(principal), received.id)
        if received.replayed:
            await progress.shown(connection, principal, received.id)
    headers = {"Location": f"{PATH}/{received.id}"} | (REPLAYED if received.replayed else {})
    return json_response(found.document, status=202, headers=headers)


@router.get("", response_model=BatchPage, responses=refusals(BAD_CURSOR), summary="List batches, newest first")
@permit(Action.READ_BATCH)
async def read_batches(
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """One page of one's own batches. `next` leads to the next."""
    filters = ("batches", principal.party)
    items = await progress.page(connection, progress.visible(principal), _after(filters, cursor), limit + 1)
    following = cursors.encode(filters, [str(items[limit - 1].id)]) if len(items) > limit else None
    await progress.listed(connection, principal, items[:limit])
    return _page(request, [item.document for item in items[:limit]], following)


@router.get("/template.csv", response_class=Response, summary="Download the headings of a CSV file")
@permit(Action.READ_BATCH)
async def read_template() -> Response:
    """A CSV file with the usual headings and no row: fill it in with a spreadsheet, leave out what is not needed."""
    headers = {"Content-Disposition": 'attachment; filename="referrals.csv"'}
    return Response(template(), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/{id}", response_model=BatchView, responses=refusals(NOT_FOUND), summary="Read how far a batch is")
@permit(Action.READ_BATCH)
async def read_batch(id: UUID, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """The batch as it is now."""
    found = await _seen(connection, progress.visible(principal), id)
    await progress.shown(connection, principal, id)
    return json_response(found.document)


@router.get(
    "/{id}/errors",
    response_model=RowErrorPage,
    responses=refusals(NOT_FOUND, BAD_CURSOR),
    summary="Read what was wrong with rows",
)
@permit(Action.READ_BATCH)
async def read_errors(
    id: UUID,
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """The rows that were refused, in their order. All of them once the batch is completed: the last are found then."""
    await _seen(connection, progress.visible(principal), id)
    filters = ("batch errors", principal.party, id)
    items = await progress.errors(connection, id, _number(filters, cursor), limit + 1)
    following = cursors.encode(filters, [items[limit - 1]["row"]]) if len(items) > limit else None
    await progress.errors_shown(connection, principal, id)
    return _page(request, items[:limit], following)


def _desk(request: Request) -> Desk:
    found: Desk = request.app.state.desk
    return found


def _format(request: Request) -> Format:
    """What the body is, by its type. Raises `Problem` (415)."""
    kind, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    found = _FORMATS.get(kind.strip())
    charset = parameters.partition("charset=")[2].partition(";")[0].strip(' "')
    coded = request.headers.get("content-encoding", "identity").lower() != "identity"
    if found is None or coded or charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise Problem(MEDIA_TYPE, _ACCEPT)
    return found


async def body_of(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes, told in this address's own words where the guard stops it."""
    try:
        async for chunk in request.stream():
            yield chunk
    except HTTPException as error:
        raise Problem(BATCH_TOO_LARGE) if error.status_code == BATCH_TOO_LARGE.status else error from None


async def _seen(connection: Connection, seen: Any, id: UUID) -> progress.Progress:
    found = await progress.get(connection, seen, id)
    if found is None:
        raise Problem(NOT_FOUND)
    return found


def _page(request: Request, items: list[dict[str, Any]], following: str | None) -> Response:
    headers = {}
    if following:
        narrowing = [pair for pair in request.query_params.multi_items() if pair[0] != "cursor"]
        headers["Link"] = f'<{request.url.path}?{urlencode([*narrowing, ("cursor", following)])}>; rel="next"'
    return json_response({"items": items, "next": following}, headers=headers)


def _after(filters: tuple[Any, ...], cursor: str | None) -> UUID | None:
    if cursor is None:
        return None
    try:
        return UUID(str(cursors.decode(filters, cursor)[0]))
    except (ValueError, IndexError):
        raise Problem(BAD_CURSOR) from None


def _number(filters: tuple[Any, ...], cursor: str | None) -> int:
    if cursor is None:
        return 0
    position = cursors.decode(filters, cursor)
    if len(position) != 1 or not isinstance(position[0], int):
        raise Problem(BAD_CURSOR)
    return position[0]
