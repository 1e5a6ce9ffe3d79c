"""`/duplicates/{id}`: two parties' referrals that may be about one subject, and what is decided of them."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import RedirectResponse

from app.access.pages import PageRoute
from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal, permit
from app.audit.record import record
from app.db import Connection
from app.errors import NOT_FOUND, STATE_CONFLICT, Problem
from app.referrals import duplicates
from app.referrals.duplicates import Decision, Ruling
from app.reporting.queues import region_of
from app.status.deed_forms import MOST_REASON
from app.status.duplicates import looked
from app.web import pages
from app.web.database import Transaction

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_DECISIONS = [(Decision.SAME.value, "They are about the same subject"), (Decision.DIFFERENT.value, "They are not")]
_BY = {"person": "a full name with its date of birth", "identifier": "an identifier"}

Pair = dict[str, Any]


@router.get("/duplicates/{id}", response_class=Response)
@permit(Action.SEE_STATUS_PAGE)
async def ask(id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """Both, as far as the caller may know them, and the question."""
    pair = await _pair(connection, principal, id)
    await _log(connection, principal, pair)
    return _page(request, pair, "", "", {})


@router.post("/duplicates/{id}", response_class=Response)
@permit(Action.COORDINATE)
async def settle(
    id: UUID,
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    decision: Annotated[str, Form(max_length=20)] = "",
    reason: Annotated[str, Form()] = "",
) -> Response:
    """The first decision counts for both regions."""
    pair, reason = await _pair(connection, principal, id), reason.strip()
    errors = {}
    if decision not in list(Decision):
        errors["decision"] = "Choose one."
    if not reason or len(reason) > MOST_REASON:
        errors["reason"] = f"Say why, in {MOST_REASON:,} characters or fewer."
    if errors:
        await _log(connection, principal, pair)
        return _page(request, pair, decision, reason, errors)
    if not await duplicates.settle(connection, principal.actor, pair, Ruling(Decision(decision), reason)):
        raise Problem(STATE_CONFLICT, "It is decided already: look at it again to see how.")
    return RedirectResponse("/?done=decided", 303)


async def _pair(connection: Connection, principal: Principal, id: UUID) -> Pair:
    """The pair as the caller's region may see it, or a region that it covers. Raises `Problem` (404)."""
    everything = region_of(principal, Action.COORDINATE) is None
    for region in [None] if everything else principal.parties:
        found = await duplicates.lock(connection, region, id)
        if found is not None:
            return found
    raise Problem(NOT_FOUND)


async def _log(connection: Connection, principal: Principal, pair: Pair) -> None:
    told = {"duplicate": str(pair["id"])}
    await record(connection, principal.actor, [looked(principal, "duplicate.read", [pair], told)])


def _page(request: Request, pair: Pair, decision: str, reason: str, errors: Mapping[str, str]) -> Response:
    shared = " and ".join(_BY[kind] for kind in pair["matched_on"])
    if pair["decision"] is not None:
        return pages.render("duplicate.html", request=request, pair=pair, shared=shared)
    return pages.confirm(
        request,
        "Are these two about the same subject?",
        f"They share {shared}. Nothing is merged by what you decide: speak to the other region first. Its "
        "co-ordinators see the decision, and not your reason.",
        button="Decide",
        back="/",
        fields=pages.text("duplicate_fields.html", pair=pair, decisions=_DECISIONS, decision=decision, errors=errors),
        reason=reason,
        errors=errors,
    )
