"""`GET /v1/referrals/{id}/product`: everything that came back to a referral, as one document."""

import contextlib
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Request, Response

from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import AccessRoute, CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.db import Connection
from app.errors import DISPOSED, NOT_ACCEPTABLE, NOT_FOUND, UNAVAILABLE, Problem
from app.intake.product_views import ProductView
from app.referrals import queries
from app.reporting.product import product
from app.reporting.sheet import sheet
from app.reporting.sheets import Press, as_html, for_press
from app.web.database import transaction
from app.web.docs import refusals
from app.web.json import json_response
from app.web.negotiation import preferred

router = APIRouter(route_class=AccessRoute, prefix="/v1/referrals", tags=["originators"])

JSON, HTML, PDF = "application/json", "text/html", "application/pdf"

_Product = dict[str, Any]

_transaction = contextlib.asynccontextmanager(transaction)


@router.get(
    "/{id}/product",
    response_model=ProductView,
    responses={
        200: {
            "description": "The product, in the form that `Accept` prefers; JSON where it takes any.",
            "content": {
                HTML: {"schema": {"type": "string"}},
                PDF: {"schema": {"type": "string", "format": "binary"}},
            },
        },
        **refusals(NOT_FOUND, NOT_ACCEPTABLE, DISPOSED, UNAVAILABLE),
    },
    summary="Read the consolidated product",
)
@permit(Action.READ_RESPONSES)
async def read_product(
    id: UUID,
    request: Request,
    principal: CurrentPrincipal,
    accept: Annotated[str | None, Header(max_length=1_000)] = None,
) -> Response:
    """The subject, who was asked and why, what was found, who declined, and who is still to answer.

    JSON for programs; HTML to read and print; PDF (tagged, PDF/UA-1) to file. All say the same.
    """
    form = preferred(accept, (JSON, HTML, PDF))
    if form is None:
        raise Problem(NOT_ACCEPTABLE, f"The product is given as {JSON}, {HTML} or {PDF}.")
    return await give(request, principal, id, form)


async def give(request: Request, principal: Principal, id: UUID, form: str) -> Response:
    """The product in this form. Raises `Problem`: 404, 410, 503; 406 where it is too large for a PDF."""
    # A transaction of its own: what is being drawn holds no connection, and is logged before it leaves.
    async with _transaction(request) as connection:
        found = await product(connection, queries.visible(principal, Action.READ_RESPONSES), id)
        if found is None:
            raise Problem(NOT_FOUND)
        names = {party.code: party.name for party in await request.app.state.directory.get(connection)}
        drawn = sheet(found, names, principal.party)
        written = for_press(drawn) if form == PDF else b""
        await _log(connection, principal, found, form)
    headers = {"Vary": "Accept"}
    if form == JSON:
        return json_response(found, headers=headers)
    if form == HTML:
        answer = await as_html(drawn)
        answer.headers.update({**headers, "Content-Disposition": f'inline; filename="{found["reference"]}.html"'})
        return answer
    press: Press = request.app.state.press
    headers["Content-Disposition"] = f'attachment; filename="{found["reference"]}.pdf"'
    return Response(await press.pdf(written), media_type=PDF, headers=headers)


async def _log(connection: Connection, principal: Principal, found: _Product, form: str) -> None:
    """A disclosure of the answers in it, a consultation without any; of several bodies' a combination too."""
    answers = (*found["answers"], *found["declined"])
    told = [str(answer["response_id"]) for answer in answers]
    operation = Operation.DISCLOSURE if told else Operation.CONSULTATION
    recipients = [principal.party] if told else []
    detail = {"ids": told, "form": form}
    events = [Event(operation, "product.read", found["id"], recipients=recipients, detail=detail)]
    if len(bodies := sorted({answer["agency"] for answer in answers})) > 1:
        detail = {"ids": told, "of": bodies}
        events.append(Event(Operation.COMBINATION, "product.combined", found["id"], detail=detail))
    await record(connection, principal.actor, events)
