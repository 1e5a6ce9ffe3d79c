"""`/account/purpose`: why somebody reads, as the log will say of whatever they read in this session.

Whose role must say so (`GAIN_PURPOSE_ROLES`) is led here before their first page; anybody else may come.
"""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request, Response
from starlette.responses import RedirectResponse

from app.access.pages import HOME, PURPOSE, PageRoute, local
from app.access.policy import Action
from app.access.principal import Principal
from app.access.purposes import CHOICES, coded
from app.access.routes import CurrentPrincipal, permit
from app.access.sessions import state_purpose
from app.audit.record import Event, Operation, record
from app.db import AS_GATEWAY
from app.errors import INVALID_BODY
from app.web import pages
from app.web.database import DatabaseOf

router = APIRouter(route_class=PageRoute, prefix=PURPOSE, include_in_schema=False)

Then = Annotated[str, Query(max_length=500)]


@router.get("", response_class=Response)
@permit(Action.SEE_ACCOUNT)
async def purpose_page(request: Request, principal: CurrentPrincipal, then: Then = "") -> Response:
    """The form to say why one reads, with what was said last."""
    return _form(request, principal, then, {})


@router.post("", response_class=Response)
@permit(Action.CHANGE_ACCOUNT)
async def say_why(
    request: Request,
    principal: CurrentPrincipal,
    database: DatabaseOf,
    purpose: Annotated[str, Form(max_length=50)] = "",
    then: Then = "",
) -> Response:
    """What is read from now on is logged with this purpose; back to where it was asked."""
    found = coded(purpose)
    if found is None:
        return _form(request, principal, then, {"purpose": "Say why you read."})
    detail = {"purpose": found.value, "before": principal.purpose}
    async with database.transaction(AS_GATEWAY) as connection:
        await state_purpose(connection, request.state.session, found)
        event = Event(Operation.ALTERATION, "session.purpose", detail=detail)
        await record(connection, principal.actor, [event])
    return RedirectResponse(_back(principal, then), 303)


def _form(request: Request, principal: Principal, then: str, errors: dict[str, str]) -> Response:
    return pages.render(
        "purpose.html",
        request=request,
        status=INVALID_BODY.status if errors else 200,
        address=PURPOSE,
        then=_back(principal, then),
        choices=CHOICES,
        purpose=principal.purpose or "",
        errors=errors,
    )


def _back(principal: Principal, then: str) -> str:
    return local(then) if then else HOME[principal.role]
