"""The token that makes a form ours: bound to the session, or before there is one to a cookie of the sign-in pages.

Beside what the browser says of where a form comes from, each form carries one; templates write `{{ csrf() }}` into it.
A script sends the same in the header `X-CSRF-Token`.
"""

import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from markupsafe import Markup
from python_multipart.multipart import parse_options_header
from starlette.requests import Request
from starlette.responses import Response

from app.access.cookies import form_cookie, session_cookie, set_form_cookie
from app.access.sessions import session_id
from app.crypto.keys import Keys, Purpose
from app.errors import BAD_REQUEST, CROSS_SITE, Problem
from app.web import pages

FIELD, HEADER = "csrf", "x-csrf-token"
READS_OWN_FORM = "gain_reads_own_form"

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_NEW = "form_cookie"
"""Where a request keeps the cookie that it will be given."""


def token_of_session(keys: Keys, id: bytes) -> str:
    """The token of all forms of a session."""
    return _text(keys.digest(Purpose.FORM, b"session " + id))


def reads_own_form(endpoint: Endpoint) -> Endpoint:
    """Declare that an endpoint reads its form itself, such as a file piece by piece, and calls `check_token` first."""
    setattr(endpoint, READS_OWN_FORM, True)
    return endpoint


async def require_token(request: Request) -> None:
    """Raise `Problem`: 403 unless the form being sent carries the token of the browser's session, or of its cookie.

    The form is read here, once for the handler too. It holds no files: those would be written to the disk as they are.
    Nor does it hold NUL, which no column takes, or come in another coding than UTF-8 (400): codecs by other names make
    lone surrogates, fail in ways of their own, or take seconds.
    """
    if not _is_utf8(request):
        raise Problem(BAD_REQUEST)
    form = await request.form(max_files=0)
    check_token(request, request.headers.get(HEADER) or str(form.get(FIELD, "")))
    if any("\0" in value for _, value in form.multi_items() if isinstance(value, str)):
        raise Problem(BAD_REQUEST)


def check_token(request: Request, given: str) -> None:
    """Raise `Problem` (403) unless this is the token of the browser's session, or of its cookie."""
    if not any(hmac.compare_digest(given.encode(), token.encode()) for token in _tokens(request)):
        raise Problem(CROSS_SITE)


@pages.add_context
def form_token(request: Request) -> Mapping[str, Any]:
    """What templates write into each form: `csrf()`."""

    def csrf() -> Markup:
        token = next(iter(_tokens(request)), None) or _anonymous(request.app.state.keys, _new_cookie(request))
        return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, token)

    return {"csrf": csrf}


def give_cookie(request: Request, response: Response) -> None:
    """Have the browser keep the cookie that a form of this page is bound to, where it had none yet."""
    if (made := getattr(request.state, _NEW, None)) is not None:
        set_form_cookie(request, response, made)


def _tokens(request: Request) -> list[str]:
    """The tokens that this browser's forms may carry, the one to write into new ones first."""
    keys, found = request.app.state.keys, []
    if (session := session_cookie(request)) is not None:
        found.append(token_of_session(keys, session_id(keys, session)))
    if (cookie := form_cookie(request)) is not None:
        found.append(_anonymous(keys, cookie))
    return found


def _new_cookie(request: Request) -> str:
    made: str | None = getattr(request.state, _NEW, None)
    if made is None:
        made = secrets.token_urlsafe(16)
        setattr(request.state, _NEW, made)
    return made


def _anonymous(keys: Keys, cookie: str) -> str:
    return _text(keys.digest(Purpose.FORM, b"cookie " + cookie.encode()))


def _is_utf8(request: Request) -> bool:
    """Whether a form says of itself that it is UTF-8, or, as browsers do, nothing."""
    _, options = parse_options_header(request.headers.get("content-type"))
    return options.get(b"charset", b"utf-8").lower() in (b"utf-8", b"utf8")


def _text(digest: bytes) -> str:
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
