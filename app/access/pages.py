"""Routes of the pages: a session's cookie says who the caller is, and a refusal is a page that a person can read."""

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app.access.routes import AccessRoute, admit, declared_action
from app.access.sessions import session_credential, session_id
from app.db import AS_GATEWAY, is_away
from app.errors import CROSS_SITE, ROLE_NOT_ALLOWED, UNAVAILABLE, Problem
from app.logs import logger, request_id
from app.settings import Settings
from app.web import faults, pages, problems
from app.web.database import database
from app.web.routing import StrictRequest

SIGN_IN = "/sign-in"
_SAFE = frozenset({"GET", "HEAD"})

log = logger()


class PageRoute(AccessRoute):
    """A route of a page. Without a session it leads to the sign-in page; a form is taken from our own pages only."""

    async def before_body(self, request: StrictRequest) -> None:
        """Recognise the caller by its session, set `request.state.principal` and `request.state.session`."""
        if request.method not in _SAFE:
            require_own_page(request)
        action = declared_action(self.endpoint)
        if action is None:
            return
        token = session_token(request)
        if token is None:
            raise _signed_out()
        keys = request.app.state.keys
        async with database(request).transaction(AS_GATEWAY) as connection:
            credential = await session_credential(connection, keys, token)
        if credential is None:
            raise _signed_out()
        request.state.session = session_id(keys, token)
        admit(request, credential, action)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with refusals made readable."""
        handle = super().get_route_handler()

        async def readable(request: Request) -> Response:
            try:
                response = await handle(request)
            except (Problem, RequestValidationError) as error:
                response = _refusal(request, error)
            except Exception as error:
                if not is_away(error):
                    raise
                log.warning("request failed", problem=UNAVAILABLE.slug, exc_info=error)
                response = _refusal(request, Problem(UNAVAILABLE))
            # With `no-referrer`, as elsewhere, a browser sends our own forms with `Origin: null`.
            response.headers["Referrer-Policy"] = "same-origin"
            return response

        return readable


def cookie_name(settings: Settings) -> str:
    """What the session's cookie is called. `__Host-` binds it to this host and to https (RFC 6265bis)."""
    return "__Host-gain" if is_secure(settings) else "gain"


def is_secure(settings: Settings) -> bool:
    """Whether browsers reach this gateway by https. Plain http is for a machine's own loopback."""
    return settings.url.startswith("https://")


def session_token(request: Request) -> str | None:
    """The session's cookie, if the request has one."""
    return request.cookies.get(cookie_name(request.app.state.settings))


def require_own_page(request: Request) -> None:
    """Raise `Problem` (403) unless the browser says that the request comes from one of our own pages.

    `Sec-Fetch-Site` says so on https and loopback; elsewhere `Origin` has to name the host asked, or the public URL's.
    """
    site = request.headers.get("sec-fetch-site")
    if site is None:
        hosts = {request.headers.get("host", ""), urlsplit(request.app.state.settings.url).netloc} - {""}
        own = urlsplit(request.headers.get("origin", "")).netloc in hosts
    else:
        own = site == "same-origin"
    if not own:
        raise Problem(CROSS_SITE)


def _signed_out() -> HTTPException:
    return HTTPException(303, headers={"Location": SIGN_IN})


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
