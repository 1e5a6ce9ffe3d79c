"""Signing in: with a password and the code of an authenticator, or with an API key; and out again."""

import math
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import RedirectResponse

from app.access.accounts import codes, lockout, people, steps
from app.access.accounts.passwords import Passwords
from app.access.accounts.people import Person
from app.access.accounts.steps import Stage, Step
from app.access.attempts import Attempts
from app.access.cookies import set_session_cookie, set_step_cookie, step_cookie
from app.access.entering import (
    ROLE,
    actor_of,
    again,
    attempt_of,
    begin_attempt,
    begin_step,
    choices_of,
    enter,
    enter_as,
    leave,
    onward,
    open_for,
    tell_refusal,
    then_of,
    waiting,
)
from app.access.gate import Gate
from app.access.pages import SIGN_IN, PageRoute
from app.access.policy import Role
from app.access.routes import public
from app.db import AS_GATEWAY
from app.errors import CREDENTIAL_REQUIRED, NOT_FOUND, Problem
from app.web import pages
from app.web.database import DatabaseOf

router = APIRouter(route_class=PageRoute, include_in_schema=False)

Typed = Annotated[str, Form(max_length=1000)]

_CODE = "/sign-in/code"
_WRONG = "The user name or the password is not right."
_WRONG_CODE = "This code is not right, or it was used before. Wait for the next one, or use a recovery code."
_UNKNOWN_KEY = "This key is not known, or it is no longer in force. Check that you have copied all of it."


@router.get(SIGN_IN, response_class=Response)
@public
async def sign_in_page(request: Request) -> Response:
    """The form for people. Whoever comes by a link from elsewhere, such as one in webmail, is led on once more."""
    then = then_of(request)
    if then and request.headers.get("sec-fetch-site") == "cross-site":
        # They may be signed in: a browser that comes from elsewhere does not show a `strict` cookie yet. Where nobody
        # clicked it is not led on by itself: it is the other site that asks, and a look is logged as the person's.
        heading, clicked = "To the page that you asked for", request.headers.get("sec-fetch-user") == "?1"
        return pages.render("led_on.html", request=request, heading=heading, then=then, by_itself=clicked)
    return _form(request)


@router.post(SIGN_IN, response_class=Response)
@public
async def sign_in(
    request: Request, database: DatabaseOf, username: Typed = "", password: Typed = "", key: Typed = ""
) -> Response:
    """On to the code where the password is right. A key opens its session at once."""
    if key:
        return await _with_key(request, database, key)
    attempt = attempt_of(request, username)
    if wait := await begin_attempt(request, attempt):
        return _form(request, {"username": waiting(wait)}, username, wait)
    async with database.transaction(AS_GATEWAY) as connection:
        person = await people.by_username(connection, username)
    person = await _with_password(request, person, password)
    if person is None:
        return _form(request, {"username": _WRONG}, username)
    passwords: Passwords = request.app.state.passwords
    fresh = await passwords.hash(password) if passwords.is_outdated(person.password or "") else ""
    async with database.transaction(AS_GATEWAY) as connection:
        if fresh:
            await people.keep_password(connection, person, fresh)
        await lockout.passed(connection, request.app.state.keys, attempt)
        return await begin_step(request, connection, Step(Stage.CODE, person.id), onward(request, _CODE))


@router.get("/sign-in/key", response_class=Response)
@public
async def key_page(request: Request) -> Response:
    """The form for whoever has a key and no account."""
    _require_keys(request)
    return pages.render("sign_in_key.html", request=request, errors={})


@router.get(_CODE, response_class=Response)
@public
async def code_page(request: Request, database: DatabaseOf) -> Response:
    """The form for the code."""
    async with database.transaction(AS_GATEWAY) as connection:
        step = await steps.find(connection, request.app.state.keys, step_cookie(request) or "", Stage.CODE)
    return _start(request) if step is None else pages.render("sign_in_code.html", request=request, errors={})


