"""Signing in with the OpenID provider that the settings name, and confirming there who one is.

Whom the register does not know gets nothing. Somebody it does know is recognised the first time by the address of email
that the provider has verified, which must be the user name; from then on by what the provider calls them alone.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import select, update
from starlette.responses import RedirectResponse

from app.access.accounts import people, steps
from app.access.accounts.models import Account, AccountState
from app.access.accounts.people import Person
from app.access.accounts.provider import Departure, Identity, Provider, ProviderAway, ProviderRefused
from app.access.accounts.steps import Stage, Step
from app.access.cookies import set_step_cookie, step_cookie
from app.access.entering import actor_of, begin_step, enter, tell_refusal, then_of
from app.access.pages import PageRoute, local
from app.access.policy import Action
from app.access.routes import permit, public
from app.access.sessions import SignedIn, confirm_session, find_session
from app.audit.record import Event, Operation, record
from app.db import AS_GATEWAY, Connection
from app.errors import CREDENTIAL_REQUIRED, NOT_FOUND, TOO_MANY_REQUESTS, UNAVAILABLE, Problem
from app.logs import logger
from app.web import pages, problems
from app.web.database import DatabaseOf

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Told = Annotated[str, Query(max_length=4000)]

log = logger()


@router.get("/sign-in/provider", response_class=Response)
@public
async def depart(request: Request, database: DatabaseOf) -> Response:
    """To the provider. A link, not a form: browsers would not let a form lead elsewhere."""
    _count(request)
    gone = await _departure(request, anew=False)
    detail = {**gone.detail, "then": then_of(request)}
    async with database.transaction(AS_GATEWAY) as connection:
        return await begin_step(request, connection, Step(Stage.PROVIDER, None, detail), gone.url)


@router.get("/account/confirm/provider", response_class=Response)
@permit(Action.SEE_ACCOUNT)
async def depart_to_confirm(
    request: Request, database: DatabaseOf, then: Annotated[str, Query(max_length=500)] = "/account"
) -> Response:
    """To the provider, to show there again who one is."""
    signed_in: SignedIn = request.state.signed_in
    if signed_in.account is None or not request.app.state.settings.oidc_issuer:
        return RedirectResponse("/account", 303)
    gone = await _departure(request, anew=True)
    detail = {**gone.detail, "then": local(then), "session": signed_in.id.hex()}
    async with database.transaction(AS_GATEWAY) as connection:
        return await begin_step(request, connection, Step(Stage.PROVIDER, signed_in.account, detail), gone.url)


@router.get("/sign-in/provider/answer", response_class=Response)
@public
async def arrive(
    request: Request, database: DatabaseOf, state: Told = "", code: Told = "", error: Told = ""
) -> Response:
    """From the provider: a session for whom the register knows, or a page that says that there is no account."""
    keys, token = request.app.state.keys, step_cookie(request) or ""
    async with database.transaction(AS_GATEWAY) as connection:
        step = await steps.find(connection, keys, token, Stage.PROVIDER)
        if step is None or not await steps.end(connection, keys, token):
            return await _refused(request, "state")
    request.state.then = step.detail.get("then", "")
    try:
        identity = await _provider(request).arrive(step.detail, state=state, code="" if error else code)
    except ProviderAway as away:
        raise _away(away) from None
    except ProviderRefused as refusal:
        return await _refused(request, str(refusal))
    async with database.transaction(AS_GATEWAY) as connection:
        person = await _known(connection, identity)
        if person is None:
            found = None
        elif step.account is not None:
            found = await _confirmed(connection, person, step)
        else:
            found = await enter(request, connection, person, "provider")
    return await _refused(request, "account", person) if found is None else _onward(request, found)


def _onward(request: Request, entered: Response) -> Response:
    """A page of ours that leads on: a browser that comes from elsewhere does not show a `strict` cookie yet."""
    page = pages.render(
        "led_on.html", request=request, heading="Signed in", then=entered.headers["location"], by_itself=True
    )
    for cookie in entered.headers.getlist("set-cookie"):
        page.headers.append("set-cookie", cookie)
    return page


async def _known(connection: Connection, identity: Identity) -> Person | None:
    """Whom the register knows by this identity, linked to it now where it was not yet; and who may sign in."""
    known = await connection.scalar(
        select(Account.id).where(Account.issuer == identity.issuer, Account.subject == identity.subject)
    )
    if known is None and identity.email is not None:
        known = await _link(connection, identity)
    person = None if known is None else await people.by_id(connection, known)
    return person if person is not None and person.is_active else None


async def _link(connection: Connection, identity: Identity) -> Any:
    """Give an account that has this user name, and no identity yet, this one. An invited one is thereby set up."""
    linked = await connection.scalar(
        update(Account)
        .where(
            Account.username == identity.email,
            Account.subject.is_(None),
            Account.state.in_([AccountState.INVITED.value, AccountState.ACTIVE.value]),
        )
        .values(
            issuer=identity.issuer,
            subject=identity.subject,
            state=AccountState.ACTIVE.value,
            setup=None,
            setup_until=None,
        )
        .returning(Account.id)
    )
    person = None if linked is None else await people.by_id(connection, linked)
    if person is not None:
        await record(connection, person.actor, [Event(Operation.ALTERATION, "account.linked")])
    return linked


async def _confirmed(connection: Connection, person: Person, step: Step) -> Response | None:
    """The session that asked goes on as confirmed, where it is the same person who came back."""
    session = bytes.fromhex(step.detail["session"])
    if person.id != step.account or await find_session(connection, session) is None:
        return None
    await confirm_session(connection, session)
    await record(connection, person.actor, [Event(Operation.CONSULTATION, "session.confirmed")])
    return RedirectResponse(step.detail["then"], 303)


async def _refused(request: Request, because: str, person: Person | None = None) -> Response:
    await tell_refusal(request, actor_of(person), f"provider: {because}")
    request.scope[problems.SLUG_IN_SCOPE] = CREDENTIAL_REQUIRED.slug
    status = CREDENTIAL_REQUIRED.status
    name = request.app.state.settings.oidc_name
    response = pages.render(
        "provider_refused.html", request=request, status=status, provider=name, unknown=because == "account"
    )
    response.headers["WWW-Authenticate"] = "Bearer"
    set_step_cookie(request, response, "")
    return response


async def _departure(request: Request, *, anew: bool) -> Departure:
    try:
        return await _provider(request).depart(anew=anew)
    except ProviderAway as away:
        raise _away(away) from None


def _away(away: ProviderAway) -> Problem:
    log.warning("the OpenID provider does not answer", exc_info=away)
    return Problem(UNAVAILABLE, "The sign-in service of your organisation does not answer. Try again in a minute.")


def _provider(request: Request) -> Provider:
    found: Provider | None = request.app.state.provider
    if found is None:
        raise Problem(NOT_FOUND)
    return found


def _count(request: Request) -> None:
    """Raise `Problem` (429) where one address begins too often: each beginning is kept for ten minutes."""
    if wait := request.app.state.departures.wait(request.app.state.gate.proxies.source(request)):
        raise Problem(TOO_MANY_REQUESTS, retry_after=int(wait) + 1)
