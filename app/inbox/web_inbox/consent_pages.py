"""A consent asked of the agency, as a page: who wants to pass its answer on, to whom and why; and its decision."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from starlette.datastructures import FormData

from app.access.policy import Action
from app.access.routes import CurrentPrincipal, permit
from app.audit.record import record
from app.errors import NOT_FOUND, Problem
from app.inbox.consents import looked
from app.inbox.own import OwnInbox
from app.inbox.web_inbox.route import HOME, InboxPage, Sent, go
from app.referrals import consents
from app.referrals.consent_documents import DecisionBody
from app.referrals.consents import Consent
from app.referrals.states import ConsentState
from app.web import pages
from app.web.database import Transaction

router = APIRouter(route_class=InboxPage, include_in_schema=False)

_CHOICES = [(ConsentState.GIVEN.value, "Yes, we consent"), (ConsentState.REFUSED.value, "No, we refuse")]
_MOST = 2_000


@router.get(f"{HOME}/consents/{{id}}", response_class=Response)
@permit(Action.READ_INBOX)
async def consent_page(id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """What is asked; the form, while it is to be decided, or what came of it."""
    found = await consents.find(connection, Consent.agency == principal.party, id)
    if found is None:
        raise Problem(NOT_FOUND)
    await record(connection, principal.actor, [looked(principal.party, [found])])
    return _page(request, found, {"decision": "", "words": ""}, {})


@router.post(f"{HOME}/consents/{{id}}", response_class=Response)
@permit(Action.DECIDE_CONSENT)
async def decide(id: UUID, request: Request, principal: CurrentPrincipal, inbox: OwnInbox, fields: Sent) -> Response:
    """Give or refuse it: the same verb as the API's."""
    given = {name: _said(fields, name) for name in ("decision", "words")}
    async with inbox.transaction() as connection:
        found = await consents.find(connection, Consent.agency == principal.party, id)
        if found is None:
            raise Problem(NOT_FOUND)
        if errors := _errors(given):
            await record(connection, principal.actor, [looked(principal.party, [found])])
            return _page(request, found, given, errors)
        said = {"reason" if given["decision"] == ConsentState.REFUSED else "conditions": given["words"] or None}
        body = DecisionBody.model_validate({"decision": given["decision"], **said})
        await consents.decide(connection, principal.actor, id, body)
    return go(f"{HOME}/consents/{id}")


def _errors(given: dict[str, str]) -> dict[str, str]:
    errors = {}
    if given["decision"] not in dict(_CHOICES):
        errors["decision"] = "Choose whether you consent."
    if given["decision"] == ConsentState.REFUSED and not given["words"]:
        errors["words"] = "Say why you refuse."
    if len(given["words"]) > _MOST:
        errors["words"] = f"Say it in {_MOST:,} characters or fewer."
    return errors


def _said(fields: FormData, name: str) -> str:
    value = fields.get(name, "")
    return value.replace("\r\n", "\n").replace("\0", "").strip() if isinstance(value, str) else ""


def _page(request: Request, found: dict[str, Any], given: dict[str, str], errors: dict[str, str]) -> Response:
    return pages.render(
        "inbox_consent.html",
        request=request,
        status=422 if errors else 200,
        one=found,
        choices=_CHOICES,
        given=given,
        errors=errors,
    )
