"""What a force does on its referral's page: reply to a body, take the referral back, record what came of it.

Each form carries a key of its own (`once`): sent twice, it is done once.
"""

from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Form, Query, Request, Response
from pydantic import ValidationError
from starlette.responses import RedirectResponse

from app.access.pages import PageRoute
from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.db import Connection
from app.errors import INVALID_BODY, NOT_FOUND, STATE_CONFLICT, Problem
from app.intake import outcome_form, shown
from app.intake.form import clean
from app.intake.messages import MessageBody, say
from app.intake.track import Cancellation
from app.parties.directory import Directory
from app.referrals import lifecycle, queries
from app.referrals.exchange import messages
from app.referrals.idempotency import Asked, first_time
from app.referrals.outcome_documents import SubmittedOutcome
from app.referrals.outcomes import outcomes, record_outcome
from app.referrals.states import ReferralState
from app.web import pages
from app.web.database import Transaction
from app.web.idempotency import PLAUSIBLE_KEY

router = APIRouter(route_class=PageRoute, prefix="/my-referrals", include_in_schema=False)

Typed = Annotated[str, Form(max_length=20_000)]
Named = Annotated[str, Query(max_length=32)]

_CANCELLABLE = (ReferralState.HELD, ReferralState.ACCEPTED, ReferralState.IN_PROGRESS)


@router.get("/{id}/reply", response_class=Response)
@permit(Action.READ_OWN_REFERRALS)
async def reply_page(
    id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction, agency: Named = ""
) -> Response:
    """The form of a reply to a body that asks."""
    referral = await _referral(connection, principal, id, Action.READ_OWN_REFERRALS)
    await queries.shown(connection, principal, id)
    return await _reply_form(request, principal, connection, referral, {"agency": agency, "text": ""}, {})


@router.post("/{id}/reply", response_class=Response)
@permit(Action.SEND_MESSAGE)
async def reply(
    id: UUID,
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    agency: Typed = "",
    text: Typed = "",
    once: Typed = "",
) -> Response:
    """Send it; the item is back in the body's inbox and its clock goes on."""
    referral = await _referral(connection, principal, id, Action.SEND_MESSAGE)
    given = {"agency": agency, "text": clean(text), "once": once}
    # Those that ask no more too: the same form sent again is answered as it was.
    dispatches = {one["agency"]: one for one in shown.standing(referral["dispatches"])}
    errors = {} if agency in dispatches else {"agency": "Choose the body to reply to."}
    if not given["text"]:
        errors["text"] = "Enter what you want to say."
    if errors:
        return await _reply_form(request, principal, connection, referral, given, errors)
    try:
        body = MessageBody(dispatch_id=dispatches[agency]["id"], text=given["text"])
    except ValidationError:
        errors = {"text": "Say it in at most 2000 characters."}
        return await _reply_form(request, principal, connection, referral, given, errors)
    await say(connection, request, principal, id, body, _key(once))
    return _back(id)


@router.get("/{id}/cancel", response_class=Response)
@permit(Action.READ_OWN_REFERRALS)
async def cancel_page(id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """Whether to take it back, and why."""
    referral = await _referral(connection, principal, id, Action.READ_OWN_REFERRALS)
    await queries.shown(connection, principal, id)
    return _back(id) if referral["state"] not in _CANCELLABLE else _cancel_form(request, referral, "", {})


@router.post("/{id}/cancel", response_class=Response)
@permit(Action.CANCEL_REFERRAL)
async def cancel(
    id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction, reason: Typed = ""
) -> Response:
    """Cancel the referral and every open dispatch. Once more changes nothing."""
    referral = await _referral(connection, principal, id, Action.CANCEL_REFERRAL)
    try:
        body = Cancellation(reason=clean(reason))
    except ValidationError:
        words = "Say it in at most 2000 characters." if clean(reason) else "Say why you cancel it."
        return _cancel_form(request, referral, reason, {"reason": words})
    if not await lifecycle.cancel(connection, principal.actor, id, body.reason):
        if referral["state"] == ReferralState.CANCELLED:
            return _back(id)
        raise Problem(STATE_CONFLICT, "Only an open referral can be cancelled.")
    return _back(id)


@router.get("/{id}/outcome", response_class=Response)
@permit(Action.READ_OWN_REFERRALS)
async def outcome_page(
    id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction, replaces: UUID | None = None
) -> Response:
    """The form of what an action brought; with `replaces` it holds the outcome to correct."""
    referral = await _referral(connection, principal, id, Action.READ_OWN_REFERRALS)
    await queries.shown(connection, principal, id)
    if replaces is None:
        return _outcome_form(request, referral, outcome_form.blank(), {}, "")
    found = next((one for one in await outcomes(connection, id) if one["id"] == replaces), None)
    if found is None or found["replaced_by"] is not None:
        raise Problem(NOT_FOUND)
    told = {"ids": [str(replaces)]}
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "outcomes.read", id, detail=told)])
    return _outcome_form(request, referral, outcome_form.fields_of(found), {}, str(replaces))


