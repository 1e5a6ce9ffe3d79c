"""Signing in to the pages with an API key, and out again."""

import math
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from starlette.responses import RedirectResponse

from app.access.attempts import Attempts
from app.access.gate import Gate
from app.access.keys import Credential
from app.access.pages import SIGN_IN, PageRoute, cookie_name, is_secure, session_token
from app.access.policy import Action, relation
from app.access.routes import public
from app.access.sessions import LIFETIME, close_session, open_session, session_credential
from app.audit.record import Actor, Event, Operation, record
from app.db import AS_GATEWAY
from app.errors import CREDENTIAL_REQUIRED, ROLE_NOT_ALLOWED, TOO_MANY_REQUESTS, ProblemType
from app.logs import request_id
from app.web import pages, problems
from app.web.database import DatabaseOf, Transaction

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_NOBODY = "unknown"
"""Whom the log names where a key is not recognised."""


@router.get("/sign-in", response_class=Response)
@public
async def sign_in_page(request: Request) -> Response:
    """The form."""
    return _form(request)


@router.post("/sign-in", response_class=Response)
@public
async def sign_in(request: Request, database: DatabaseOf, key: Annotated[str, Form()] = "") -> Response:
    """Open a session for the key and go to the first page; or the form again, with what is wrong."""
    attempts: Attempts = request.app.state.attempts
    if wait := attempts.wait(request.client.host if request.client else ""):
        return _refused(request, TOO_MANY_REQUESTS, f"Too many attempts. Try again in {math.ceil(wait)} seconds.", wait)
    gate: Gate = request.app.state.gate
    credential = await gate.keys.credential(key.strip())
    if credential is None:
        actor, refusal = Actor(_NOBODY, _NOBODY, request_id.get()), CREDENTIAL_REQUIRED
        text = "This key is not known, or it is no longer in force. Check that you have copied all of it."
    elif relation(credential.role, Action.SEE_STATUS_PAGE) is None:
        actor, refusal = _actor(credential), ROLE_NOT_ALLOWED
        text = f"This is a key of {credential.party} for the role {credential.role}. This page is for co-ordinators."
    else:
        gate.check_place(request, credential)
        return await _signed_in(request, database, credential)
    async with database.transaction(AS_GATEWAY) as connection:
        event = Event(Operation.CONSULTATION, "session.refused", detail={"because": refusal.slug})
        await record(connection, actor, [event])
    return _refused(request, refusal, text)


@router.post("/sign-out", response_class=Response)
@public
async def sign_out(request: Request, connection: Transaction) -> Response:
    """End the session, if there is one, and with it every page that is open on it."""
    token = session_token(request)
    if token is not None:
        await _close(request, connection, token)
    response = RedirectResponse(SIGN_IN, 303)
    _set_cookie(request, response, "")
    return response


async def _signed_in(request: Request, database: DatabaseOf, credential: Credential) -> Response:
    async with database.transaction(AS_GATEWAY) as connection:
        if (before := session_token(request)) is not None:
            await _close(request, connection, before)
        token = await open_session(connection, request.app.state.keys, credential)
        await record(connection, _actor(credential), [Event(Operation.CONSULTATION, "session.opened")])
    response = RedirectResponse("/", 303)
    _set_cookie(request, response, token)
    return response


async def _close(request: Request, connection: Transaction, token: str) -> None:
    keys = request.app.state.keys
    credential = await session_credential(connection, keys, token)
    await close_session(connection, keys, token)
    if credential is not None:
        await record(connection, _actor(credential), [Event(Operation.CONSULTATION, "session.closed")])


def _actor(credential: Credential) -> Actor:
    return Actor(credential.party, credential.id, request_id.get())


def _set_cookie(request: Request, response: Response, token: str) -> None:
    """Give the browser this session, or (empty) take it away. It keeps it until it is closed."""
    settings = request.app.state.settings
    response.set_cookie(
        cookie_name(settings),
        token,
        max_age=None if token else 0,
        httponly=True,
        samesite="strict",
        secure=is_secure(settings),
    )


def _refused(request: Request, kind: ProblemType, text: str, wait: float = 0.0) -> Response:
    request.scope[problems.SLUG_IN_SCOPE] = kind.slug
    response = _form(request, text, kind.status)
    if kind.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"  # RFC 9110 section 15.5.2; browsers show the page all the same
    if wait:
        response.headers["Retry-After"] = str(math.ceil(wait))
    return response


def _form(request: Request, error: str = "", status: int = 200) -> Response:
    hours = int(LIFETIME.total_seconds() // 3600)
    return pages.render("sign_in.html", request=request, status=status, error=error, hours=hours)
