"""`/cover`: who stands in for a co-ordinator who is away, and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Request, Response
from sqlalchemy import func
from starlette.responses import RedirectResponse

from app.access.covers import MOST_DAYS, Covers, Grant, end_cover, grant_cover, listed, standing
from app.access.pages import PageRoute
from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.db import AS_GATEWAY, Connection, act
from app.errors import NOT_FOUND, Problem
from app.parties.directory import Directory
from app.reporting.queues import region_of
from app.web import pages
from app.web.database import Transaction
from app.web.days import GivenDay
from app.web.words import LONDON

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Choices = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A cover as the form gives it."""

    region: str
    by_region: str
    starts: GivenDay
    ends: GivenDay


def in_words(cover: Mapping[str, Any]) -> str:
    """Who covers whom: `TITAN covers TARIAN until 3 December 2026.`."""
    until = f"{cover['ends_on']:%-d %B %Y}"
    begins = f"from {cover['starts_on']:%-d %B %Y} " if cover["is_to_come"] else ""
    return f"{cover['by_region']} covers {cover['region']} {begins}until {until}."


@router.get("/cover", response_class=Response)
@permit(Action.SEE_STATUS_PAGE)
async def cover_page(request: Request, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """What stands, and the form for another."""
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "covers.read")])
    today = await _today(connection)
    asked = Asked("", "", GivenDay.of(today), GivenDay.of(today + timedelta(days=6)))
    return await _page(request, principal, connection, asked, {})


@router.post("/cover", response_class=Response)
@permit(Action.COORDINATE)
async def grant(
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    by_region: Annotated[str, Form(max_length=32)] = "",
    region: Annotated[str, Form(max_length=32)] = "",
) -> Response:
    """Have a region covered: one's own, or (national) any."""
    own, today = region_of(principal, Action.COORDINATE), await _today(connection)
    fields = await request.form()
    asked = Asked(own or region, by_region, GivenDay.read(fields, "from"), GivenDay.read(fields, "to"))
    errors = _errors(asked, await _regions(request, connection), today)
    if errors or asked.starts.date is None or asked.ends.date is None:
        return await _page(request, principal, connection, asked, errors)
    granted = Grant(asked.region, asked.by_region, asked.starts.date, asked.ends.date)
    await grant_cover(connection, principal.actor, granted)
    await _look(request, connection, principal)
    return RedirectResponse("/?done=cover", 303)


@router.get("/cover/{id}/end", response_class=Response)
@permit(Action.SEE_STATUS_PAGE)
async def ask(id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """Ask before it ends."""
    cover = await standing(connection, id)
    if cover is None or not _is_own(principal, cover):
        raise Problem(NOT_FOUND)
    says = f"{in_words(cover)} From now on its co-ordinators see nothing of {cover['region']} any more."
    return pages.confirm(request, "End this cover?", says, button="End cover", back="/cover", warning=True)


@router.post("/cover/{id}/end", response_class=Response)
@permit(Action.COORDINATE)
async def end(id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """End it at once."""
    if not await end_cover(connection, principal.actor, id, region_of(principal, Action.COORDINATE)):
        raise Problem(NOT_FOUND)
    await _look(request, connection, principal)
    return RedirectResponse("/?done=cover", 303)


async def _page(
    request: Request, principal: Principal, connection: Connection, asked: Asked, errors: Mapping[str, str]
) -> Response:
    names = await _regions(request, connection)
    own = region_of(principal, Action.COORDINATE)
    others = [("", "Choose a region"), *((code, name) for code, name in names.items() if code != own)]
    covers = [{**one, "words": in_words(one), "may_end": _is_own(principal, one)} for one in await listed(connection)]
    return pages.render(
        "cover.html",
        request=request,
        status=422 if errors else 200,
        own=own,
        others=others,
        covers=covers,
        given={"region": asked.region, "by_region": asked.by_region},
        starts=asked.starts,
        ends=asked.ends,
        errors=errors,
    )


def _errors(asked: Asked, regions: Mapping[str, str], today: date) -> dict[str, str]:
    """What is wrong with a cover asked for, by the id of the field."""
    found = {}
    if asked.region not in regions:
        found["region"] = "Choose the region that is covered."
    if asked.by_region not in regions or asked.by_region == asked.region:
        found["by_region"] = "Choose the region whose co-ordinators stand in."
    starts, ends = asked.starts.date, asked.ends.date
    if starts is None or starts < today:
        found["from-day"] = "Give a first day that is not past."
    if ends is None or (starts and not starts <= ends < starts + timedelta(days=MOST_DAYS)):
        found["to-day"] = f"Give a last day, at most {MOST_DAYS} days in all."
    return found


def _is_own(principal: Principal, cover: Mapping[str, Any]) -> bool:
    """Whether the caller may end it: the region covered is its own, or it is a national co-ordinator."""
    return region_of(principal, Action.COORDINATE) in (None, cover["region"])


async def _regions(request: Request, connection: Connection) -> dict[str, str]:
    directory: Directory = await request.app.state.directory.get(connection)
    return {party.code: party.name for party in directory.regions()}


async def _today(connection: Connection) -> date:
    now: datetime = await connection.scalar(func.now())
    return now.astimezone(LONDON).date()


async def _look(request: Request, connection: Connection, principal: Principal) -> None:
    """Have it hold in this process at once; others look within a second."""
    covers: Covers = request.app.state.gate.covers
    await act(connection, AS_GATEWAY)
    await covers.look(connection)
    await act(connection, principal.behalf)
