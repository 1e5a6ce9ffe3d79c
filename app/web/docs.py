"""`/docs`: Swagger UI from this machine alone, and what the OpenAPI document says about refusals."""

from typing import Any

from fastapi import FastAPI, Response
from pydantic import BaseModel, Field

from app.errors import (
    BAD_REQUEST,
    BODY_TIMEOUT,
    BODY_TOO_LARGE,
    INVALID_BODY,
    INVALID_PARAMETER,
    NOT_FOUND,
    NOT_JSON,
    ProblemType,
)
from app.errors import (
    MEDIA_TYPE as MEDIA_TYPE_REFUSED,
)
from app.web import pages
from app.web.problems import MEDIA_TYPE

_BETWEEN = " · "
_REFERENCE = "#/components/schemas/{model}"


class Fault(BaseModel):
    """One thing wrong with a request."""

    pointer: str = Field(description="RFC 6901 into the body, or `query/…`, `path/…`, `header/…` for a parameter.")
    detail: str = Field(description="What is taken there. Never what was sent.")


class ProblemDocument(BaseModel):
    """A refusal (RFC 9457)."""

    type: str = Field(description="Path of a readable page about this kind of refusal.")
    title: str
    status: int
    detail: str = Field(description="What to do about it.")
    request_id: str = Field(description="Give it to the operator: it finds the request in the logs.")
    errors: list[Fault] = Field(default=[], description="Left out where nothing in the request is at fault.")


def refusals(*kinds: ProblemType) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI `responses` of a route that gives these refusals."""
    titles: dict[int | str, list[str]] = {}
    for kind in kinds:
        titles.setdefault(kind.status, []).append(kind.title)
    return {status: _refusal(_BETWEEN.join(told)) for status, told in titles.items()}


def mount_docs(app: FastAPI) -> None:
    """Serve `/docs`, and have `/openapi.json` tell refusals as they are. Make the app with `docs_url=None`."""

    async def docs() -> Response:
        page = pages.render("docs.html", openapi_url=app.openapi_url)
        # Swagger UI's style sheet holds its icons as data: URLs.
        policy = page.headers["Content-Security-Policy"].replace("img-src 'self'", "img-src 'self' data:")
        page.headers["Content-Security-Policy"] = policy
        return page

    app.add_api_route("/docs", docs, include_in_schema=False, response_class=Response)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_refusals(generate())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it


def add_refusals(operation: dict[str, Any], *kinds: ProblemType) -> None:
    """Have an operation of the document tell of these refusals besides those it tells of already."""
    answers = operation.setdefault("responses", {})
    for status, told in refusals(*kinds).items():
        known = answers.setdefault(str(status), told)
        titles = [*known["description"].split(_BETWEEN), *told["description"].split(_BETWEEN)]
        known["description"] = _BETWEEN.join(dict.fromkeys(titles))


def _with_refusals(document: dict[str, Any]) -> dict[str, Any]:
    """The document with problem documents in the place of FastAPI's own 422, for all that its form lets go wrong."""
    for path in document["paths"].values():
        for operation in path.values():
            answers = operation.get("responses", {})
            if "HTTPValidationError" in str(answers.get("422", "")):
                del answers["422"]
            add_refusals(operation, *_usual(operation))
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "query" and not parameter["required"]:
                    parameter["allowEmptyValue"] = True  # as if it were left out
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    own = ProblemDocument.model_json_schema(ref_template=_REFERENCE)
    schemas.update(own.pop("$defs"))
    schemas["ProblemDocument"] = own
    return document


def _usual(operation: dict[str, Any]) -> list[ProblemType]:
    """The refusals that every operation of this form gives."""
    kinds = []
    parameters = {parameter["in"] for parameter in operation.get("parameters", ())}
    if "path" in parameters:
        kinds.append(NOT_FOUND)
    if parameters - {"path"}:
        kinds.append(INVALID_PARAMETER)
    body = operation.get("requestBody", {}).get("content", {})
    if body:
        kinds += [BAD_REQUEST, BODY_TIMEOUT, BODY_TOO_LARGE, MEDIA_TYPE_REFUSED]
    if "application/json" in body:
        kinds += [NOT_JSON, INVALID_BODY]
    return kinds


def _refusal(description: str) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(model="ProblemDocument")}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}
