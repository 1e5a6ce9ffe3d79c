"""The first page: what needs a co-ordinator now, the queues, the referrals in progress; and its live stream."""

import asyncio
from dataclasses import replace
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.sse import EventSourceResponse

from app.access.covers import listed
from app.access.navigation import Link, add_links
from app.access.pages import PageRoute, unattended
from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.errors import BAD_CURSOR, Problem
from app.reporting.board import View, board
from app.reporting.handover import note_of
from app.status.chase_pages import CHASED
from app.status.concerns import Running
from app.status.cover_pages import in_words
from app.status.home_filters import Filters, HomeFilters
from app.status.live import Live
from app.status.parts import Painter, fill, position_of
from app.status.sights import Home
from app.web import cursor as cursors
from app.web import pages
from app.web.database import Transaction
from app.web.health import Readiness
from app.web.words import ago

router = APIRouter(route_class=PageRoute, include_in_schema=False)

DONE = {
    "decided": "The possible duplicate is decided.",
    "note": "The handover note is saved.",
    "chased": CHASED,
    "cover": "The cover is changed.",
}
"""What a page that leads back here has done."""

Cursor = Annotated[str | None, Query(max_length=500)]

add_links(Link("What needs you now", "/", Action.SEE_STATUS_PAGE, order=10))


@router.get("/", response_class=Response)
@permit(Action.SEE_STATUS_PAGE)
async def first_page(
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    filters: HomeFilters,
    cursor: Cursor = None,
    refresh: Literal["off"] | None = None,
    done: Annotated[str, Query(max_length=50)] = "",
) -> Response:
    """The whole page, complete without scripts. `refresh=off` keeps it still where there are none."""
    view = _view(principal, filters, cursor)
    read = await board(connection, view)
    note = await note_of(connection, view.region or principal.party)
    shown = {str(referral["id"]) for referral in read.referrals}
    shown |= {str(case.referral_id) for group in read.needs for case in group.cases}
    await record(
        connection,
        principal.actor,
        [Event(Operation.CONSULTATION, "status_page.read", detail={"ids": sorted(shown), "note": note is not None})],
    )
    readiness: Readiness = request.app.state.readiness
    running = Running((await readiness.report()).works("broker"), request.app.state.backlog.refused_priorities())
    painted = await asyncio.to_thread(Painter(view).paint, read, running)
    return pages.render(
        "status.html",
        request=request,
        shown_region=view.region,
        national=view.region is None,
        board=read,
        parts=painted,
        referrals=fill(view, read, painted),
        stream=filters.address("/live", cursor=cursor),
        refreshing=refresh is None,
        refresh=filters.address("/", cursor=cursor, refresh=refresh),
        toggle=filters.address("/", cursor=cursor, refresh="off" if refresh is None else None),
        filters=filters,
        chosen={name: getattr(filters, name) for name in filters.choices},
        export=filters.address("/needs.csv"),
        done=DONE.get(done),
        note=note,
        note_when=note and ago(note.written_at, read.at),
        note_address=f"/handover?region={view.region or principal.party}",
        covering=[in_words(cover) for cover in await listed(connection)],
    )


@router.get("/live", response_class=Response)
@permit(Action.SEE_STATUS_PAGE)
@unattended
async def live_page(
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    filters: HomeFilters,
    cursor: Cursor = None,
) -> Response:
    """The parts of the page as they change, until the session ends."""
    view = _view(principal, filters, cursor)
    # One event for the whole stream: a row a second for each open page would bury the log and tell nothing more.
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "status_page.followed")])
    live: Live = request.app.state.live
    # Nginx would otherwise keep what is small until there is more of it.
    return EventSourceResponse(
        live.stream(request.state.signed_in.reader, Home(view)), headers={"X-Accel-Buffering": "no"}
    )


def _view(principal: Principal, filters: Filters, cursor: str | None) -> View:
    """What part of it the caller sees. Raises `Problem` for a cursor that is not of this list."""
    view = View(filters.board_region, scope=filters.scope, behalf=principal.behalf)
    if cursor is None:
        return view
    try:
        return replace(view, after=UUID(str(cursors.decode(position_of(view), cursor)[0])))
    except (ValueError, IndexError):
        raise Problem(BAD_CURSOR) from None
