"""Consents asked of an agency: the list of them, and its decision."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response

from app.access.policy import Action
from app.access.routes import CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.errors import BAD_CURSOR, INVALID_BODY, NO_LONGER_OPEN, NOT_FOUND, STATE_CONFLICT, Problem
from app.inbox.own import OwnInbox
from app.inbox.route import InboxRoute
from app.inbox.versions import Versions
from app.referrals import consents
from app.referrals.consent_documents import ConsentPage, ConsentView, DecisionBody
from app.referrals.consents import Consent
from app.referrals.states import ConsentState
from app.web import cursor as cursors
from app.web.database import Transaction
from app.web.docs import refusals
from app.web.etag import none_match, weak_tag
from app.web.json import json_response

router = APIRouter(route_class=InboxRoute, prefix="/v1", tags=["partner agencies"])

_IF_NONE_MATCH = "The `ETag` of an answer: 304 while the same list would get the same."


@router.get(
    "/inbox/consents",
    response_model=ConsentPage,
    responses=refusals(BAD_CURSOR) | {304: {"description": "Nothing has changed."}},
    summary="Read the consents asked for",
)
@permit(Action.READ_INBOX)
async def read_page(
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    state: ConsentState = ConsentState.ASKED,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    if_none_match: Annotated[str | None, Header(description=_IF_NONE_MATCH)] = None,
) -> Response:
    """Who wants to pass an answer of yours on, whom to and why: what is to be decided, the longest wait first.

    `state` lists what is decided or withdrawn instead. A poll of `/v1/inbox` that waits hears of a new one too.
    """
    versions: Versions = request.app.state.versions
    filters = (principal.party, "consents", state)
    version = f"{versions.epoch}.{versions.of(principal.party)}"
    headers = {"ETag": weak_tag(version, *filters, request.scope["query_string"])}
    if none_match(request.headers.getlist("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    conditions = [Consent.agency == principal.party, Consent.state == state.value]
    if cursor is not None:
        conditions.append(Consent.id > _after(filters, cursor))
    items = await consents.listed(connection, *conditions, limit=limit + 1)
    following = cursors.encode(filters, [str(items[limit - 1]["id"])]) if len(items) > limit else None
    items = items[:limit]
    if items:
        await record(connection, principal.actor, [looked(principal.party, items)])
    return json_response({"items": items, "next": following}, headers=headers)


@router.post(
    "/consents/{id}/decision",
    response_model=ConsentView,
    responses=refusals(NOT_FOUND, STATE_CONFLICT, NO_LONGER_OPEN, INVALID_BODY),
    summary="Give or refuse consent",
)
@permit(Action.DECIDE_CONSENT)
async def decide(id: UUID, body: DecisionBody, principal: CurrentPrincipal, inbox: OwnInbox) -> Response:
    """The decision stands: the very same again gives the same answer, another 409. Withdrawn meanwhile: 410.

    Who asked and the co-ordinators of its region see it, with conditions or reason.
    """
    async with inbox.transaction() as connection:
        found = await consents.decide(connection, principal.actor, id, body)
        await record(connection, principal.actor, [looked(principal.party, [found])])
    return json_response(found)


def looked(party: str, items: list[dict[str, Any]]) -> Event:
    """What the log keeps of an agency's look at what is asked of it."""
    told = {"ids": [str(one["id"]) for one in items]}
    return Event(Operation.CONSULTATION, "consents.listed", recipients=[party], detail=told)


def _after(filters: tuple[str, ...], cursor: str) -> UUID:
    try:
        return UUID(str(cursors.decode(filters, cursor)[0]))
    except (ValueError, IndexError):
        raise Problem(BAD_CURSOR) from None
