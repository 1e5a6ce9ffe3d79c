"""Routes of the pages: a session's cookie says who the caller is, and a refusal is a page that a person can read.

A form is taken from our own pages only, by what the browser says and by its token. A route that declares `@step_up`
asks whoever has not shown who they are for five minutes to do so again. Whose role must say why it reads
(`GAIN_PURPOSE_ROLES`) says so once a session, before the first page.
"""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from urllib.parse import SplitResult, quote, urlsplit

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app.access.cookies import session_cookie
from app.access.forms import READS_OWN_FORM, give_cookie, require_token
from app.access.gate import Gate
from app.access.policy import Action, Relation, Role, relation
from app.access.routes import AccessRoute, admit, declared_action, reads_for
from app.access.sessions import SignedIn, session_id, use_session
from app.db import AS_GATEWAY, is_away
from app.errors import BAD_REQUEST, CROSS_SITE, NOT_FOUND, ROLE_NOT_ALLOWED, UNAVAILABLE, Problem
from app.logs import logger, request_id
from app.web import faults, pages, problems
from app.web.database import database
from app.web.routing import StrictRequest

SIGN_IN, CONFIRM, PURPOSE = "/sign-in", "/account/confirm", "/account/purpose"
_ROOT = "/"

HOME: dict[Role, str] = {
    Role.ORIGINATOR: "/my-referrals",
    Role.AGENCY: "/my-inbox",
    Role.COORDINATOR: _ROOT,
    Role.NATIONAL: _ROOT,
    Role.AUDITOR: "/log",
    Role.ADMINISTRATOR: "/account",
}
"""The first page of each role; `/` leads there."""

_SAFE = frozenset({"GET", "HEAD"})
_STEP_UP = "gain_step_up"
_UNATTENDED = "gain_unattended"

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

log = logger()


def step_up(endpoint: Endpoint) -> Endpoint:
    """Declare that a page's endpoint is only for whoever has shown who they are within the last five minutes.

    Anybody else is led to show it, and back. Put it on the page with the form as well as on what the form is sent to.
    """
    setattr(endpoint, _STEP_UP, True)
    return endpoint


def unattended(endpoint: Endpoint) -> Endpoint:
    """Declare that a request is made by a page and not by a person, such as a stream's: it keeps no session alive."""
    setattr(endpoint, _UNATTENDED, True)
    return endpoint


