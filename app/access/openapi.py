"""What the OpenAPI document says of access: the credential that each operation needs, and how it is refused."""

from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.access.policy import POLICY, Action
from app.access.purposes import ASKED, HEADER, StatedPurpose
from app.access.routes import ATTRIBUTE
from app.errors import (
    CREDENTIAL_REQUIRED,
    INVALID_PARAMETER,
    PURPOSE_REQUIRED,
    ROLE_NOT_ALLOWED,
    TOO_MANY_REQUESTS,
    UNAVAILABLE,
)
from app.web.docs import add_refusals

SCHEME = "credential"

_SCHEMES = {
    SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key or a token from `POST /v1/token`; where the operator requires tokens, only that.",
    }
}

_PURPOSE = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Why you read this, for the log. Roles that the operator names must say so.",
    "schema": {"type": "string", "enum": list(StatedPurpose)},
}


def describe_access(app: FastAPI) -> None:
    """Have `/openapi.json` say which credential each operation needs, and which roles may use it."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _describe(generate(), _actions(app))
        return generate()

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend it


def _describe(document: dict[str, Any], actions: dict[tuple[str, str], Action]) -> None:
    document["components"]["securitySchemes"] = _SCHEMES
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            action = actions.get((method.upper(), path))
            if action is None:
                continue
            roles = ", ".join(f"{role} ({relation})" for role, relation in POLICY[action].items())
            operation["security"] = [{SCHEME: []}]
            operation["description"] = f"{operation.get('description', '')}\n\nFor: {roles}.".strip()
            if action in ASKED:
                operation.setdefault("parameters", []).append(_PURPOSE)
                add_refusals(operation, PURPOSE_REQUIRED, INVALID_PARAMETER)
            add_refusals(operation, CREDENTIAL_REQUIRED, ROLE_NOT_ALLOWED, TOO_MANY_REQUESTS, UNAVAILABLE)


def _actions(app: FastAPI) -> dict[tuple[str, str], Action]:
    """The action of every route that declares one, by method and path."""
    found = {}
    for context in iter_route_contexts(app.routes):
        action = getattr(getattr(context.original_route, "endpoint", None), ATTRIBUTE, None)
        if isinstance(action, Action):
            for method in getattr(context.original_route, "methods", None) or ():
                found[method, str(context.path)] = action
    return found
