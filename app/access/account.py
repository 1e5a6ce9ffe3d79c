"""One's own account: sessions, role, password, authenticator, recovery codes; and showing again who one is.

Each way to sign in has its own way to confirm: the authenticator's code, the key once more, or the OpenID provider.
What changes how the account is signed in to asks for it, and ends the account's other sessions.
"""

import math
from base64 import b64decode, b64encode
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from starlette.responses import RedirectResponse

from app import clock
from app.access.accounts import codes, lockout, people, steps
from app.access.accounts.passwords import Passwords
from app.access.accounts.people import Person
from app.access.accounts.steps import Stage, Step
from app.access.attempts import Attempts
from app.access.cookies import set_step_cookie, step_cookie
from app.access.entering import actor_of, again, attempt_of, begin_attempt, choices_of, tell_refusal, waiting
from app.access.gate import Gate
from app.access.navigation import ROLE_NAMES, Link, add_links
from app.access.pages import CONFIRM, HOME, PageRoute, local, step_up
from app.access.policy import Action, Role
from app.access.routes import CurrentPrincipal, permit
from app.access.sessions import SignedIn, change_role, close_all, confirm_session, sessions_of
from app.access.set_up import faults_of, show_secret
from app.audit.record import Event, Operation, record
from app.db import AS_GATEWAY, Connection
from app.errors import INVALID_BODY, NOT_FOUND, Problem
from app.web import pages
from app.web.database import DatabaseOf

router = APIRouter(route_class=PageRoute, prefix="/account", include_in_schema=False)

add_links(Link("Your account", "/account", Action.SEE_ACCOUNT, order=90))

Typed = Annotated[str, Form(max_length=1000)]
Then = Annotated[str, Query(max_length=500)]

_ACCOUNT = "/account"
_WRONG_CODE = "This code is not right, or it was used before. Wait for the next one."
_WRONG_KEY = "This is not the key that you signed in with."


@router.get("", response_class=Response)
@permit(Action.SEE_ACCOUNT)
async def account_page(request: Request, principal: CurrentPrincipal, database: DatabaseOf) -> Response:
    """Who one is here, where one is signed in, and what one can change."""
    session = _session(request)
    async with database.transaction(AS_GATEWAY) as connection:
        person = None if session.account is None else await people.by_id(connection, session.account)
        opened = [] if person is None else await sessions_of(connection, person.id)
        left = 0 if person is None else await people.recovery_codes_left(connection, person.id)
        await record(connection, principal.actor, [Event(Operation.CONSULTATION, "account.read")])
    return pages.render(
        "account.html",
        request=request,
        person=person,
        principal=principal,
        sessions=[(row, row.id == session.id) for row in opened],
        codes_left=left,
        choices=choices_of(session.roles),
        role_names=ROLE_NAMES,
        home=HOME[principal.role],
    )


@router.post("/role", response_class=Response)
@permit(Action.CHANGE_ACCOUNT)
async def act_in(request: Request, principal: CurrentPrincipal, database: DatabaseOf, role: Typed = "") -> Response:
    """Go on in another of one's roles."""
    session = _session(request)
    if role not in session.roles:
        return _back()
    async with database.transaction(AS_GATEWAY) as connection:
        await change_role(connection, session.id, Role(role))
        detail = {"role": role, "before": principal.role.value}
        await record(connection, principal.actor, [Event(Operation.CONSULTATION, "session.role", detail=detail)])
    return RedirectResponse(HOME[Role(role)], 303)


@router.post("/sign-out-everywhere", response_class=Response)
@permit(Action.CHANGE_ACCOUNT)
async def sign_out_everywhere(request: Request, principal: CurrentPrincipal, database: DatabaseOf) -> Response:
    """End every other session of the account; what is open on one ends within two seconds."""
    session = _session(request)
    if session.account is not None:
        async with database.transaction(AS_GATEWAY) as connection:
            ended = await close_all(connection, session.account, but=session.id)
            event = Event(Operation.CONSULTATION, "session.closed_everywhere", detail={"sessions": ended})
            await record(connection, principal.actor, [event])
    return _back()


