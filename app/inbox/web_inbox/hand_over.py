"""Handing an item over to a colleague, or taking it oneself."""

from uuid import UUID

from fastapi import APIRouter, Request, Response

from app.access.policy import Action
from app.access.routes import CurrentPrincipal, permit
from app.inbox.web_inbox.route import HOME, InboxPage, Sent, address_of, found, go, told
from app.referrals.assignments import assign
from app.web.database import Transaction

router = APIRouter(route_class=InboxPage, include_in_schema=False)


@router.post(f"{HOME}/{{id}}/colleague", response_class=Response)
@permit(Action.ANSWER)
async def hand_over(
    id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction, fields: Sent
) -> Response:
    """Give the item to the colleague chosen; nobody chosen: to nobody in particular."""
    await found(connection, principal, id)
    try:
        account = UUID(str(fields.get("colleague"))) if fields.get("colleague") else None
    except ValueError:
        account = UUID(int=0)
    if await assign(connection, principal.actor, id, account):
        return go(f"{address_of(id)}#colleague")
    words = "Either the item is no longer open, or your colleague has no account any more that can take it."
    return told(request, 409, "It was not handed over", words, back=address_of(id), back_words="Back to the item")