@router.post("/{id}/outcome", response_class=Response)
@permit(Action.RECORD_OUTCOME)
async def record_one(id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """Record it."""
    referral = await _referral(connection, principal, id, Action.RECORD_OUTCOME)
    form = await request.form(max_files=0)
    replaces, once = str(form.get("replaces", "")), str(form.get("once", ""))
    fields = outcome_form.given_by(form)
    filled = outcome_form.filled(fields, replaces)
    body, errors = filled.model(SubmittedOutcome, "arrests")
    if body is not None:
        asked = Asked(principal.party, id, "outcome", body.model_dump(mode="json"))
        try:
            # What is refused leaves its key free for the same form filled in better.
            async with connection.begin_nested():
                if await first_time(connection, request.app.state.keys, _key(once), asked):
                    await record_outcome(connection, principal.actor, id, body)
            return _back(id)
        except Problem as problem:
            if problem.kind is not INVALID_BODY:
                raise
            errors = filled.refused(problem, "acted_on")
    return _outcome_form(request, referral, fields, errors, replaces, once)


async def _referral(connection: Connection, principal: Principal, id: UUID, action: Action) -> dict[str, Any]:
    """The party's referral with its content. Raises `Problem`: 404, 410."""
    referral = await queries.whole(connection, queries.visible(principal, action), id)
    if referral is None:
        raise Problem(NOT_FOUND)
    return referral


async def _reply_form(
    request: Request,
    principal: Principal,
    connection: Connection,
    referral: dict[str, Any],
    given: dict[str, str],
    errors: dict[str, str],
) -> Response:
    asking = shown.asking(referral["dispatches"])
    directory: Directory = await request.app.state.directory.get(connection)
    exchanges = await messages(connection, [one["id"] for one in asking.values()])
    if exchanges:
        said = Event(Operation.CONSULTATION, "messages.read", referral["id"])
        await record(connection, principal.actor, [said])
    return pages.render(
        "my_reply.html",
        request=request,
        status=422 if errors else 200,
        referral=referral,
        choices=[(code, f"{directory[code].name} ({code})") for code in asking],
        threads=[(one, exchanges[one["id"]]) for one in asking.values() if one["id"] in exchanges],
        chosen=given["agency"] or next(iter(asking), ""),
        text=given["text"],
        once=given.get("once") or str(uuid4()),
        errors=errors,
    )


def _cancel_form(request: Request, referral: dict[str, Any], reason: str, errors: dict[str, str]) -> Response:
    return pages.confirm(
        request,
        "Cancel this referral?",
        "Every body that has not answered yet is told that no answer is needed any more. What has come back stays.",
        "This cannot be undone: to ask again, submit a new referral.",
        button="Cancel the referral",
        back=f"/my-referrals/{referral['id']}",
        caption=referral["reference"],
        reason=reason,
        errors=errors,
        warning=True,
    )


def _outcome_form(
    request: Request,
    referral: dict[str, Any],
    fields: dict[str, Any],
    errors: dict[str, str],
    replaces: str,
    once: str = "",
) -> Response:
    return pages.render(
        "my_outcome.html",
        request=request,
        status=422 if errors else 200,
        referral=referral,
        fields=fields,
        errors=errors,
        replaces=replaces,
        once=once or str(uuid4()),
        disruptions=outcome_form.DISRUPTIONS,
        counted=outcome_form.COUNTED,
        seizures=outcome_form.SEIZURES,
        useful=shown.answered_by(referral),
    )


def _key(once: str) -> str | None:
    """The form's own key; None where it was sent without one."""
    return once if PLAUSIBLE_KEY.fullmatch(once) else None


def _back(id: UUID) -> Response:
    return RedirectResponse(f"/my-referrals/{id}", 303)
