"""A co-ordinator's pages of consent: ask for it, chase the body that has not decided, ask no longer."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.responses import RedirectResponse

from app.access.pages import PageRoute
from app.access.policy import Action
from app.access.routes import permit
from app.audit.record import record
from app.errors import STATE_CONFLICT, Problem
from app.referrals import consents, queries
from app.referrals.consent_form import Filled, answered, filled
from app.referrals.consents import looked
from app.referrals.states import ConsentState
from app.status import deeds
from app.status.act import Act, Acting, Referral
from app.web import pages

router = APIRouter(route_class=PageRoute, include_in_schema=False)

DONE = {
    "consent-asked": "The body is asked for its consent.",
    "consent-chased": "The body is reminded of the consent asked for.",
    "consent-withdrawn": "The consent is asked for no longer.",
}
"""What has been done, in words, by the code in the address that a form leads to."""

Sent = Annotated[Filled, Depends(filled)]


@router.get("/referrals/{id}/consent", response_class=Response)
@permit(Action.SEE_STATUS_PAGE)
async def ask_page(
    id: UUID, request: Request, act: Acting, agency: Annotated[str, Query(max_length=32)] = ""
) -> Response:
    """Whose answer, to whom, and why."""
    return await _form(request, act, await act.referral(id), Filled(agency=agency), {})


@router.post("/referrals/{id}/consent", response_class=Response)
@permit(Action.COORDINATE)
async def ask(id: UUID, request: Request, act: Acting, given: Sent) -> Response:
    """Ask it."""
    referral, directory = await act.referral(id), (await act.reference()).directory
    if errors := given.errors(referral, directory):
        return await _form(request, act, referral, given, errors)
    dispatch = answered(referral)[given.agency]
    await consents.ask(act.connection, act.principal.actor, dispatch, referral, given.body(), directory)
    return _done(id, "consent-asked")


@router.get("/consents/{id}/chase", response_class=Response)
@permit(Action.SEE_STATUS_PAGE)
async def chase_page(id: UUID, request: Request, act: Acting) -> Response:
    """Whether to remind it."""
    found = await _asked(act, id)
    words = "It sees the reminder in its list, and the timeline keeps it. Telephone if it presses."
    return _confirm(request, found, f"Chase {found['agency']} for its consent?", words, "Chase")


@router.post("/consents/{id}/chase", response_class=Response)
@permit(Action.COORDINATE)
async def chase(id: UUID, act: Acting) -> Response:
    """Remind it."""
    found = await act.consent(id)
    await deeds.chase_consent(act, id)
    return _done(found["referral_id"], "consent-chased")


@router.get("/consents/{id}/withdraw", response_class=Response)
@permit(Action.SEE_STATUS_PAGE)
async def withdraw_page(id: UUID, request: Request, act: Acting) -> Response:
    """Whether to ask no longer."""
    found = await _asked(act, id)
    words = "It need not decide any more. Whoever asked sees that it was withdrawn, and can ask again."
    return _confirm(request, found, f"Ask {found['agency']} for its consent no longer?", words, "Withdraw")


@router.post("/consents/{id}/withdraw", response_class=Response)
@permit(Action.COORDINATE)
async def withdraw(id: UUID, act: Acting) -> Response:
    """Ask no longer. Once more changes nothing."""
    found = await act.consent(id)
    await deeds.withdraw_consent(act, id)
    return _done(found["referral_id"], "consent-withdrawn")


async def _asked(act: Act, id: UUID) -> dict[str, Any]:
    found = await act.consent(id)
    await record(act.connection, act.principal.actor, [looked(found["referral_id"], [found])])
    if found["state"] != ConsentState.ASKED:
        raise Problem(STATE_CONFLICT, "It is settled already.")
    return found


async def _form(request: Request, act: Act, referral: Referral, given: Filled, errors: dict[str, str]) -> Response:
    directory = (await act.reference()).directory
    await queries.shown(act.connection, act.principal, referral["id"])
    return pages.confirm(
        request,
        "Ask for consent to pass an answer on",
        "Who gave an answer decides whether it may go to anybody else. The broker records what it decides, and "
        "itself passes nothing on.",
        button="Ask",
        back=f"/referrals/{referral['id']}",
        caption=referral["reference"],
        fields=pages.text("consent_fields.html", **given.context(referral, directory, errors)),
        errors=errors,
    )


def _confirm(request: Request, found: dict[str, Any], heading: str, words: str, button: str) -> Response:
    back = f"/referrals/{found['referral_id']}"
    return pages.confirm(request, heading, words, button=button, back=back, caption=found["reference"])


def _done(referral_id: UUID, code: str) -> Response:
    return RedirectResponse(f"/referrals/{referral_id}?done={code}#consents", 303)
