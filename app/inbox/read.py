"""Reading one item of an inbox, and claiming items for one of several consumers."""

from uuid import UUID

from fastapi import APIRouter, Response

from app.access.policy import Action
from app.access.routes import CurrentPrincipal, permit
from app.errors import NOT_FOUND, Problem
from app.inbox import items
from app.inbox.route import InboxRoute
from app.inbox.views import ClaimedItems, ClaimsBody, ItemView
from app.web.database import Transaction
from app.web.docs import refusals
from app.web.json import json_response

router = APIRouter(route_class=InboxRoute, prefix="/v1/inbox", tags=["partner agencies"])


@router.post("/claims", response_model=ClaimedItems, summary="Claim items for one of several consumers")
@permit(Action.ANSWER)
async def claim(principal: CurrentPrincipal, connection: Transaction, body: ClaimsBody | None = None) -> Response:
    """Waiting items that nobody holds, for this consumer until the lease ends. They still show in the inbox."""
    body = body or ClaimsBody()
    claimed = await items.claim(connection, principal.actor, body.limit, body.lease_seconds)
    return json_response({"items": claimed, "next": None})


@router.get("/{id}", response_model=ItemView, responses=refusals(NOT_FOUND), summary="Read one item")
@permit(Action.READ_INBOX)
async def read_item(id: UUID, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """One item of the inbox, whatever its state, with its messages."""
    shown = await items.item(connection, principal.actor, id)
    if shown is None:
        raise Problem(NOT_FOUND)
    return json_response(shown)
