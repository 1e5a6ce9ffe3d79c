"""`GET /v1/referrals/{id}/product`: everything that came back to a referral, as one document."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Response

from app.access.policy import Action
from app.access.routes import AccessRoute, CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.errors import DISPOSED, NOT_ACCEPTABLE, NOT_FOUND, Problem
from app.intake.product_views import ProductView
from app.referrals import queries
from app.reporting.product import product
from app.web.database import Transaction
from app.web.docs import refusals
from app.web.json import json_response
from app.web.negotiation import preferred

router = APIRouter(route_class=AccessRoute, prefix="/v1/referrals", tags=["originators"])

_FORMS = ("application/json",)


@router.get(
    "/{id}/product",
    response_model=ProductView,
    responses=refusals(NOT_FOUND, NOT_ACCEPTABLE, DISPOSED),
    summary="Read the consolidated product",
)
@permit(Action.READ_RESPONSES)
async def read_product(
    id: UUID,
    principal: CurrentPrincipal,
    connection: Transaction,
    accept: Annotated[str | None, Header(max_length=1_000)] = None,
) -> Response:
    """The subject, who was asked and why, what was found, who declined, and who is still to answer. JSON so far."""
    if preferred(accept, _FORMS) is None:
        raise Problem(NOT_ACCEPTABLE, "The product is given as application/json; HTML and PDF are not made yet.")
    found = await product(connection, queries.visible(principal, Action.READ_RESPONSES), id)
    if found is None:
        raise Problem(NOT_FOUND)
    told = [str(answer["response_id"]) for answer in (*found["answers"], *found["declined"])]
    operation = Operation.DISCLOSURE if told else Operation.CONSULTATION
    recipients = [principal.party] if told else []
    await record(
        connection,
        principal.actor,
        [Event(operation, "product.read", id, recipients=recipients, detail={"ids": told})],
    )
    return json_response(found, headers={"Vary": "Accept"})
