"""What all ways to sign in have in common: attempts are counted, refusals say the same of everybody, sessions open."""

import math
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.access.accounts import lockout, people, steps
from app.access.accounts.lockout import Attempt
from app.access.accounts.people import Person
from app.access.accounts.steps import Stage, Step
from app.access.cookies import session_cookie, set_session_cookie, set_step_cookie
from app.access.gate import Gate
from app.access.keys import Credential
from app.access.navigation import ROLE_NAMES
from app.access.pages import HOME, leading, local
from app.access.policy import Role
from app.access.sessions import close_session, find_session, open_session, session_id
from app.audit.record import Actor, Event, Operation, record
from app.db import AS_GATEWAY, Connection
from app.errors import CREDENTIAL_REQUIRED, TOO_MANY_REQUESTS, ProblemType
from app.logs import request_id
from app.web import pages, problems
from app.web.database import database

pages.add_templates(Path(__file__).parent / "templates")

_NOBODY = "unknown"
"""Whom the log names where nobody is recognised."""

ROLE = "/sign-in/role"


def then_of(request: Request) -> str:
    """The page of ours that was asked for before signing in, or nothing. The address tells it from page to page.

    An OpenID provider does not bring it back: of whoever comes from there `request.state.then` tells it.
    """
    then = getattr(request.state, "then", "") or request.query_params.get("then", "")
    return local(then) if then else ""


def onward(request: Request, page: str) -> str:
    """The address of another page of signing in, which leads to the same in the end."""
    return leading(page, then_of(request))


@pages.add_context
def _onward(request: Request) -> Mapping[str, Any]:
    """What templates write for such an address: `onward("/sign-in")`."""
    return {"onward": partial(onward, request)}


def attempt_of(request: Request, username: str) -> Attempt:
    """An attempt of this request's to sign in under this name."""
    gate: Gate = request.app.state.gate
    return Attempt(username, gate.proxies.source(request))


async def begin_attempt(request: Request, attempt: Attempt) -> float:
    """Count an attempt; returns the seconds to wait before one may be made, 0 where it may be now.

    The one that locks a name is logged, whether or not somebody has that name.
    """
    async with database(request).transaction(AS_GATEWAY) as connection:
        wait, locks = await lockout.begin(connection, request.app.state.keys, attempt)
        if locks:
            person = await people.by_username(connection, attempt.username)
            await record(connection, actor_of(person), [Event(Operation.CONSULTATION, "session.locked_out")])
    return wait


def choices_of(roles: Iterable[Role]) -> list[tuple[str, str]]:
    """Roles to choose from, each with what a person calls it."""
    return [(role.value, ROLE_NAMES[role].capitalize()) for role in roles]


def waiting(wait: float) -> str:
    """How long to wait, in words."""
    minutes = math.ceil(wait / 60)
    return f"Too many attempts have failed. Try again in {minutes} minute{'s' * (minutes > 1)}."


def actor_of(person: Person | None) -> Actor:
    """Whom the log names."""
    return person.actor if person is not None else Actor(_NOBODY, _NOBODY, request_id.get())


async def tell_refusal(request: Request, actor: Actor, because: str) -> None:
    """Log that somebody was not let in."""
    async with database(request).transaction(AS_GATEWAY) as connection:
        event = Event(Operation.CONSULTATION, "session.refused", detail={"because": because})
        await record(connection, actor, [event])


def again(
    request: Request,
    template: str,
    errors: Mapping[str, str],
    *,
    kind: ProblemType = CREDENTIAL_REQUIRED,
    wait: float = 0.0,
    **context: Any,
) -> Response:
    """The form again, with what is wrong; of too many attempts with when to try again."""
    kind = TOO_MANY_REQUESTS if wait else kind
    request.scope[problems.SLUG_IN_SCOPE] = kind.slug
    response = pages.render(template, request=request, status=kind.status, errors=errors, **context)
    if kind.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"  # RFC 9110 section 15.5.2; browsers show the page all the same
    if wait:
        response.headers["Retry-After"] = str(math.ceil(wait))
    return response


async def begin_step(request: Request, connection: Connection, step: Step, page: str) -> Response:
    """Go on to the next page of a sign-in, which this browser alone can."""
    response = RedirectResponse(page, 303)
    set_step_cookie(request, response, await steps.begin(connection, request.app.state.keys, step))
    return response


async def enter(request: Request, connection: Connection, person: Person, by: str) -> Response:
    """Somebody has shown who they are: their session opens, or first they choose a role to act in."""
    if len(person.roles) > 1:
        return await begin_step(request, connection, Step(Stage.ROLE, person.id, {"by": by}), onward(request, ROLE))
    return await enter_as(request, connection, person, person.roles[0], by)


async def enter_as(request: Request, connection: Connection, person: Person, role: Role, by: str) -> Response:
    """Open a session of this person in this role, and go to the page asked for, or to its first."""
    credential = Credential(str(person.id), person.party, role, person=person.name)
    await people.note_sign_in(connection, person.id)
    return await open_for(request, connection, credential, by)


async def open_for(request: Request, connection: Connection, credential: Credential, by: str) -> Response:
    """Open a session for a credential just accepted, in place of any of this browser's; `by` is how it was shown."""
    await leave(request, connection)
    token = await open_session(connection, request.app.state.keys, credential)
    actor = Actor(credential.party, credential.id, request_id.get())
    detail = {"role": credential.role.value, "by": by}
    await record(connection, actor, [Event(Operation.CONSULTATION, "session.opened", detail=detail)])
    response = RedirectResponse(then_of(request) or HOME[credential.role], 303)
    set_session_cookie(request, response, token)
    set_step_cookie(request, response, "")
    return response


async def leave(request: Request, connection: Connection) -> None:
    """End the session of this browser, if it has one, and with it every page that is open on it."""
    token = session_cookie(request)
    if token is None:
        return
    keys = request.app.state.keys
    found = await find_session(connection, session_id(keys, token))
    await close_session(connection, keys, token)
    if found is not None:
        actor = Actor(found.credential.party, found.credential.id, request_id.get())
        await record(connection, actor, [Event(Operation.CONSULTATION, "session.closed")])
