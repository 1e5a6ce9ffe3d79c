"""`/docs`: Swagger UI from this machine alone, and what the OpenAPI document says about refusals."""

from typing import Any

from fastapi import FastAPI, Response
from pydantic import BaseModel, Field

from app.errors import ProblemType
from app.web import pages
from app.web.envelope import CONTENT_SECURITY_POLICY
from app.web.problems import MEDIA_TYPE

# Swagger UI's style sheet holds its icons as data: URLs.
_POLICY = CONTENT_SECURITY_POLICY.replace("img-src 'self'", "img-src 'self' data:")
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
    return {status: _refusal(" · ".join(told)) for status, told in titles.items()}


def mount_docs(app: FastAPI) -> None:
    """Serve `/docs`, and have `/openapi.json` tell refusals as they are. Make the app with `docs_url=None`."""

    async def docs() -> Response:
        page = pages.render("docs.html", openapi_url=app.openapi_url)
        page.headers["Content-Security-Policy"] = _POLICY
        return page

    app.add_api_route("/docs", docs, include_in_schema=False, response_class=Response)
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_refusals(generate())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it


def _with_refusals(document: dict[str, Any]) -> dict[str, Any]:
    """The document with problem documents in the place of FastAPI's own 422."""
    for path in document["paths"].values():
        for operation in path.values():
            answers = operation.get("responses", {})
            if "HTTPValidationError" in str(answers.get("422", "")):
                del answers["422"]
            answers["default"] = _refusal("A refusal")
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    own = ProblemDocument.model_json_schema(ref_template=_REFERENCE)
    schemas.update(own.pop("$defs"))
    schemas["ProblemDocument"] = own
    return document


def _refusal(description: str) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(model="ProblemDocument")}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}