@router.get("/password", response_class=Response)
@permit(Action.SEE_ACCOUNT)
@step_up
async def password_page(request: Request, database: DatabaseOf) -> Response:
    """The form for another password."""
    person = await _person(request, database)
    return _back() if person is None or person.password is None else _password_form(request, person, {})


@router.post("/password", response_class=Response)
@permit(Action.CHANGE_ACCOUNT)
@step_up
async def change_password(
    request: Request, database: DatabaseOf, current: Typed = "", password: Typed = "", again: Typed = ""
) -> Response:
    """Another password; every other session of the account ends."""
    person, passwords = await _person(request, database), _passwords(request)
    if person is None or person.password is None:
        return _back()
    attempt = attempt_of(request, person.username)
    if wait := await begin_attempt(request, attempt):
        return _password_form(request, person, {"current": waiting(wait)})
    if not await passwords.matches(person.password, current):
        await tell_refusal(request, actor_of(person), "password")
        return _password_form(request, person, {"current": "This is not your password."})
    errors = await faults_of(request, person, password, again)
    fresh = "" if errors else await passwords.hash(password)
    async with database.transaction(AS_GATEWAY) as connection:
        await lockout.succeed(connection, request.app.state.keys, attempt)
        if fresh:
            await people.keep_password(connection, person, fresh, because="account.password_changed")
            await _end_others(request, connection, person)
    return _password_form(request, person, errors) if errors else _back()


@router.get("/recovery-codes", response_class=Response)
@permit(Action.SEE_ACCOUNT)
@step_up
async def recovery_codes_page(request: Request, database: DatabaseOf) -> Response:
    """Whether to have new ones."""
    person = await _person(request, database)
    if person is None or person.totp is None:
        return _back()
    return pages.render("recovery_codes_new.html", request=request)


@router.post("/recovery-codes", response_class=Response)
@permit(Action.CHANGE_ACCOUNT)
@step_up
async def renew_recovery_codes(request: Request, database: DatabaseOf) -> Response:
    """Ten new ones, shown this once."""
    person = await _person(request, database)
    if person is None or person.totp is None:
        return _back()
    async with database.transaction(AS_GATEWAY) as connection:
        fresh = await people.renew_recovery_codes(connection, request.app.state.keys, person)
    return pages.render("recovery_codes.html", request=request, codes=fresh, then=_ACCOUNT)


@router.get("/authenticator", response_class=Response)
@permit(Action.SEE_ACCOUNT)
@step_up
async def authenticator_page(request: Request, database: DatabaseOf) -> Response:
    """The secret of another authenticator, and the form for its first code."""
    person = await _person(request, database)
    if person is None or person.totp is None:
        return _back()
    secret = codes.new_secret()
    async with database.transaction(AS_GATEWAY) as connection:
        sealed = await people.seal_secret(connection, person.id, secret)
        step = Step(Stage.AUTHENTICATOR, person.id, {"totp": b64encode(sealed).decode(), "setup": ""})
        token = await steps.begin(connection, request.app.state.keys, step)
    response = show_secret(request, person, secret, {}, back=_ACCOUNT)
    set_step_cookie(request, response, token)
    return response


@router.post("/authenticator", response_class=Response)
@permit(Action.CHANGE_ACCOUNT)
@step_up
async def change_authenticator(request: Request, database: DatabaseOf, code: Typed = "") -> Response:
    """Codes of another authenticator are taken from now on; every other session of the account ends."""
    person, keys, token = await _person(request, database), request.app.state.keys, step_cookie(request) or ""
    async with database.transaction(AS_GATEWAY) as connection:
        step = await steps.find(connection, keys, token, Stage.AUTHENTICATOR)
        if person is None or step is None or step.account != person.id:
            return _back()
        sealed = b64decode(step.detail["totp"])
        secret = await people.open_secret(connection, person.id, sealed)
        taken = codes.step_of(secret, code, clock.now(), 0)
        if taken is not None and await steps.end(connection, keys, token):
            await people.enrol(connection, person, sealed, taken)
            await _end_others(request, connection, person)
            return _back()
    return show_secret(request, person, secret, {"code": _WRONG_CODE}, back=_ACCOUNT)


