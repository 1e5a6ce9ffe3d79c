"""`POST /v1/referrals/{id}/messages`: the originator answers an agency's question."""

from uuid import UUID

from fastapi import APIRouter, Request, Response

from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import AccessRoute, CurrentPrincipal, permit
from app.db import Connection
from app.errors import DISPOSED, NOT_FOUND, STATE_CONFLICT, Problem
from app.referrals import lifecycle, queries
from app.referrals.documents import Document, Paragraph
from app.referrals.idempotency import Asked, first_time
from app.referrals.shown import ReferralView
from app.web.database import Transaction
from app.web.docs import refusals
from app.web.idempotency import REPLAYED, IdempotencyKey
from app.web.json import json_response

router = APIRouter(route_class=AccessRoute, tags=["originators"])


class MessageBody(Document):
    """The answer to the question that the agency of one dispatch has asked."""

    dispatch_id: UUID
    text: Paragraph


@router.post(
    "/v1/referrals/{id}/messages",
    response_model=ReferralView,
    responses=refusals(NOT_FOUND, STATE_CONFLICT, DISPOSED),
    summary="Answer an agency's question",
)
@permit(Action.SEND_MESSAGE)
async def send(
    id: UUID,
    body: MessageBody,
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """The item returns to the agency's inbox with the message, and its clock goes on; answers with the referral.

    Only where the agency has asked and waits (state `query`): else 409, for nobody would be told of the message.
    """
    seen = queries.visible(principal, Action.SEND_MESSAGE)
    referral = await queries.whole(connection, seen, id)
    if referral is None or body.dispatch_id not in {dispatch["id"] for dispatch in referral["dispatches"]}:
        raise Problem(NOT_FOUND)
    first = await say(connection, request, principal, id, body, idempotency_key)
    await queries.shown(connection, principal, id)
    if not first:
        return json_response(referral, headers=REPLAYED)
    return json_response(await queries.get(connection, seen, id))


async def say(
    connection: Connection, request: Request, principal: Principal, id: UUID, body: MessageBody, key: str | None
) -> bool:
    """Answer the question about a dispatch of a referral of the caller's; False where `key` stands for it already.

    Raises `Problem` (409) where no question waits.
    """
    state = request.app.state
    asked = Asked(principal.party, id, "messages", body.model_dump(mode="json"))
    if not await first_time(connection, state.keys, key, asked):
        return False
    content = body.model_dump_json(include={"text"}).encode()
    directory = await state.directory.get(connection)
    if not await lifecycle.reply(connection, principal.actor, id, body.dispatch_id, content, directory):
        raise Problem(STATE_CONFLICT, "No question is open here: a message answers one that the agency has asked.")
    return True