@router.post(_CODE, response_class=Response)
@public
async def take_code(request: Request, database: DatabaseOf, code: Typed = "") -> Response:
    """A session for the right code, the authenticator's or a recovery one."""
    keys, token = request.app.state.keys, step_cookie(request) or ""
    async with database.transaction(AS_GATEWAY) as connection:
        step = await steps.find(connection, keys, token, Stage.CODE)
        person = None if step is None or step.account is None else await people.by_id(connection, step.account)
    if person is None or not person.is_active:
        return _start(request)
    attempt = attempt_of(request, person.username)
    if wait := await begin_attempt(request, attempt):
        return again(request, "sign_in_code.html", {"code": waiting(wait)}, wait=wait)
    async with database.transaction(AS_GATEWAY) as connection:
        is_recovery = len(codes.typed(code)) > 6
        taken = (
            await people.take_recovery_code(connection, keys, person, code)
            if is_recovery
            else await people.take_code(connection, person, code)
        )
        if taken and await steps.end(connection, keys, token):
            await lockout.succeed(connection, keys, attempt)
            return await enter(request, connection, person, "recovery code" if is_recovery else "password")
    await tell_refusal(request, actor_of(person), "code")
    return again(request, "sign_in_code.html", {"code": _WRONG_CODE})


@router.get(ROLE, response_class=Response)
@public
async def role_page(request: Request, database: DatabaseOf) -> Response:
    """The roles to choose from, for whoever has several."""
    person, _ = await _choosing(request, database)
    return _start(request) if person is None else _roles(request, person)


@router.post(ROLE, response_class=Response)
@public
async def take_role(request: Request, database: DatabaseOf, role: Typed = "") -> Response:
    """A session in the role that was chosen."""
    person, by = await _choosing(request, database)
    if person is None:
        return _start(request)
    if role not in person.roles:
        return _roles(request, person, {"role": "Choose the role to act in."})
    async with database.transaction(AS_GATEWAY) as connection:
        if await steps.end(connection, request.app.state.keys, step_cookie(request) or ""):
            return await enter_as(request, connection, person, Role(role), by)
    return _start(request)


@router.post("/sign-out", response_class=Response)
@public
async def sign_out(request: Request, database: DatabaseOf) -> Response:
    """End the session, if there is one, and with it every page that is open on it."""
    async with database.transaction(AS_GATEWAY) as connection:
        await leave(request, connection)
    response = RedirectResponse(SIGN_IN, 303)
    set_session_cookie(request, response, "")
    set_step_cookie(request, response, "")
    return response


async def _with_password(request: Request, person: Person | None, password: str) -> Person | None:
    """The person whose password this is. It takes as long where there is nobody, or nobody who may sign in."""
    passwords: Passwords = request.app.state.passwords
    kept = person.password if person is not None and person.is_active else None
    if await passwords.matches(kept, password):
        return person
    await tell_refusal(request, actor_of(person), "password")
    return None


async def _with_key(request: Request, database: DatabaseOf, key: str) -> Response:
    _require_keys(request)
    attempts: Attempts = request.app.state.attempts
    gate: Gate = request.app.state.gate
    if wait := attempts.wait(gate.proxies.source(request)):
        text = f"Too many attempts. Try again in {math.ceil(wait)} seconds."
        return again(request, "sign_in_key.html", {"key": text}, wait=wait)
    credential = await gate.keys.credential(key.strip())
    if credential is None:
        await tell_refusal(request, actor_of(None), CREDENTIAL_REQUIRED.slug)
        return again(request, "sign_in_key.html", {"key": _UNKNOWN_KEY})
    gate.check_place(request, credential)
    async with database.transaction(AS_GATEWAY) as connection:
        return await open_for(request, connection, credential, "key")


def _require_keys(request: Request) -> None:
    if not request.app.state.settings.key_sign_in:
        raise Problem(NOT_FOUND)


async def _choosing(request: Request, database: DatabaseOf) -> tuple[Person | None, str]:
    """Who has shown who they are and has a role to choose, and how they did."""
    token = step_cookie(request) or ""
    async with database.transaction(AS_GATEWAY) as connection:
        step = await steps.find(connection, request.app.state.keys, token, Stage.ROLE)
        person = None if step is None or step.account is None else await people.by_id(connection, step.account)
    return (person, str(step.detail["by"])) if step and person and person.is_active else (None, "")


def _roles(request: Request, person: Person, errors: dict[str, str] | None = None) -> Response:
    status = 422 if errors else 200
    choices = choices_of(person.roles)
    return pages.render("sign_in_role.html", request=request, status=status, choices=choices, errors=errors or {})


def _start(request: Request) -> Response:
    return RedirectResponse(onward(request, SIGN_IN), 303)


def _form(request: Request, errors: dict[str, str] | None = None, username: str = "", wait: float = 0.0) -> Response:
    settings = request.app.state.settings
    context = {
        "username": username,
        "provider": settings.oidc_name if settings.oidc_issuer else "",
        "keys": settings.key_sign_in,
    }
    if errors:
        return again(request, "sign_in.html", errors, wait=wait, **context)
    return pages.render("sign_in.html", request=request, errors={}, **context)