@router.get("/confirm", response_class=Response)
@permit(Action.SEE_ACCOUNT)
async def confirm_page(request: Request, database: DatabaseOf, then: Then = _ACCOUNT) -> Response:
    """The form to show again who one is."""
    return await _confirm_form(request, database, then, {})


@router.post("/confirm", response_class=Response)
@permit(Action.CHANGE_ACCOUNT)
async def confirm(
    request: Request,
    principal: CurrentPrincipal,
    database: DatabaseOf,
    code: Typed = "",
    key: Typed = "",
    then: Then = _ACCOUNT,
) -> Response:
    """For five minutes what asks for it may be done; back to where it was asked."""
    person = await _person(request, database)
    if person is None:
        fault, wait = await _check_key(request, key)
    else:
        fault, wait = await _check_code(request, database, person, code)
    if fault:
        name = "key" if person is None else "code"
        return await _confirm_form(request, database, then, {name: fault}, wait)
    async with database.transaction(AS_GATEWAY) as connection:
        await confirm_session(connection, _session(request).id)
        await record(connection, principal.actor, [Event(Operation.CONSULTATION, "session.confirmed")])
    return RedirectResponse(local(then), 303)


async def _check_code(request: Request, database: DatabaseOf, person: Person, code: str) -> tuple[str, float]:
    """What is wrong with a code, or nothing; and the seconds to wait for another try."""
    attempt = attempt_of(request, person.username)
    if wait := await begin_attempt(request, attempt):
        return waiting(wait), wait
    async with database.transaction(AS_GATEWAY) as connection:
        if await people.take_code(connection, person, code):
            await lockout.succeed(connection, request.app.state.keys, attempt)
            return "", 0.0
    await tell_refusal(request, actor_of(person), "code")
    return _WRONG_CODE, 0.0


async def _check_key(request: Request, key: str) -> tuple[str, float]:
    """The same of the key that a session was opened with."""
    if not key.strip():
        return _WRONG_KEY, 0.0
    gate: Gate = request.app.state.gate
    attempts: Attempts = request.app.state.attempts
    if wait := attempts.wait(gate.proxies.source(request)):
        return f"Too many attempts. Try again in {math.ceil(wait)} seconds.", wait
    credential = await gate.keys.credential(key.strip())
    same = credential is not None and credential.id == _session(request).credential.id
    return ("" if same else _WRONG_KEY), 0.0


async def _confirm_form(
    request: Request, database: DatabaseOf, then: str, errors: dict[str, str], wait: float = 0.0
) -> Response:
    person = await _person(request, database)
    settings = request.app.state.settings
    context: dict[str, Any] = {
        "then": local(then),
        "address": CONFIRM,
        "by": "key" if person is None else "provider" if person.totp is None else "code",
        "provider": settings.oidc_name if settings.oidc_issuer else "",
    }
    if errors:
        return again(request, "confirm_self.html", errors, kind=INVALID_BODY, wait=wait, **context)
    return pages.render("confirm_self.html", request=request, errors={}, **context)


def _session(request: Request) -> SignedIn:
    found: SignedIn = request.state.signed_in
    return found


def _passwords(request: Request) -> Passwords:
    found: Passwords = request.app.state.passwords
    return found


async def _person(request: Request, database: DatabaseOf) -> Person | None:
    """Whose account the session is of; None where it was opened with a key."""
    account = _session(request).account
    if account is None:
        return None
    async with database.transaction(AS_GATEWAY) as connection:
        person = await people.by_id(connection, account)
    if person is None:
        raise Problem(NOT_FOUND)
    return person


async def _end_others(request: Request, connection: Connection, person: Person) -> None:
    await close_all(connection, person.id, but=_session(request).id)


def _password_form(request: Request, person: Person, errors: dict[str, str]) -> Response:
    status = INVALID_BODY.status if errors else 200
    return pages.render(
        "account_password.html", request=request, status=status, username=person.username, errors=errors
    )


def _back() -> Response:
    return RedirectResponse(_ACCOUNT, 303)
