"""Acknowledging and answering: one item, or up to 500 answered per item."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal, permit
from app.crypto.keys import Keys
from app.crypto.sameness import sameness
from app.errors import (
    ALREADY_ANSWERED,
    CLAIM_STALE,
    DISPOSED,
    INVALID_BODY,
    NO_LONGER_OPEN,
    NOT_FOUND,
    TOO_MANY_QUESTIONS,
    Problem,
    ProblemType,
)
from app.inbox.own import OwnInbox
from app.inbox.route import InboxRoute
from app.inbox.views import (
    AcknowledgedView,
    AcknowledgementBody,
    AcknowledgementsBody,
    GivenItem,
    ReceiptView,
    ResponseItem,
    ResponsesBody,
    Results,
)
from app.referrals import lifecycle
from app.referrals.documents import SubmittedResponse
from app.referrals.lifecycle import Acknowledged, Acknowledgement, Answer, Recorded, Verdict
from app.web import faults
from app.web.docs import refusals
from app.web.json import json_response

router = APIRouter(route_class=InboxRoute, prefix="/v1/inbox", tags=["partner agencies"])

_REFUSED_ACKNOWLEDGEMENT: dict[Acknowledgement, ProblemType] = {
    Acknowledgement.NOT_FOUND: NOT_FOUND,
    Acknowledgement.NO_LONGER_OPEN: NO_LONGER_OPEN,
    Acknowledgement.HELD_BY_ANOTHER: CLAIM_STALE,
}

_REFUSED_ANSWER: dict[Verdict, ProblemType] = {
    Verdict.NOT_FOUND: NOT_FOUND,
    Verdict.NO_LONGER_OPEN: NO_LONGER_OPEN,
    Verdict.DISPOSED: DISPOSED,
    Verdict.CONFLICT: ALREADY_ANSWERED,
    Verdict.HELD_BY_ANOTHER: CLAIM_STALE,
    Verdict.SUPERSEDED: CLAIM_STALE,
    Verdict.TOO_MANY_QUESTIONS: TOO_MANY_QUESTIONS,
}

MOST_FAULTS = 10
"""Told of one of several responses: who mends it sees the others then."""


@router.post(
    "/{id}/acknowledgement",
    response_model=AcknowledgedView,
    responses=refusals(NOT_FOUND, CLAIM_STALE, NO_LONGER_OPEN),
    summary="Acknowledge an item, or its cancellation",
)
@permit(Action.ANSWER)
async def acknowledge_one(
    id: UUID, principal: CurrentPrincipal, inbox: OwnInbox, body: AcknowledgementBody | None = None
) -> Response:
    """200 with the item's state as it is now; a repetition too, though the item has ended since.

    One that expired or could not be delivered before it was acknowledged is 410.
    """
    results = await _acknowledge(inbox, principal, [id], body.claim_id if body else None)
    result, state = results[id]
    refusal = _REFUSED_ACKNOWLEDGEMENT.get(result)
    if refusal is not None:
        raise Problem(refusal)
    return json_response({"id": id, "state": state})


@router.post("/acknowledgements", response_model=Results, summary="Acknowledge several items")
@permit(Action.ANSWER)
async def acknowledge_several(body: AcknowledgementsBody, principal: CurrentPrincipal, inbox: OwnInbox) -> Response:
    """200; each id is answered for itself."""
    results = await _acknowledge(inbox, principal, body.ids, body.claim_id)
    return json_response({"items": [_acknowledgement(key, results[key]) for key in body.ids], "next": None})


@router.post(
    "/{id}/response",
    status_code=201,
    response_model=ReceiptView,
    responses=refusals(
        NOT_FOUND, INVALID_BODY, NO_LONGER_OPEN, DISPOSED, ALREADY_ANSWERED, CLAIM_STALE, TOO_MANY_QUESTIONS
    )
    | {200: {"model": ReceiptView, "description": "The same again: nothing changed."}},
    summary="Answer an item",
)
@permit(Action.ANSWER)
async def respond_one(
    id: UUID, body: SubmittedResponse, request: Request, principal: CurrentPrincipal, inbox: OwnInbox
) -> Response:
    """201 for the first answer or a question; 200 for the same again.

    Refused in this order: not yours 404, no longer open 410 (kept as late evidence), a different answer than the one
    recorded 409 (kept as evidence), one question too many 409 (not kept). Of a referral that was disposed of nothing is
    kept: 410.
    """
    answer = answer_of(id, body, principal, request.app.state.keys)
    async with inbox.transaction() as connection:
        [recorded] = await lifecycle.record_answers(connection, [answer])
    # Raised after the commit: what is refused is kept as evidence all the same.
    refusal = _REFUSED_ANSWER.get(recorded.verdict)
    if refusal is not None:
        raise Problem(refusal)
    receipt = {
        "id": recorded.response_id,
        "dispatch_id": id,
        "outcome": answer.outcome,
        "state": recorded.state,
    }
    return json_response(receipt, status=201 if recorded.verdict is Verdict.RECORDED else 200)


@router.post("/responses", response_model=Results, summary="Answer several items")
@permit(Action.ANSWER)
async def respond_several(
    body: ResponsesBody, request: Request, principal: CurrentPrincipal, inbox: OwnInbox
) -> Response:
    """200; each item is answered for itself, as a single call would be: a bad one is 422 in its place."""
    read = [_read(item, f"/items/{index}") for index, item in enumerate(body.items)]
    keys = request.app.state.keys
    answers = [answer_of(one.id, one, principal, keys) for one in read if isinstance(one, ResponseItem)]
    async with inbox.transaction() as connection:
        recorded = await lifecycle.record_answers(connection, answers)
    results = map(_result, answers, recorded)
    told = [next(results) if isinstance(one, ResponseItem) else one for one in read]
    return json_response({"items": told, "next": None})


async def _acknowledge(
    inbox: OwnInbox, principal: Principal, ids: Sequence[UUID], claim_id: UUID | None
) -> Mapping[UUID, Acknowledged]:
    async with inbox.transaction() as connection:
        return await lifecycle.acknowledge(connection, principal.actor, ids, claim_id)


def _acknowledgement(key: UUID, acknowledged: Acknowledged) -> dict[str, object]:
    refusal = _REFUSED_ACKNOWLEDGEMENT.get(acknowledged.result)
    if refusal is not None:
        return {"id": key, "status": refusal.status, "problem": refusal.slug}
    return {"id": key, "status": 200, "state": acknowledged.state}


def answer_of(dispatch_id: UUID, body: SubmittedResponse, principal: Principal, keys: Keys) -> Answer:
    """The answer that this body is, as the caller gives it to one item."""
    content = body.content()
    return Answer(
        dispatch_id=dispatch_id,
        actor=principal.actor,
        outcome=body.outcome,
        content=orjson.dumps(content),
        sameness=sameness(keys, content),
        claim_id=body.claim_id,
        decline_reason=body.decline_reason,
    )


def _read(item: GivenItem, place: str) -> ResponseItem | dict[str, object]:
    """The response that the item at this place (a pointer) of the body is, or what is told of one that is none."""
    sent = dict(item)
    try:
        return ResponseItem.model_validate(sent)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
    problem = faults.problem_of([{**one, "loc": ("body", *one["loc"])} for one in wrong], sent)
    errors = [{**fault, "pointer": place + fault["pointer"]} for fault in problem.errors[:MOST_FAULTS]]
    return {"id": item.id, "status": problem.kind.status, "problem": problem.kind.slug, "errors": errors}


def _result(answer: Answer, recorded: Recorded) -> dict[str, object]:
    refusal = _REFUSED_ANSWER.get(recorded.verdict)
    if refusal is not None:
        return {"id": answer.dispatch_id, "status": refusal.status, "problem": refusal.slug}
    return {
        "id": answer.dispatch_id,
        "status": 201 if recorded.verdict is Verdict.RECORDED else 200,
        "state": recorded.state,
        "response_id": recorded.response_id,
    }
