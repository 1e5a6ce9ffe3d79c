"""How a route says what it is: `@permit(action)` or `@public`. Without it the gateway does not start."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Request
from fastapi.routing import iter_route_contexts
from fastapi.staticfiles import StaticFiles
from starlette.routing import BaseRoute, Mount

from app.access.keys import Credential, KeyChecker
from app.access.policy import Action
from app.access.principal import Principal
from app.errors import CREDENTIAL_REQUIRED, Problem
from app.logs import request_id
from app.web.routing import StrictRequest, StrictRoute

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
_ATTRIBUTE = "gain_action"
_PUBLIC = "public"


class UndeclaredRoutes(RuntimeError):
    """Routes without a declared permission; the text names them."""


def permit(action: Action) -> Callable[[Endpoint], Endpoint]:
    """Declare what an endpoint does; only roles that the policy gives the action get in."""

    def declare(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _ATTRIBUTE, action)
        return endpoint

    return declare


def public(endpoint: Endpoint) -> Endpoint:
    """Declare that anybody may call an endpoint."""
    setattr(endpoint, _ATTRIBUTE, _PUBLIC)
    return endpoint


async def authenticate(request: Request, action: Action) -> None:
    """Set `request.state.principal`; `Problem` 401 for no or a bad key, 403 for a role that may not do `action`."""
    credential = await _bearer(request)
    if credential is None:
        raise Problem(CREDENTIAL_REQUIRED)
    admit(request, credential, action)


def admit(request: Request, credential: Credential, action: Action) -> None:
    """Let a recognised caller in, or raise `Problem` 403."""
    principal = Principal(credential.party, credential.role, credential.id, request_id.get())
    principal.relation(action)
    request.state.principal = principal


def declared_action(endpoint: Callable[..., Any]) -> Action | None:
    """The action an endpoint declares, None for a public one. Raises `UndeclaredRoutes` where it declares nothing."""
    declared = getattr(endpoint, _ATTRIBUTE, None)
    if declared is None:
        raise UndeclaredRoutes(f"{endpoint.__name__} declares no permission")
    return declared if isinstance(declared, Action) else None


class AccessRoute(StrictRoute):
    """A route that recognises the caller by its key and checks its role before the body is read."""

    async def before_body(self, request: StrictRequest) -> None:
        """Authenticate and authorise."""
        action = declared_action(self.endpoint)
        if action is not None:
            await authenticate(request, action)


async def _bearer(request: Request) -> Credential | None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    checker: KeyChecker = request.app.state.key_checker
    return await checker.credential(key.strip())


# A coroutine function: any other FastAPI calls in a thread, which costs more than all else of a small request.
async def _principal(request: Request) -> Principal:
    found: Principal = request.state.principal
    return found


CurrentPrincipal = Annotated[Principal, Depends(_principal)]
"""The caller, in an endpoint of an `AccessRoute`."""


def require_declarations(app: FastAPI, open_paths: frozenset[str]) -> None:
    """Raise `UndeclaredRoutes` where a route declares no action, or declares one that it does not enforce.

    `open_paths` are the addresses of the storeys below this one, which anybody may read: health, documentation.
    """
    undeclared = [
        str(context.path)
        for context in iter_route_contexts(app.routes)
        if context.path not in open_paths and not _is_declared(context.original_route)
    ]
    if undeclared:
        raise UndeclaredRoutes(f"routes without a declared permission: {', '.join(sorted(undeclared))}")


def _is_declared(route: BaseRoute) -> bool:
    if isinstance(route, Mount):
        return isinstance(route.app, StaticFiles)
    declared = getattr(getattr(route, "endpoint", None), _ATTRIBUTE, None)
    return declared == _PUBLIC or (isinstance(declared, Action) and isinstance(route, AccessRoute))
