"""HTML pages on the GOV.UK Design System: always escaping, with no undefined name passing as empty.

`docs/pages.md` tells how a door adds a page.
"""

import hashlib
import os
import secrets
from collections.abc import Callable, Mapping, MutableMapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from jinja2 import ChainableUndefined, Environment, FileSystemLoader, PackageLoader, PrefixLoader, StrictUndefined
from jinja2.environment import Template
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import PathLike, StaticFiles
from starlette.types import Scope

from app.logs import logger
from app.web import content_security, fields, words

_HERE = Path(__file__).parent
_STATIC = _HERE / "static"
_STYLES = "vendor/govuk.css"
_FOREIGN = "govuk_frontend_jinja"
_FOR_GOOD = "public, max-age=31536000, immutable"

_NOTHING = Markup()
_NO_ERRORS: Mapping[str, str] = {}

Context = Mapping[str, Any]
Provider = Callable[[Request], Context]

log = logger()


class Refused(Exception):
    """A refusal as a page. It is raised past the request's transaction, which is rolled back, and answered as it is."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def asset(name: str) -> str:
    """The address of a file under /static, with the mark of its content, so that a browser may keep it for good."""
    mark = _mark(name)
    return f"/static/{name}?v={mark}" if mark else f"/static/{name}"


@lru_cache
def _mark(name: str) -> str:
    file = _STATIC / name
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12] if file.is_file() else ""


class _Environment(Environment):
    """Ours. The macros of govuk-frontend-jinja take what is undefined for empty, and do so in their own files only."""

    _theirs = Environment(
        loader=PrefixLoader({_FOREIGN: PackageLoader(_FOREIGN)}), autoescape=True, undefined=ChainableUndefined
    )

    def get_template(
        self, name: str | Template, parent: str | None = None, globals: MutableMapping[str, Any] | None = None
    ) -> Template:
        """The template of this name; also what `extends`, `include` and `import` use."""
        if isinstance(name, str) and name.startswith(_FOREIGN):
            return self._theirs.get_template(name)
        return super().get_template(name, parent, globals)


_loader = FileSystemLoader([_HERE / "templates"])
_environment = _Environment(
    loader=_loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_environment.globals |= {"asset": asset, "told": fields.told, "choice": fields.choice}


@lru_cache(maxsize=8192)
def _stamp(at: datetime) -> Markup:
    """The attributes of a `<time>`. A page shows the same moments many times over, and again at the next look."""
    return Markup('datetime="{}" title="{}"').format(words.machine(at), words.moment(at))


_environment.filters |= {
    "stamp": _stamp,
    "moment": words.moment,
    "machine": words.machine,
    "clock": words.clock,
    "plain": words.plain,
}
_providers: list[Provider] = []


def add_templates(folder: Path) -> None:
    """Let a door keep its templates beside its code; they can extend `base.html`."""
    if str(folder) not in _loader.searchpath:
        _loader.searchpath.append(str(folder))


def add_context(provider: Provider) -> Provider:
    """Have every page that is rendered for a request know these names too; a later provider's stand. A decorator."""
    if provider not in _providers:
        _providers.append(provider)
    return provider


def render(name: str, *, request: Request | None = None, status: int = 200, **context: Any) -> HTMLResponse:
    """The page that this template makes of the context.

    With the request its header says who is signed in and what there is to go to, and its forms have their `csrf()`.
    Its scripts bear the `nonce` of this answer.
    """
    nonce = secrets.token_urlsafe(16)
    page = text(name, **{**_shared(request), **context, "nonce": nonce})
    return HTMLResponse(page, status, {"Content-Security-Policy": content_security.of_page(nonce)})


def confirm(
    request: Request,
    heading: str,
    *paragraphs: str,
    button: str,
    back: str,
    caption: str = "",
    fields: Markup = _NOTHING,
    reason: str | None = None,
    errors: Mapping[str, str] = _NO_ERRORS,
    warning: bool = False,
) -> HTMLResponse:
    """The page before a deed, whose button posts to the same address; with errors the same again, as 422.

    `reason` is what was given so far, None where none is asked for; `fields` stands above it (made by `text`).
    """
    return render(
        "confirm.html",
        request=request,
        status=422 if errors else 200,
        heading=heading,
        paragraphs=paragraphs,
        button=button,
        back=back,
        caption=caption,
        fields=fields,
        reason=reason,
        errors=errors,
        warning=warning,
    )


def text(name: str, **context: Any) -> Markup:
    """What this template makes of the context, safe to stand in another template."""
    return Markup(_environment.get_template(name).render(context))  # nosec B704  # noqa: S704  every value in it was escaped


def _shared(request: Request | None) -> dict[str, Any]:
    """What `base.html` needs, whoever asks."""
    shared: dict[str, Any] = {"signed_in": None, "navigation": (), "csrf": Markup}
    if request is not None:
        for provider in _providers:
            shared |= provider(request)
    return shared


class _Files(StaticFiles):
    """Files that a browser keeps for good where it asks for the content that they have, and else asks for again."""

    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """The file, or that it has not changed."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        name = Path(full_path)
        if name.is_relative_to(_STATIC) and _asks_for(scope, str(name.relative_to(_STATIC))):
            response.headers["Cache-Control"] = _FOR_GOOD
        return response


def _asks_for(scope: Scope, name: str) -> bool:
    """Whether this very content is asked for. A gateway of another version may be asked for what it has not."""
    return bool(scope["query_string"]) and scope["query_string"] == f"v={_mark(name)}".encode()


def mount_static(app: FastAPI) -> None:
    """Serve styles and scripts under /static, with the Swagger UI files of the fastapi-offline wheel beside ours."""
    if not (_STATIC / _STYLES).is_file():
        log.warning("the pages have no styles: `make setup` installs them; the API works without")
    app.mount("/static", _Files(directory=_STATIC, packages=[("fastapi_offline", "static")]), name="static")
