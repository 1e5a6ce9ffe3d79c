"""The cookies of the pages: the session's, that of a sign-in under way, and that of the forms before there is either.

Over https each is a `__Host-` cookie (RFC 6265bis): of this host alone, and never sent in the clear. Browsers keep them
until they are closed, scripts cannot read them. What they stand for is on the server.
"""

from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from app.settings import Settings

_SESSION, _STEP, _FORM = "gain", "gain-sign-in", "gain-form"


def cookie_name(settings: Settings) -> str:
    """What the session's cookie is called."""
    return _named(settings, _SESSION)


def is_secure(settings: Settings) -> bool:
    """Whether browsers reach this gateway by https. Plain http is for a machine's own loopback."""
    return settings.url.startswith("https://")


def session_cookie(request: Request) -> str | None:
    """The session's cookie, if the request has one."""
    return _get(request, _SESSION)


def set_session_cookie(request: Request, response: Response, token: str) -> None:
    """Give the browser this session, or (empty) take it away."""
    _set(request, response, _SESSION, token, "strict")


def step_cookie(request: Request) -> str | None:
    """The cookie of a sign-in under way."""
    return _get(request, _STEP)


def set_step_cookie(request: Request, response: Response, token: str) -> None:
    """Give the browser this sign-in, or (empty) take it away. It comes back from an OpenID provider: so `lax`."""
    _set(request, response, _STEP, token, "lax")


def form_cookie(request: Request) -> str | None:
    """The cookie that forms are bound to where nobody is signed in."""
    return _get(request, _FORM)


def set_form_cookie(request: Request, response: Response, token: str) -> None:
    """Give the browser that cookie."""
    _set(request, response, _FORM, token, "strict")


def _named(settings: Settings, name: str) -> str:
    return f"__Host-{name}" if is_secure(settings) else name


def _get(request: Request, name: str) -> str | None:
    return request.cookies.get(_named(request.app.state.settings, name)) or None


def _set(request: Request, response: Response, name: str, value: str, same_site: Literal["lax", "strict"]) -> None:
    settings = request.app.state.settings
    response.set_cookie(
        _named(settings, name),
        value,
        max_age=None if value else 0,
        httponly=True,
        samesite=same_site,
        secure=is_secure(settings),
    )
