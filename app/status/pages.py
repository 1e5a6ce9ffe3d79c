"""The first page: what needs a co-ordinator now, the queues, the referrals in progress; and its live stream."""

import asyncio
from typing import Annotated, Literal
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.sse import EventSourceResponse

from app.access.navigation import Link, add_links
from app.access.pages import PageRoute, unattended
from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.errors import BAD_CURSOR, Problem
from app.reporting.board import View, board
from app.reporting.queues import region_of
from app.status.concerns import Running
from app.status.live import Live
from app.status.parts import Painter, fill, position_of
from app.web import cursor as cursors
from app.web import pages
from app.web.database import Transaction
from app.web.health import Readiness

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Cursor = Annotated[str | None, Query(max_length=500)]

add_links(Link("What needs you now", "/", Action.SEE_STATUS_PAGE, order=10))


@router.get("/", response_class=Response)
@permit(Action.SEE_STATUS_PAGE)
async def first_page(
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    cursor: Cursor = None,
    refresh: Literal["off"] | None = None,
) -> Response:
    """The whole page, complete without scripts. `refresh=off` keeps it still where there are none."""
    view = _view(principal, cursor)
    read = await board(connection, view)
    shown = [str(referral["id"]) for referral in read.referrals]
    await record(
        connection, principal.actor, [Event(Operation.CONSULTATION, "status_page.read", detail={"ids": shown})]
    )
    readiness: Readiness = request.app.state.readiness
    running = Running((await readiness.report()).works("broker"), request.app.state.backlog.refused_priorities())
    painted = await asyncio.to_thread(Painter(view).paint, read, running)
    return pages.render(
        "status.html",
        request=request,
        party=principal.party,
        national=view.region is None,
        board=read,
        parts=painted,
        referrals=fill(view, read, painted),
        stream=_address("/live", cursor=cursor),
        refreshing=refresh is None,
        refresh=_address("/", cursor=cursor, refresh=refresh),
        toggle=_address("/", cursor=cursor, refresh="off" if refresh is None else None),
    )


@router.get("/live", response_class=Response)
@permit(Action.SEE_STATUS_PAGE)
@unattended
async def live_page(
    request: Request, principal: CurrentPrincipal, connection: Transaction, cursor: Cursor = None
) -> Response:
    """The parts of the page as they change, until the session ends."""
    view = _view(principal, cursor)
    # One event for the whole stream: a row a second for each open page would bury the log and tell nothing more.
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "status_page.followed")])
    live: Live = request.app.state.live
    # Nginx would otherwise keep what is small until there is more of it.
    return EventSourceResponse(live.stream(request.state.session, view), headers={"X-Accel-Buffering": "no"})


def _view(principal: Principal, cursor: str | None) -> View:
    """What part of the referrals the caller sees. Raises `Problem` for a cursor that is not of this list."""
    view = View(region_of(principal, Action.SEE_STATUS_PAGE))
    if cursor is None:
        return view
    try:
        return View(view.region, UUID(str(cursors.decode(position_of(view), cursor)[0])))
    except (ValueError, IndexError):
        raise Problem(BAD_CURSOR) from None


def _address(path: str, **query: str | None) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path
