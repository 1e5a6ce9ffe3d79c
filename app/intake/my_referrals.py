"""A force's own referrals as pages: the list with what needs the force, one of them with all that came back."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import BeforeValidator

from app import clock
from app.access.navigation import Link, add_links
from app.access.pages import PageRoute
from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.db import Connection
from app.errors import BAD_CURSOR, NOT_FOUND, Problem
from app.intake import shown
from app.intake.product import HTML, PDF, give
from app.parties.directory import Directory
from app.referrals import consents, duplicates, queries
from app.referrals.consents import Consent, looked
from app.referrals.documents import PartyCode
from app.referrals.exchange import messages
from app.referrals.outcomes import outcomes
from app.referrals.queries import Filters
from app.referrals.states import ReferralState
from app.reporting import sheet
from app.reporting.product import consolidate
from app.web import cursor as cursors
from app.web import pages
from app.web.database import Transaction

router = APIRouter(route_class=PageRoute, prefix="/my-referrals", include_in_schema=False)

pages.add_templates(Path(__file__).parent / "templates")
add_links(Link("My referrals", "/my-referrals", Action.READ_OWN_REFERRALS, order=10))

_PAGE = 20


def _given(value: object) -> object:
    """A form of filters sends what was left open as an empty text."""
    return None if value == "" else value


_Open = BeforeValidator(_given)


@router.get("", response_class=Response)
@permit(Action.READ_OWN_REFERRALS)
async def list_page(
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    state: Annotated[ReferralState | None, _Open] = None,
    agency: Annotated[PartyCode | None, _Open] = None,
    mine: bool = False,
    asked: bool = False,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """The party's referrals, newest first; on top the questions that wait for its reply."""
    seen = queries.visible(principal, Action.READ_OWN_REFERRALS)
    narrowing = (principal.party, state, agency, mine, asked)
    items = await queries.page(
        connection,
        seen,
        Filters(
            state,
            agency,
            after=_position(narrowing, cursor),
            limit=_PAGE + 1,
            created_by=principal.credential if mine else None,
            asked=asked,
        ),
    )
    following = cursors.encode(narrowing, [str(items[_PAGE - 1]["id"])]) if len(items) > _PAGE else None
    items = items[:_PAGE]
    told = {"ids": [str(item["id"]) for item in items]}
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "referrals.listed", detail=told)])
    chosen = {
        "state": state or "",
        "agency": agency or "",
        "mine": "true" if mine else "",
        "asked": "true" if asked else "",
    }
    return pages.render(
        "my_referrals.html",
        request=request,
        items=items,
        shown=shown,
        questions=await queries.questions(connection, seen),
        states=[("", "Any"), *((one.value, one.value.replace("_", " ").capitalize()) for one in ReferralState)],
        agencies=[("", "Any"), *await _receivers(request, connection)],
        chosen=chosen,
        newest=_address(chosen) if cursor else None,
        older=_address(chosen, following) if following else None,
    )


@router.get("/{id}", response_class=Response)
@permit(Action.READ_OWN_REFERRALS)
async def referral_page(id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """One referral: what was asked, whom, what came back, what happened; of one disposed of what is left."""
    referral = await queries.get(connection, queries.visible(principal, Action.READ_OWN_REFERRALS), id)
    if referral is None:
        raise Problem(NOT_FOUND)
    directory: Directory = await request.app.state.directory.get(connection)
    names = {party.code: party.name for party in directory}
    events = await queries.events(connection, id, principal.relation(Action.READ_OWN_REFERRALS))
    gone = "disposed_at" in referral
    held = {} if gone else await _content(connection, principal, referral, names)
    await record(connection, principal.actor, [*_reads(id, principal, held)])
    return pages.render(
        "my_referral.html",
        request=request,
        referral=referral,
        gone=gone,
        names=names,
        now=clock.now(),
        shown=shown,
        events=events,
        **{name: held.get(name, ()) for name in ("about", "answered", "threads", "recorded", "twins", "consents")},
        asks=shown.may_ask_consent(held.get("responses", ())),
        party=principal.party,
    )


@router.get("/{id}/product", response_class=Response)
@permit(Action.READ_OWN_REFERRALS)
async def product_page(id: UUID, request: Request, principal: CurrentPrincipal) -> Response:
    """The consolidated product, to read and to print."""
    return await give(request, principal, id, HTML)


@router.get("/{id}/product.pdf", response_class=Response)
@permit(Action.READ_OWN_REFERRALS)
async def product_file(id: UUID, request: Request, principal: CurrentPrincipal) -> Response:
    """The same as a PDF, to file."""
    return await give(request, principal, id, PDF)


async def _content(
    connection: Connection, principal: Principal, referral: dict[str, Any], names: dict[str, str]
) -> dict[str, Any]:
    """What the page shows of a referral that has its content."""
    id = referral["id"]
    responses = await queries.responses(connection, id)
    recorded = await outcomes(connection, id)
    asked = await consents.listed(connection, Consent.referral_id == id)
    product = consolidate(referral, responses, clock.now(), recorded, asked)
    exchanges = await messages(connection, [one["id"] for one in referral["dispatches"]])
    return {
        "responses": responses,
        "about": sheet.about(product, names),
        "answered": sheet.answered(product, names),
        "threads": [(one, exchanges[one["id"]]) for one in referral["dispatches"] if one["id"] in exchanges],
        "recorded": [(one, sheet.done(one, names)) for one in recorded],
        "consents": asked,
        "twins": await duplicates.of_own(connection, principal.party, id),
    }


def _reads(id: UUID, principal: Principal, held: dict[str, Any]) -> list[Event]:
    """What the log keeps of one look at the page: the same as of the API's answers that it is made of."""
    found = [
        Event(Operation.CONSULTATION, "referral.read", id),
        Event(Operation.CONSULTATION, "referral.timeline_read", id),
    ]
    if told := [str(one["id"]) for one in held.get("responses", ())]:
        detail = {"ids": told}
        found.append(Event(Operation.DISCLOSURE, queries.RESPONSES_READ, id, None, [principal.party], detail))
    if told := [str(one["id"]) for one, _ in held.get("recorded", ())]:
        found.append(Event(Operation.CONSULTATION, "outcomes.read", id, detail={"ids": told}))
    if asked := held.get("consents"):
        found.append(looked(id, asked))
    if told := [str(one["id"]) for one in held.get("twins", ())]:
        found.append(Event(Operation.COMBINATION, "duplicates.own_read", detail={"of": str(id), "ids": told}))
    return found


async def _receivers(request: Request, connection: Connection) -> list[tuple[str, str]]:
    directory: Directory = await request.app.state.directory.get(connection)
    return sorted(((one.code, f"{one.name} ({one.code})") for one in directory if one.receives), key=lambda one: one[1])


def _position(narrowing: tuple[object, ...], cursor: str | None) -> UUID | None:
    if cursor is None:
        return None
    try:
        return UUID(str(cursors.decode(narrowing, cursor)[0]))
    except (ValueError, IndexError):
        raise Problem(BAD_CURSOR) from None


def _address(chosen: dict[str, str], cursor: str | None = None) -> str:
    query = {name: value for name, value in {**chosen, "cursor": cursor}.items() if value}
    return f"/my-referrals?{urlencode(query)}" if query else "/my-referrals"
