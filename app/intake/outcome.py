"""`POST /v1/referrals/{id}/outcome`: the force records what an action brought; and what was recorded so far."""

from uuid import UUID

from fastapi import APIRouter, Request, Response

from app.access.policy import Action
from app.access.routes import AccessRoute, CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.errors import DISPOSED, NOT_FOUND, STATE_CONFLICT, Problem
from app.intake.outcome_views import OutcomePage
from app.referrals import queries
from app.referrals.idempotency import Asked, first_time
from app.referrals.outcome_documents import SubmittedOutcome
from app.referrals.outcomes import outcomes, record_outcome
from app.referrals.shown import ReferralView
from app.web.database import Transaction
from app.web.docs import refusals
from app.web.idempotency import REPLAYED, IdempotencyKey
from app.web.json import json_response

router = APIRouter(route_class=AccessRoute, prefix="/v1/referrals", tags=["originators"])


@router.post(
    "/{id}/outcome",
    response_model=ReferralView,
    responses=refusals(NOT_FOUND, STATE_CONFLICT, DISPOSED),
    summary="Record what an action brought",
)
@permit(Action.RECORD_OUTCOME)
async def record_one(
    id: UUID,
    body: SubmittedOutcome,
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Arrests, seizures, safeguarding, disruption, and whose answers contributed; answers with the referral.

    Every outcome is kept and they add up: record one for each action, or for what has come since the one before. To
    correct one, send it again as it should be, with `replaces`. Taken while the referral is in progress or completed.
    """
    seen = queries.visible(principal, Action.RECORD_OUTCOME)
    referral = await queries.whole(connection, seen, id)
    if referral is None:
        raise Problem(NOT_FOUND)
    asked = Asked(principal.party, id, "outcome", body.model_dump(mode="json"))
    first = await first_time(connection, request.app.state.keys, idempotency_key, asked)
    if first:
        await record_outcome(connection, principal.actor, id, body)
    await queries.shown(connection, principal, id)
    return json_response(referral, headers={} if first else REPLAYED)


@router.get(
    "/{id}/outcomes",
    response_model=OutcomePage,
    responses=refusals(NOT_FOUND, DISPOSED),
    summary="Read the outcomes",
)
@permit(Action.READ_REFERRAL)
async def read_outcomes(id: UUID, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """Every outcome recorded for the referral, oldest first; one that was corrected has `replaced_by`."""
    if await queries.whole(connection, queries.visible(principal, Action.READ_REFERRAL), id) is None:
        raise Problem(NOT_FOUND)
    items = await outcomes(connection, id)
    told = {"ids": [str(item["id"]) for item in items]}
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "outcomes.read", id, detail=told)])
    return json_response({"items": items, "next": None})