class PageRoute(AccessRoute):
    """A route of a page. Without a session it leads to sign-in, and back; a form is taken from our own pages only."""

    async def before_body(self, request: StrictRequest) -> None:
        """Recognise the caller by its session.

        Sets `request.state.principal`, `request.state.session` (its id) and `request.state.signed_in`.
        """
        request.keeps_empty = True
        changes = request.method not in _SAFE
        if changes:
            require_own_page(request)
        action = declared_action(self.endpoint)
        if action is not None:
            signed_in = await self._signed_in(request)
            role = signed_in.credential.role
            if request.url.path == _ROOT and relation(role, action) is None:
                raise HTTPException(303, headers={"Location": HOME[role]})
            admit(request, signed_in.credential, action)
            reads_for(request, signed_in.purpose)
            if signed_in.purpose is None and _must_say_why(request, role, action):
                raise HTTPException(303, headers={"Location": leading(PURPOSE, _asked(request))})
            if getattr(self.endpoint, _STEP_UP, False) and not signed_in.is_confirmed:
                raise HTTPException(303, headers={"Location": leading(CONFIRM, _asked(request))})
            request.look = _still_signed_in
        _refuse_nul(request)
        if changes and not getattr(self.endpoint, READS_OWN_FORM, False):
            await require_token(request)

    async def _signed_in(self, request: Request) -> SignedIn:
        token, unattended = session_cookie(request), getattr(self.endpoint, _UNATTENDED, False)
        back = _ROOT if unattended else _asked(request)  # a stream is no page to come back to
        if token is None:
            raise _signed_out(back)
        request.state.session = id = session_id(request.app.state.keys, token)
        async with database(request).transaction(AS_GATEWAY) as connection:
            found = await use_session(connection, id, note=not unattended)
        if found is None:
            raise _signed_out(back)
        request.state.signed_in = found
        return found

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with refusals made readable."""
        handle = super().get_route_handler()

        async def readable(request: Request) -> Response:
            try:
                return _finished(request, await handle(request))
            except (Problem, RequestValidationError) as error:
                refusal = _refusal(request, error)
            except Exception as error:
                if not is_away(error):
                    raise
                log.warning("request failed", problem=UNAVAILABLE.slug, exc_info=error)
                refusal = _refusal(request, Problem(UNAVAILABLE))
            raise pages.Refused(_finished(request, refusal))

        return readable


def _finished(request: Request, response: Response) -> Response:
    """With what every page carries. With `no-referrer`, as elsewhere, a browser sends our forms with `Origin: null`."""
    response.headers["Referrer-Policy"] = "same-origin"
    give_cookie(request, response)
    return response


def _refuse_nul(request: Request) -> None:
    """Raise `Problem` where the address holds NUL, which no column takes: 404 in its path, 400 in its query."""
    if "\0" in request.scope["path"]:
        raise Problem(NOT_FOUND)
    if b"%00" in request.scope["query_string"]:
        raise Problem(BAD_REQUEST)


def require_own_page(request: Request) -> None:
    """Raise `Problem` (403) unless the browser says that the request comes from one of our own pages.

    `Sec-Fetch-Site` says so on https and loopback; elsewhere `Origin` has to name the host asked, or the public URL's.
    """
    site = request.headers.get("sec-fetch-site")
    origin = _parts(request.headers.get("origin", "")).netloc
    own = origin in _hosts(request) if site is None else site == "same-origin"
    if not own:
        raise Problem(CROSS_SITE)


def local(address: str) -> str:
    """This address where it is a plain path of ours; otherwise the first page: nobody is led elsewhere."""
    plain = address.startswith("/") and not address.startswith("//") and address.isascii() and address.isprintable()
    return address if plain and "\\" not in address and len(address) <= 500 else _ROOT


def leading(page: str, then: str) -> str:
    """The address of a page that leads on to another, a plain path of ours; of the page alone where that is empty."""
    return f"{page}?then={quote(then, safe='/')}" if then else page


def _must_say_why(request: Request, role: Role, action: Action) -> bool:
    gate: Gate = request.app.state.gate
    return role in gate.roles_asked and relation(role, action) is not Relation.SELF


def _asked(request: Request) -> str:
    """The page that was asked for, or the one whose form was sent."""
    back = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
    if request.method not in _SAFE:
        referer = _parts(request.headers.get("referer", ""))
        back = referer._replace(scheme="", netloc="").geturl() if referer.netloc in _hosts(request) else _ROOT
    return local(back)


def _parts(address: str) -> SplitResult:
    """The parts of an address; all empty where it cannot be read as one."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _hosts(request: Request) -> set[str]:
    return {request.headers.get("host", ""), urlsplit(request.app.state.settings.url).netloc} - {""}


async def _still_signed_in(request: Request) -> None:
    """Lead to the sign-in page where the session of a request let in before is over since, or in another role.

    Who sends something long uses the session for as long.
    """
    signed_in: SignedIn = request.state.signed_in
    async with database(request).transaction(AS_GATEWAY) as connection:
        found = await use_session(connection, signed_in.id)
    if found is None or found.reader != signed_in.reader:
        raise _signed_out(_asked(request))


def _signed_out(back: str) -> HTTPException:
    """To sign in, and back; but the first page is whoever signs in's."""
    return HTTPException(303, headers={"Location": leading(SIGN_IN, "" if back == _ROOT else back)})


def _refusal(request: Request, error: Problem | RequestValidationError) -> Response:
    problem = error if isinstance(error, Problem) else faults.problem_of(error.errors(), error.body)
    request.scope[problems.SLUG_IN_SCOPE] = problem.kind.slug
    response = pages.render(
        "refusal.html",
        request=request,
        status=problem.kind.status,
        kind=problem.kind,
        detail=problem.detail,
        may_sign_out=problem.kind is ROLE_NOT_ALLOWED,
        request_id=request_id.get(),
    )
    if problem.kind.status in (429, 503):
        response.headers["Retry-After"] = str(problem.retry_after or problems.RETRY_SECONDS)
    return response
