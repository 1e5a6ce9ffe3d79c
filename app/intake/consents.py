"""Asking a body for its consent before its answer goes further, by the force or a co-ordinator; and what came of it.

The broker records who may have what, and on what conditions. It sends nobody a copy.
"""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from app.access.policy import Action, Role
from app.access.principal import Principal
from app.access.routes import AccessRoute, CurrentPrincipal, permit
from app.audit.record import record
from app.db import Connection
from app.errors import DISPOSED, INVALID_BODY, NOT_FOUND, STATE_CONFLICT, Problem
from app.referrals import consents, queries
from app.referrals.consent_documents import ConsentBody, ConsentPage, ConsentView
from app.referrals.consents import Consent, looked
from app.referrals.documents import Document
from app.referrals.idempotency import Asked, first_time
from app.web.database import Transaction
from app.web.docs import refusals
from app.web.idempotency import REPLAYED, IdempotencyKey
from app.web.json import json_response

router = APIRouter(route_class=AccessRoute, prefix="/v1", tags=["originators"])


class Nothing(Document):
    """An empty object, or no body at all."""


@router.post(
    "/referrals/{id}/dispatches/{dispatch_id}/consents",
    status_code=201,
    response_model=ConsentView,
    responses=refusals(NOT_FOUND, STATE_CONFLICT, DISPOSED, INVALID_BODY),
    summary="Ask a body for its consent",
)
@permit(Action.ASK_CONSENT)
async def ask(
    id: UUID,
    dispatch_id: UUID,
    body: ConsentBody,
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Who gave an answer is asked before it goes to another: whom to, and why. It finds this in its inbox, and decides.

    Of any dispatch that was answered. The broker records the decision and passes nothing on by itself.
    """
    referral = await queries.whole(connection, queries.visible(principal, Action.ASK_CONSENT), id)
    dispatch = next((one for one in (referral or {}).get("dispatches", ()) if one["id"] == dispatch_id), None)
    if referral is None or dispatch is None:
        raise Problem(NOT_FOUND)
    asked = Asked(principal.party, id, f"consent {dispatch_id}", body.model_dump(mode="json"))
    if not await first_time(connection, request.app.state.keys, idempotency_key, asked):
        found = await consents.asked_before(connection, principal.party, id, dispatch_id, body)
        await record(connection, principal.actor, [looked(id, [found])])
        return json_response(found, status=201, headers=REPLAYED)
    directory = await request.app.state.directory.get(connection)
    found = await consents.ask(connection, principal.actor, dispatch, referral, body, directory)
    await record(connection, principal.actor, [looked(id, [found])])
    return json_response(found, status=201)


@router.get(
    "/referrals/{id}/consents",
    response_model=ConsentPage,
    responses=refusals(NOT_FOUND, DISPOSED),
    summary="Read the consents asked for",
)
@permit(Action.READ_REFERRAL)
async def read(id: UUID, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """Every consent asked for about answers to the referral, whoever asked, oldest first."""
    if await queries.whole(connection, queries.visible(principal, Action.READ_REFERRAL), id) is None:
        raise Problem(NOT_FOUND)
    items = await consents.listed(connection, Consent.referral_id == id)
    await record(connection, principal.actor, [looked(id, items)])
    return json_response({"items": items, "next": None})


@router.post(
    "/consents/{id}/withdrawal",
    response_model=ConsentView,
    responses=refusals(NOT_FOUND, STATE_CONFLICT, DISPOSED),
    summary="Ask for a consent no longer",
)
@permit(Action.ASK_CONSENT)
async def withdraw(
    id: UUID,
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    body: Nothing | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Before it is decided: by the party that asked, or by a co-ordinator. Repeating it gives the same answer."""
    seen = queries.visible(principal, Action.ASK_CONSENT)
    found = await consents.find(connection, seen, id)
    if found is None:
        raise Problem(NOT_FOUND)
    await record(connection, principal.actor, [looked(found["referral_id"], [found])])
    asked = Asked(principal.party, found["referral_id"], f"withdrawal {id}", {})
    if not await first_time(connection, request.app.state.keys, idempotency_key, asked):
        return json_response(found, headers=REPLAYED)
    return json_response(await take_back(connection, principal, id))


async def take_back(connection: Connection, principal: Principal, id: UUID) -> dict[str, Any]:
    """Withdraw what the caller may withdraw. Raises `Problem` as `consents.withdraw`."""
    seen = queries.visible(principal, Action.ASK_CONSENT)
    oversees = principal.role is not Role.ORIGINATOR
    return await consents.withdraw(connection, principal.actor, seen, id, oversees=oversees)
