"""`GET /v1/inbox`: what waits for an agency. Reading never removes anything."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response

from app.access.policy import Action
from app.access.routes import CurrentPrincipal, permit
from app.errors import BAD_CURSOR, TOO_MANY_REQUESTS, UNAVAILABLE, Problem
from app.inbox.items import Window
from app.inbox.polling import LONGEST_WAIT_SECONDS, Poll, PollRoute
from app.inbox.views import BATCH, ItemPage
from app.referrals.states import DispatchState
from app.web import cursor as cursors
from app.web.docs import refusals

router = APIRouter(route_class=PollRoute, prefix="/v1/inbox", tags=["partner agencies"])

_PREFER = f"`wait=20` holds an empty poll, {LONGEST_WAIT_SECONDS} seconds at most, and answers when something arrives."
_IF_NONE_MATCH = (
    "The `ETag` of an answer: 304 while the same poll would get the same; with `wait`, held until it would not."
)


@router.get(
    "",
    response_model=ItemPage,
    responses=refusals(BAD_CURSOR, TOO_MANY_REQUESTS, UNAVAILABLE) | {304: {"description": "Nothing has changed."}},
    summary="Read the inbox",
)
@permit(Action.READ_INBOX)
async def read_page(
    request: Request,
    principal: CurrentPrincipal,
    limit: Annotated[int, Query(ge=1, le=BATCH)] = 100,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    state: DispatchState | None = None,
    # Poll reads these two as they were sent, line by line; here they are for the documentation.
    prefer: Annotated[str | None, Header(description=_PREFER)] = None,
    if_none_match: Annotated[str | None, Header(description=_IF_NONE_MATCH)] = None,
) -> Response:
    """Everything not yet acknowledged, and cancelled items until their cancellation is acknowledged.

    `state` lists the items of that state instead. The first page that contains an item makes it `delivered`.
    """
    window = Window(state, _after((principal.party, state), cursor), limit)
    return await Poll(request, principal, window).answer()


def _after(filters: tuple[str, DispatchState | None], cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    position = cursors.decode(filters, cursor)
    match position:
        case [int(priority), int(number)] if 0 <= priority < 2**15 and 0 <= number < 2**63:
            return priority, number
    raise Problem(BAD_CURSOR)
