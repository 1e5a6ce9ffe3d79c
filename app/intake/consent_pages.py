"""A force's pages of consent: ask the body that answered before its answer goes further, and ask no longer."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.responses import RedirectResponse

from app.access.pages import PageRoute
from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal, permit
from app.audit.record import record
from app.db import Connection
from app.errors import NOT_FOUND, Problem
from app.intake.consents import take_back
from app.referrals import consents, queries
from app.referrals.consent_form import Filled, Referral, answered, filled
from app.referrals.consents import looked
from app.web import pages
from app.web.database import Transaction

router = APIRouter(route_class=PageRoute, prefix="/my-referrals", include_in_schema=False)

Sent = Annotated[Filled, Depends(filled)]


@router.get("/{id}/consent", response_class=Response)
@permit(Action.READ_OWN_REFERRALS)
async def ask_page(
    id: UUID,
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    agency: Annotated[str, Query(max_length=32)] = "",
) -> Response:
    """Whose answer, to whom, and why."""
    referral = await _referral(connection, principal, id, Action.READ_OWN_REFERRALS)
    return await _form(request, principal, connection, referral, Filled(agency=agency), {})


@router.post("/{id}/consent", response_class=Response)
@permit(Action.ASK_CONSENT)
async def ask(
    id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction, given: Sent
) -> Response:
    """Ask it."""
    referral = await _referral(connection, principal, id, Action.ASK_CONSENT)
    directory = await request.app.state.directory.get(connection)
    if errors := given.errors(referral, directory):
        return await _form(request, principal, connection, referral, given, errors)
    dispatch = answered(referral)[given.agency]
    await consents.ask(connection, principal.actor, dispatch, referral, given.body(), directory)
    return _back(id)


@router.get("/consents/{id}/withdraw", response_class=Response)
@permit(Action.READ_OWN_REFERRALS)
async def withdraw_page(id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """Whether to ask no longer."""
    found = await consents.find(connection, queries.visible(principal, Action.READ_OWN_REFERRALS), id)
    if found is None:
        raise Problem(NOT_FOUND)
    await record(connection, principal.actor, [looked(found["referral_id"], [found])])
    return pages.confirm(
        request,
        f"Ask {found['agency']} for its consent no longer?",
        "It need not decide any more. You can ask again.",
        button="Withdraw",
        back=f"/my-referrals/{found['referral_id']}",
        caption=found["reference"],
    )


@router.post("/consents/{id}/withdraw", response_class=Response)
@permit(Action.ASK_CONSENT)
async def withdraw(id: UUID, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """Ask no longer. Once more changes nothing."""
    return _back((await take_back(connection, principal, id))["referral_id"])


async def _referral(connection: Connection, principal: Principal, id: UUID, action: Action) -> Referral:
    found = await queries.whole(connection, queries.visible(principal, action), id)
    if found is None:
        raise Problem(NOT_FOUND)
    return found


async def _form(
    request: Request,
    principal: Principal,
    connection: Connection,
    referral: Referral,
    given: Filled,
    errors: dict[str, str],
) -> Response:
    await queries.shown(connection, principal, referral["id"])
    directory = await request.app.state.directory.get(connection)
    return pages.confirm(
        request,
        "Ask for consent to pass an answer on",
        "Who gave an answer decides whether it may go to anybody else. You see here what it decides; the broker "
        "itself passes nothing on.",
        button="Ask",
        back=f"/my-referrals/{referral['id']}",
        caption=referral["reference"],
        fields=pages.text("consent_fields.html", **given.context(referral, directory, errors)),
        errors=errors,
    )


def _back(id: UUID) -> Response:
    return RedirectResponse(f"/my-referrals/{id}#consents", 303)
