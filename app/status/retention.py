"""Retention, as a co-ordinator sees it: when a referral is reviewed, and the legal hold that keeps it from its end."""

from datetime import date, datetime
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from app.access.policy import Action
from app.access.routes import AccessRoute, CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.errors import DISPOSED, NOT_FOUND, STATE_CONFLICT, Problem
from app.referrals import queries
from app.referrals.states import ReferralState
from app.retention import hold, review
from app.status.act import Acting, Referral
from app.status.actions import Reason, answered
from app.web.database import Transaction
from app.web.docs import refusals
from app.web.json import json_response

router = APIRouter(route_class=AccessRoute, prefix="/v1/referrals", tags=["co-ordinators"])


class LegalHoldView(BaseModel):
    """A legal hold that stands."""

    since: datetime
    party: str
    set_by: str = Field(description="The credential that set it.")
    reason: str


class RetentionView(BaseModel):
    """How long a referral is kept. It has a group and a review date from soon after its end."""

    id: UUID
    state: ReferralState
    group: int | None = Field(description="The MoPI group, 1 to 4.")
    closed_at: datetime | None
    review_on: date | None
    reviewed_at: datetime | None
    dispose: bool = Field(description="A review has decided that it goes.")
    legal_hold: LegalHoldView | None
    disposed_at: datetime | None


@router.get(
    "/{id}/retention", response_model=RetentionView, responses=refusals(NOT_FOUND), summary="Read how long it is kept"
)
@permit(Action.READ_RETENTION)
async def read(id: UUID, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """Its group, its review date, what a review decided, and its legal hold."""
    if not await queries.is_there(connection, queries.visible(principal, Action.READ_RETENTION), id):
        raise Problem(NOT_FOUND)
    kept = await review.standing(connection, id)
    held = await hold.held(connection, id)
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "retention.read", id)])
    return json_response(
        {
            "id": id,
            "state": kept.standing.state,
            "group": kept.group,
            "closed_at": kept.closed_at,
            "review_on": kept.standing.review_on,
            "reviewed_at": kept.reviewed_at,
            "dispose": kept.standing.decided,
            "legal_hold": held
            and {"since": held.since, "party": held.party, "set_by": held.set_by, "reason": held.reason},
            "disposed_at": kept.disposed_at,
        }
    )


@router.post(
    "/{id}/legal-hold",
    responses=refusals(NOT_FOUND, STATE_CONFLICT, DISPOSED),
    summary="Put a referral on legal hold",
)
@permit(Action.COORDINATE)
async def set_hold(id: UUID, body: Reason, act: Acting) -> Response:
    """It is not disposed of, whatever its date and a review say, until the hold is lifted. Open or closed."""

    async def deed(_: Referral) -> bool:
        await hold.hold(act.connection, act.principal.actor, id, body.reason)
        return True

    return await answered(act, id, "legal-hold", body, deed)


@router.post(
    "/{id}/legal-hold/lift",
    responses=refusals(NOT_FOUND, STATE_CONFLICT, DISPOSED),
    summary="Lift a referral's legal hold",
)
@permit(Action.COORDINATE)
async def lift_hold(id: UUID, body: Reason, act: Acting) -> Response:
    """From then on its review date and its review count again."""

    async def deed(_: Referral) -> bool:
        await hold.lift(act.connection, act.principal.actor, id, body.reason)
        return True

    return await answered(act, id, "legal-hold/lift", body, deed)
