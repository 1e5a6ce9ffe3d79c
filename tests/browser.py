"""A browser without scripts: it opens a page, fills in a form that it finds there, and sends all that form holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx

from app.access.forms import HEADER, token_of_session
from app.access.policy import Role
from app.access.sessions import session_id
from app.crypto.keys import Keys
from tests.conftest import SECRET, Cast

ORIGIN = {"Origin": "http://gain.test"}


@dataclass
class Form:
    """A form of a page: where it is sent to, and the values of its fields as they stand."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.found.append(Form(given.get("action") or ""))
        elif self.found and tag in ("input", "textarea", "select") and given.get("name") and _is_sent(given):
            self.found[-1].fields[str(given["name"])] = given.get("value") or ""


def _is_sent(given: Mapping[str, str | None]) -> bool:
    return given.get("type") not in ("radio", "checkbox") or "checked" in given


def forms(page: httpx.Response) -> list[Form]:
    """The forms of a page, but for the one in its header that signs out."""
    parser = _Forms()
    parser.feed(page.text)
    return [form for form in parser.found if form.action != "/sign-out"]


async def submit(
    browser: httpx.AsyncClient, path: str, fields: Mapping[str, str] | None = None, *, action: str = ""
) -> httpx.Response:
    """Open the page, fill in these fields of its form (of the one sent to `action`, where it has several), send it."""
    page = await browser.get(path)
    assert page.status_code == 200, (path, page.status_code, page.headers.get("location"))
    return await send(browser, page, path, fields, action=action)


async def send(
    browser: httpx.AsyncClient,
    page: httpx.Response,
    path: str,
    fields: Mapping[str, str] | None = None,
    *,
    action: str = "",
) -> httpx.Response:
    """Fill in and send a form of a page that is open already."""
    form = next(form for form in forms(page) if not action or form.action == action)
    unknown = set(fields or {}) - set(form.fields) - {"role"}
    assert not unknown, f"the form has no field {unknown}"
    return await browser.post(form.action or path, data={**form.fields, **(fields or {})})


async def signed_in(cast: Cast, party: str, role: Role | None = None) -> httpx.AsyncClient:
    """A browser just signed in with a new key of this party. Its requests carry its token in a header."""
    browser = cast.client(ORIGIN)
    answer = await submit(browser, "/sign-in/key", {"key": await cast.key(party, role)})
    assert answer.status_code == 303, answer.text
    carry_token(browser)
    return browser


def carry_token(browser: httpx.AsyncClient) -> None:
    """Let this browser's posts carry its session's token, as a script's would: a test may then post without a page."""
    keys = Keys(SECRET.encode())
    browser.headers[HEADER] = token_of_session(keys, session_id(keys, browser.cookies["gain"]))
