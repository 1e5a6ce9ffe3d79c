"""Problem documents: every refusal as RFC 9457 `application/problem+json`, and the pages that explain each type."""

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.types import Scope

from app import errors
from app.db import is_away
from app.errors import PROBLEM_TYPES, Problem
from app.logs import request_id
from app.web import faults, pages

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1
"""What `Retry-After` says where a 429 or 503 names no time."""
SLUG_IN_SCOPE = "gain.problem"
"""Key of the ASGI scope under which an answer notes its problem type, for the log."""

router = APIRouter(include_in_schema=False)

_BY_STATUS = {
    400: errors.BAD_REQUEST,
    401: errors.CREDENTIAL_REQUIRED,
    403: errors.ROLE_NOT_ALLOWED,
    404: errors.NOT_FOUND,
    405: errors.METHOD_NOT_ALLOWED,
    406: errors.NOT_ACCEPTABLE,
    408: errors.BODY_TIMEOUT,
    413: errors.BODY_TOO_LARGE,
    415: errors.MEDIA_TYPE,
    429: errors.TOO_MANY_REQUESTS,
    503: errors.UNAVAILABLE,
}


def install(app: FastAPI) -> None:
    """Have this application answer its refusals as problem documents, and serve the pages about them."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(pages.Refused, _on_refused_page)
    app.include_router(router)


def of_error(error: Exception) -> Problem:
    """The refusal that an error which nobody handled becomes: 503 while the database is away, else 500."""
    if isinstance(error, Problem):
        return error
    return Problem(errors.UNAVAILABLE if is_away(error) else errors.INTERNAL)


def answer(problem: Problem, scope: Scope) -> Response:
    """The problem document as a response to the request of this ASGI scope."""
    kind = problem.kind
    scope[SLUG_IN_SCOPE] = kind.slug
    document = {
        "type": f"/problems/{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "request_id": request_id.get(),
        **problem.members,
    }
    if problem.errors:
        document["errors"] = problem.errors
    headers = {}
    if kind.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if problem.retry_after is not None or kind.status in (429, 503):
        headers["Retry-After"] = str(problem.retry_after or RETRY_SECONDS)
    headers |= problem.headers
    return Response(orjson.dumps(document), kind.status, headers, MEDIA_TYPE)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101  the handler is registered for it
    return answer(error, request.scope)


async def _on_refused_page(_: Request, error: Exception) -> Response:
    assert isinstance(error, pages.Refused)  # noqa: S101  the handler is registered for it
    return error.response


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's and the body guard's refusals. Their own `detail` is not passed on: it may quote the request."""
    assert isinstance(error, HTTPException)  # noqa: S101  the handler is registered for it
    return of_http_exception(error, request.scope)


def of_http_exception(error: HTTPException, scope: Scope) -> Response:
    """The answer to the request of this ASGI scope that such an error becomes."""
    if error.status_code < 400:
        return Response(status_code=error.status_code, headers=error.headers)
    kind = _BY_STATUS.get(error.status_code, errors.BAD_REQUEST if error.status_code < 500 else errors.INTERNAL)
    response = answer(Problem(kind), scope)
    response.headers.update(error.headers or {})
    if kind is errors.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = ", ".join(_methods(scope)) or response.headers.get("Allow", "")
    return response


def _methods(scope: Scope) -> list[str]:
    """Every method that the address takes. The framework tells those of the first of its routes only."""
    return _taken_by(scope, scope["path"]) or _taken_by(scope, path_template(scope))


def _taken_by(scope: Scope, path: str) -> list[str]:
    routes = iter_route_contexts(scope["app"].routes)
    found = (getattr(context.original_route, "methods", None) for context in routes if context.path == path)
    return sorted({method for methods in found for method in methods or ()})


def path_template(scope: Scope) -> str:
    """The whole path of the route that the request of this ASGI scope was led to, with its parameters' names."""
    # A route of an included router knows its whole path only through this context (FastAPI 0.165, fastapi/routing.py).
    context = scope.get("fastapi", {}).get("effective_route_context")
    return str(getattr(context, "path_format", "") or getattr(scope.get("route"), "path_format", ""))


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  the handler is registered for it
    problem = faults.problem_of(error.errors(), error.body)
    if problem.kind is errors.NOT_FOUND and _taken_by(request.scope, request.scope["path"]):
        # A word where another route has an id, as in GET of an address that takes POST only.
        return of_http_exception(HTTPException(405), request.scope)
    return answer(problem, request.scope)


@router.get("/problems", response_class=Response)
@router.get("/problems/", response_class=Response)
async def problem_index() -> Response:
    """Every kind of refusal on one page."""
    return pages.render("problems.html", kinds=sorted(PROBLEM_TYPES.values(), key=lambda kind: kind.status))


@router.get("/problems/{slug}", response_class=Response)
async def problem_page(slug: str) -> Response:
    """What one kind of refusal means, and what to do about it."""
    kind = PROBLEM_TYPES.get(slug)
    if kind is None:
        raise Problem(errors.NOT_FOUND)
    return pages.render("problem.html", kind=kind)
