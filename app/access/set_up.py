"""The first sign-in: a set-up code, then a password, an authenticator and recovery codes."""

from base64 import b64decode, b64encode
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from markupsafe import Markup
from starlette.responses import RedirectResponse

from app import clock
from app.access.accounts import codes, lockout, people, steps
from app.access.accounts.passwords import Passwords
from app.access.accounts.people import Person
from app.access.accounts.steps import Stage, Step
from app.access.cookies import step_cookie
from app.access.entering import (
    actor_of,
    again,
    attempt_of,
    begin_attempt,
    begin_step,
    enter,
    onward,
    tell_refusal,
    waiting,
)
from app.access.pages import PageRoute
from app.access.routes import public
from app.db import AS_GATEWAY
from app.errors import INVALID_BODY
from app.web import pages
from app.web.database import DatabaseOf

router = APIRouter(route_class=PageRoute, prefix="/sign-in/set-up", include_in_schema=False)

Typed = Annotated[str, Form(max_length=1000)]

_START = "/sign-in/set-up"
_PASSWORD, _AUTHENTICATOR = f"{_START}/password", f"{_START}/authenticator"
_WRONG = (
    "The user name or the code is not right, or the code was used or is too old. Your administrator can give another."
)
_WRONG_CODE = "This code is not right. Check that your phone’s clock is, and use the code that it shows now."


@router.get("", response_class=Response)
@public
async def start_page(request: Request) -> Response:
    """The form for the set-up code."""
    return pages.render("set_up.html", request=request, errors={}, username="")


@router.post("", response_class=Response)
@public
async def start(request: Request, database: DatabaseOf, username: Typed = "", code: Typed = "") -> Response:
    """On to the password where the code is right."""
    attempt, keys = attempt_of(request, username), request.app.state.keys
    if wait := await begin_attempt(request, attempt):
        return again(request, "set_up.html", {"code": waiting(wait)}, wait=wait, username=username)
    async with database.transaction(AS_GATEWAY) as connection:
        person = await people.by_setup_code(connection, keys, username, code)
        if person is not None:
            await lockout.succeed(connection, keys, attempt)
            # It stays good until all is done, and no longer than it is this one.
            step = Step(Stage.PASSWORD, person.id, {"setup": (person.setup or b"").hex()})
            return await begin_step(request, connection, step, onward(request, _PASSWORD))
        somebody = await people.by_username(connection, username)
    await tell_refusal(request, actor_of(somebody), "set-up code")
    return again(request, "set_up.html", {"code": _WRONG}, username=username)


@router.get("/password", response_class=Response)
@public
async def password_page(request: Request, database: DatabaseOf) -> Response:
    """The form for a password."""
    found = await _setting_up(request, database, Stage.PASSWORD)
    return _start(request) if found is None else _password_form(request, found[0], {})


@router.post("/password", response_class=Response)
@public
async def choose_password(request: Request, database: DatabaseOf, password: Typed = "", again: Typed = "") -> Response:
    """On to the authenticator where the password is a good one."""
    found = await _setting_up(request, database, Stage.PASSWORD)
    if found is None:
        return _start(request)
    person, step = found
    if errors := await faults_of(request, person, password, again):
        return _password_form(request, person, errors)
    passwords: Passwords = request.app.state.passwords
    hash = await passwords.hash(password)
    async with database.transaction(AS_GATEWAY) as connection:
        sealed = await people.seal_secret(connection, person.id, codes.new_secret())
        detail = {**step.detail, "hash": hash, "totp": b64encode(sealed).decode()}
        await steps.go_on(connection, request.app.state.keys, step_cookie(request) or "", Stage.AUTHENTICATOR, detail)
    return RedirectResponse(onward(request, _AUTHENTICATOR), 303)


@router.get("/authenticator", response_class=Response)
@public
async def authenticator_page(request: Request, database: DatabaseOf) -> Response:
    """The secret to scan, and the form for the first code."""
    return await _authenticator(request, database, {})


@router.post("/authenticator", response_class=Response)
@public
async def enrol(request: Request, database: DatabaseOf, code: Typed = "") -> Response:
    """The account is set up; its recovery codes are shown this once."""
    found = await _setting_up(request, database, Stage.AUTHENTICATOR)
    if found is None:
        return _start(request)
    (person, step), keys = found, request.app.state.keys
    async with database.transaction(AS_GATEWAY) as connection:
        sealed = b64decode(step.detail["totp"])
        secret = await people.open_secret(connection, person.id, sealed)
        taken = codes.step_of(secret, code, clock.now(), 0)
        if taken is not None:
            current = await people.by_id(connection, person.id, lock=True)
            if current != person or not await steps.end(connection, keys, step_cookie(request) or ""):
                return _start(request)
            await people.complete_setup(connection, person, step.detail["hash"])
            await people.enrol(connection, person, sealed, taken)
            fresh = await people.renew_recovery_codes(connection, keys, person)
            entered = await enter(request, connection, person, "set-up")
            page = pages.render("recovery_codes.html", request=request, codes=fresh, then=entered.headers["location"])
            for cookie in entered.headers.getlist("set-cookie"):
                page.headers.append("set-cookie", cookie)
            return page
    return await _authenticator(request, database, {"code": _WRONG_CODE})


async def faults_of(request: Request, person: Person, password: str, again: str) -> dict[str, str]:
    """What is wrong with a new password, by the field of the form."""
    passwords: Passwords = request.app.state.passwords
    known = (person.username, person.name, person.party, "gain", "broker")
    if fault := await passwords.fault_of(password, [word for text in known for word in text.split()]):
        return {"password": fault}
    return {} if password == again else {"again": "The two passwords are not the same."}


async def _setting_up(request: Request, database: DatabaseOf, stage: Stage) -> tuple[Person, Step] | None:
    """Whose account is being set up in this browser, while the code that it began with is still the account's."""
    async with database.transaction(AS_GATEWAY) as connection:
        step = await steps.find(connection, request.app.state.keys, step_cookie(request) or "", stage)
        person = None if step is None or step.account is None else await people.by_id(connection, step.account)
    if step is None or person is None or person.setup is None or person.setup.hex() != step.detail["setup"]:
        return None
    return person, step


async def _authenticator(request: Request, database: DatabaseOf, errors: dict[str, str]) -> Response:
    found = await _setting_up(request, database, Stage.AUTHENTICATOR)
    if found is None:
        return _start(request)
    person, step = found
    async with database.transaction(AS_GATEWAY) as connection:
        secret = await people.open_secret(connection, person.id, b64decode(step.detail["totp"]))
    return show_secret(request, person, secret, errors, back="")


def show_secret(request: Request, person: Person, secret: bytes, errors: dict[str, str], *, back: str) -> Response:
    """The page with the secret to scan, and the form for the first code."""
    return pages.render(
        "authenticator.html",
        request=request,
        status=INVALID_BODY.status if errors else 200,
        picture=Markup(codes.picture(codes.enrolment(secret, person.username))),  # nosec B704  # noqa: S704  made by segno
        secret=secret.decode(),
        errors=errors,
        back=back,
    )


def _password_form(request: Request, person: Person, errors: dict[str, str]) -> Response:
    status = INVALID_BODY.status if errors else 200
    return pages.render("set_up_password.html", request=request, status=status, username=person.username, errors=errors)


def _start(request: Request) -> Response:
    return RedirectResponse(onward(request, _START), 303)
