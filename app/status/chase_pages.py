"""Chasing all that is overdue at one body: the button is one click, the page after it the second."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import text
from starlette.responses import RedirectResponse

from app.access.pages import PageRoute
from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal, permit
from app.db import Connection
from app.errors import NOT_FOUND, Problem
from app.parties.directory import Directory
from app.referrals import lifecycle
from app.reporting.queues import region_of
from app.web import pages
from app.web.database import Transaction
from app.web.words import counted

router = APIRouter(route_class=PageRoute, include_in_schema=False)

AT_ONCE = 5_000
"""So many are chased by one click: each is a notice, and a row of the log."""

CHASED = "The body is reminded of all that is overdue."

Region = Annotated[str, Query(max_length=32)]

# By agency and region in the order of the partial index; locked in one order, so that two clicks wait for each other.
_OVERDUE = text("""
    SELECT id FROM dispatch
     WHERE id = ANY(ARRAY(
           SELECT found.id FROM (
               SELECT code FROM party WHERE kind = 'region' AND (CAST(:region AS text) IS NULL OR code = :region)
                UNION ALL SELECT '' WHERE CAST(:region AS text) IS NULL) AS place (region)
             CROSS JOIN LATERAL (
               SELECT id FROM dispatch
                WHERE agency = :agency AND coalesce(dispatch.region, '') = place.region AND overdue_at IS NOT NULL
                  AND state IN ('queued', 'delivered', 'acknowledged')
                ORDER BY due_at LIMIT :most) AS found
            LIMIT :most))
     ORDER BY id
""")
_LOCKED = text(f"{_OVERDUE.text} FOR NO KEY UPDATE")


@router.get("/queues/{agency}/chase", response_class=Response)
@permit(Action.SEE_STATUS_PAGE)
async def ask(
    agency: str, request: Request, principal: CurrentPrincipal, connection: Transaction, region: Region = ""
) -> Response:
    """Say how many there are, and ask."""
    directory: Directory = await request.app.state.directory.get(connection)
    party = directory.get(agency)
    if party is None or not party.receives:
        raise Problem(NOT_FOUND)
    ids = await _overdue(connection, principal, agency, region)
    if not ids:
        return pages.render("chased.html", request=request, agency=agency, party=party.name)
    number = counted(len(ids), "dispatch is", "dispatches are")
    rest = f" These are the {AT_ONCE:,} that are due longest." if len(ids) == AT_ONCE else ""
    return pages.confirm(
        request,
        f"Chase {agency} about all that is overdue?",
        f"{number} overdue at {party.name}.{rest} It is reminded of each by its channel, and each reminder is logged.",
        button=f"Chase {counted(len(ids), 'dispatch', 'dispatches')}",
        back="/queues",
    )


@router.post("/queues/{agency}/chase", response_class=Response)
@permit(Action.COORDINATE)
async def chase(
    agency: str, request: Request, principal: CurrentPrincipal, connection: Transaction, region: Region = ""
) -> Response:
    """Remind it of all that is overdue now."""
    ids = await _overdue(connection, principal, agency, region, lock=True)
    await lifecycle.chase(connection, principal.actor, ids)
    request.app.state.wake.work()
    return RedirectResponse("/?done=chased", 303)


async def _overdue(
    connection: Connection, principal: Principal, agency: str, region: str, *, lock: bool = False
) -> list[UUID]:
    """What is overdue at an agency: of the caller's region, or of one that it covers, or (national) of all."""
    own = region_of(principal, Action.COORDINATE)
    if region and own is not None and region not in principal.parties:
        raise Problem(NOT_FOUND)
    parameters = {"agency": agency, "region": region or own, "most": AT_ONCE}
    return list(await connection.scalars(_LOCKED if lock else _OVERDUE, parameters))
