"""HTML pages: one jinja2 environment, always escaping, with no undefined name passing as empty."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from app.web import words

_HERE = Path(__file__).parent
_loader = FileSystemLoader([_HERE / "templates"])
_environment = Environment(
    loader=_loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_environment.filters |= {
    "moment": words.moment,
    "machine": words.machine,
    "clock": words.clock,
    "plain": words.plain,
}


def add_templates(folder: Path) -> None:
    """Let a door keep its templates beside its code; they can extend `base.html`."""
    if str(folder) not in _loader.searchpath:
        _loader.searchpath.append(str(folder))


def render(name: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """The page that this template makes of the context."""
    return HTMLResponse(text(name, **context), status)


def text(name: str, **context: Any) -> Markup:
    """What this template makes of the context, safe to stand in another template."""
    return Markup(_environment.get_template(name).render(context))  # nosec B704  # noqa: S704  every value in it was escaped


def mount_static(app: FastAPI) -> None:
    """Serve our style and scripts under /static, with the Swagger UI files of the fastapi-offline wheel beside them."""
    files = StaticFiles(directory=_HERE / "static", packages=[("fastapi_offline", "static")])
    app.mount("/static", files, name="static")
