"""`/handover`: the note that a region's co-ordinator leaves for the next."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from starlette.responses import RedirectResponse

from app.access.pages import PageRoute
from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.errors import NOT_FOUND, Problem
from app.parties.codes import PartyKind
from app.parties.directory import Directory
from app.reporting.handover import MOST_CHARACTERS, note_of, write_note
from app.reporting.queues import region_of
from app.web import pages
from app.web.database import Transaction

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Region = Annotated[str, Query(max_length=32)]


@router.get("/handover", response_class=Response)
@permit(Action.SEE_STATUS_PAGE)
async def handover_page(
    request: Request, principal: CurrentPrincipal, connection: Transaction, region: Region = ""
) -> Response:
    """The note, to change."""
    party = await _party(request, connection, principal, region)
    note = await note_of(connection, party)
    await record(
        connection, principal.actor, [Event(Operation.CONSULTATION, "handover_note.read", detail={"of": party})]
    )
    return pages.render(
        "handover.html", request=request, party=party, note=note, words=note.text if note else "", errors={}
    )


@router.post("/handover", response_class=Response)
@permit(Action.COORDINATE)
async def write(
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    words: Annotated[str, Form()] = "",
    region: Region = "",
) -> Response:
    """Leave it in place of the one before."""
    party = await _party(request, connection, principal, region)
    words = words.replace("\r\n", "\n").strip()
    if len(words) > MOST_CHARACTERS:
        errors = {"words": f"Write {MOST_CHARACTERS:,} characters or fewer."}
        note = await note_of(connection, party)
        return pages.render(
            "handover.html", request=request, status=422, party=party, note=note, words=words, errors=errors
        )
    await write_note(connection, principal.actor, party, words)
    shown = "" if party == principal.party else f"&region={party}"
    return RedirectResponse(f"/?done=note{shown}", 303)


async def _party(request: Request, connection: Transaction, principal: Principal, region: str) -> str:
    """Whose note: the own one, a covered region's, or (national) any region's. Raises `Problem` (404)."""
    if not region or region in principal.parties:
        return region or principal.party
    directory: Directory = await request.app.state.directory.get(connection)
    found = directory.get(region)
    if region_of(principal, Action.COORDINATE) is not None or found is None or found.kind is not PartyKind.REGION:
        raise Problem(NOT_FOUND)
    return region
