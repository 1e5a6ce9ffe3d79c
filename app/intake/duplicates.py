"""`GET /v1/referrals/{id}/duplicates`: a party's own other referrals about the same subject."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from app.access.policy import Action
from app.access.routes import AccessRoute, CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.crypto.blind_index import Kind
from app.errors import DISPOSED, NOT_FOUND, Problem
from app.referrals import duplicates, queries
from app.referrals.states import ReferralState
from app.web.database import Transaction
from app.web.docs import refusals
from app.web.json import json_response

router = APIRouter(route_class=AccessRoute, prefix="/v1/referrals", tags=["originators"])


class OwnDuplicateView(BaseModel):
    """Another referral of the party's own about the same subject."""

    id: UUID
    reference: str
    state: ReferralState
    created_at: datetime
    matched_on: list[Kind] = Field(description="`person`: a full name and birth date; `identifier`: type and value.")


class OwnDuplicates(BaseModel):
    """They, newest first, at most 100."""

    items: list[OwnDuplicateView]
    next: str | None


@router.get(
    "/{id}/duplicates",
    response_model=OwnDuplicates,
    responses=refusals(NOT_FOUND, DISPOSED),
    summary="See your own referrals about the same subject",
)
@permit(Action.READ_OWN_DUPLICATES)
async def read_own(id: UUID, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """The party's other referrals that share a full name with birth date, or an identifier. Nobody else's, ever."""
    if await queries.whole(connection, queries.visible(principal, Action.READ_OWN_DUPLICATES), id) is None:
        raise Problem(NOT_FOUND)
    items = await duplicates.of_own(connection, principal.party, id)
    told = {"ids": [str(item["id"]) for item in items]}
    operation = Operation.COMBINATION if items else Operation.CONSULTATION
    await record(connection, principal.actor, [Event(operation, "duplicates.own_read", detail={"of": str(id), **told})])
    return json_response({"items": items, "next": None})
