"""Puts everything that all doors share on an application, in the right order."""

from collections.abc import Mapping

from fastapi import FastAPI

from app.web import docs, health, pages, problems
from app.web.envelope import Envelope
from app.web.express import Express, Lanes
from app.web.guard import DRAIN, BodyGuard, BodyLimit


def install(
    app: FastAPI,
    limit: BodyLimit,
    larger: Mapping[str, BodyLimit] | None = None,
    *,
    drain: BodyLimit = DRAIN,
    lanes: Lanes | None = None,
    https: bool = False,
) -> None:
    """Problem documents, request ids, body guard, health, /docs and /static.

    `https` says that browsers reach it by that alone. Make the app with `docs_url=None, redoc_url=None,
    redirect_slashes=False`, and set `app.state.readiness`.
    """
    problems.install(app)
    app.include_router(health.router)
    docs.mount_docs(app)
    pages.mount_static(app)
    app.add_middleware(Express, lanes=lanes if lanes is not None else {})
    app.add_middleware(Envelope, https=https)
    # Outermost, so that an error's answer, too, waits until the client can read it.
    app.add_middleware(BodyGuard, limit=limit, larger=larger, drain=drain)
