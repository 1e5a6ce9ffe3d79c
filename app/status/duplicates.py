"""Possible duplicates between parties, for the co-ordinators of both regions: to see, and to decide."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import AccessRoute, CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.crypto.blind_index import Kind
from app.errors import BAD_CURSOR, NOT_FOUND, STATE_CONFLICT, Problem
from app.referrals import duplicates
from app.referrals.documents import Document, Paragraph
from app.referrals.duplicates import Decision, Ruling, overseen
from app.referrals.idempotency import Asked, first_time
from app.reporting.queues import region_of
from app.web import cursor as cursors
from app.web.database import Transaction
from app.web.docs import refusals
from app.web.idempotency import REPLAYED, IdempotencyKey
from app.web.json import json_response

router = APIRouter(route_class=AccessRoute, prefix="/v1/duplicates", tags=["co-ordinators"])


class DuplicateReferralView(BaseModel):
    """What both regions may know of one of the two referrals."""

    id: UUID | None = Field(description="Null where the caller does not oversee it.")
    reference: str
    originator: str
    region: str | None
    created_at: datetime


class DuplicateView(BaseModel):
    """Two parties' referrals that may be about one subject."""

    id: UUID
    found_at: datetime
    matched_on: list[Kind] = Field(description="`person`: a full name and birth date; `identifier`: type and value.")
    decision: Decision | None
    decided_at: datetime | None
    decided_by: str | None = Field(description="The party that decided it.")
    reason: str | None = Field(description="Why; shown where the caller oversees the referral of whoever decided it.")
    referrals: list[DuplicateReferralView] = Field(description="The earlier, then the later.")


class DuplicatePage(BaseModel):
    """One page, newest first."""

    items: list[DuplicateView]
    next: str | None


class RulingBody(Document):
    """Whether the two are about the same subject, and why."""

    decision: Decision
    reason: Paragraph


@router.get("", response_model=DuplicatePage, responses=refusals(BAD_CURSOR), summary="List possible duplicates")
@permit(Action.READ_DUPLICATES)
async def read_page(
    principal: CurrentPrincipal,
    connection: Transaction,
    state: Literal["open", "settled"] = "open",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """Referrals of two parties that share a full name with birth date, or an identifier; each region sees its half.

    They are found as the later one is sent out, if the other was open then or completed in the 90 days before.
    """
    filters = (principal.party, "duplicates", state)
    region = region_of(principal, Action.READ_DUPLICATES)
    items = await duplicates.page(
        connection, region, decided=state == "settled", after=_after(filters, cursor), limit=limit + 1
    )
    following = cursors.encode(filters, [str(items[limit - 1]["id"])]) if len(items) > limit else None
    items = items[:limit]
    told = {"ids": [str(item["id"]) for item in items]}
    await record(connection, principal.actor, [looked(principal, "duplicates.listed", items, told)])
    return json_response({"items": items, "next": following})


@router.post(
    "/{id}/settle",
    response_model=DuplicateView,
    responses=refusals(NOT_FOUND, STATE_CONFLICT),
    summary="Decide a possible duplicate",
)
@permit(Action.COORDINATE)
async def settle(
    id: UUID,
    body: RulingBody,
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """The first decision counts for both regions; the same again gives the same answer. Nothing is merged by it."""
    region = region_of(principal, Action.COORDINATE)
    found = await duplicates.lock(connection, region, id)
    if found is None:
        raise Problem(NOT_FOUND)
    asked = Asked(principal.party, overseen(found)[0], f"settle {id}", body.model_dump(mode="json"))
    first = await first_time(connection, request.app.state.keys, idempotency_key, asked)
    if first and not await duplicates.settle(connection, principal.actor, found, Ruling(body.decision, body.reason)):
        raise Problem(STATE_CONFLICT, "It is decided already: read it to see how.")
    now = await duplicates.lock(connection, region, id)
    await record(connection, principal.actor, [looked(principal, "duplicate.read", [now], {"duplicate": str(id)})])
    return json_response(now, headers={} if first else REPLAYED)


def looked(principal: Principal, action: str, pairs: list[Any], told: dict[str, Any]) -> Event:
    """What the log keeps of a look at these pairs: a disclosure where half of one is another region's."""
    foreign = any(one["id"] is None for pair in pairs for one in pair["referrals"])
    recipients = [principal.party] if foreign else []
    return Event(
        Operation.DISCLOSURE if foreign else Operation.CONSULTATION, action, recipients=recipients, detail=told
    )


def _after(filters: tuple[str, ...], cursor: str | None) -> UUID | None:
    if cursor is None:
        return None
    try:
        return UUID(str(cursors.decode(filters, cursor)[0]))
    except (ValueError, IndexError):
        raise Problem(BAD_CURSOR) from None
