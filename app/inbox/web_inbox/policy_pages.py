"""`/my-policy`: what an agency decides of its own policy, with what each part means; its manager changes it."""

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from app import clock
from app.access.navigation import Link, add_links
from app.access.policy import FOR_MANAGERS, Action
from app.access.routes import CurrentPrincipal, permit
from app.access.sessions import SignedIn
from app.errors import OUTSIDE_SCOPE, Problem
from app.inbox.own_policy import held, put
from app.inbox.web_inbox import policy_form
from app.inbox.web_inbox.choices import CRIME_TYPES, pairs
from app.inbox.web_inbox.policy_form import Filled
from app.inbox.web_inbox.route import InboxPage, Sent, go
from app.parties.own_policy import OwnPolicy
from app.web import pages
from app.web.database import Transaction

router = APIRouter(route_class=InboxPage, include_in_schema=False)

HOME = "/my-policy"

add_links(Link("My policy", HOME, Action.READ_POLICY, order=20))


@router.get(HOME, response_class=Response)
@permit(Action.READ_POLICY)
async def policy_page(
    request: Request, principal: CurrentPrincipal, connection: Transaction, saved: str | None = None
) -> Response:
    """The policy as it holds, in words."""
    version, policy = await held(request, connection, principal)
    return pages.render(
        "policy.html",
        request=request,
        version=version,
        policy=policy,
        crime_types=[CRIME_TYPES[code] for code in policy.crime_types or ()],
        days=[policy_form.DAYS[str(day)] for day in sorted(policy.working_days)],
        is_away=_is_away(policy),
        may_change=_may_change(request),
        saved=saved is not None,
    )


@router.get(f"{HOME}/change", response_class=Response)
@permit(Action.READ_POLICY)
async def form_page(request: Request, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """The form, as it holds now, for whoever may send it."""
    if not _may_change(request):
        raise Problem(OUTSIDE_SCOPE)
    _, policy = await held(request, connection, principal)
    return _form(request, policy_form.filled(policy))


@router.post(f"{HOME}/change", response_class=Response)
@permit(Action.MANAGE_POLICY)
async def change_policy(
    request: Request, principal: CurrentPrincipal, connection: Transaction, fields: Sent
) -> Response:
    """A new version, from now on."""
    form = policy_form.read(fields)
    try:
        policy = policy_form.policy_of(form)
    except ValidationError as error:
        return _form(request, form, policy_form.errors_of(error))
    await put(request, connection, principal, policy)
    return go(f"{HOME}?saved=1")


def _form(request: Request, form: Filled, errors: dict[str, str] | None = None) -> Response:
    return pages.render(
        "policy_form.html",
        request=request,
        status=422 if errors else 200,
        form=form,
        crime_types=pairs(CRIME_TYPES),
        days=pairs(policy_form.DAYS),
        errors=errors or {},
    )


def _may_change(request: Request) -> bool:
    signed_in: SignedIn = request.state.signed_in
    scope = signed_in.credential.scope
    return scope is None or scope >= FOR_MANAGERS


def _is_away(policy: OwnPolicy) -> bool:
    away = policy.out_of_office
    return away is not None and away.first_day <= clock.now().date() <= away.last_day
