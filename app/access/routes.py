"""How a route says what it is: `@permit(action)` or `@public`. Without it the gateway does not start."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Request
from fastapi.routing import iter_route_contexts
from fastapi.staticfiles import StaticFiles
from starlette.routing import BaseRoute, Mount

from app.access.gate import Gate
from app.access.keys import Credential
from app.access.policy import Action, Relation
from app.access.principal import Principal
from app.access.purposes import StatedPurpose, stated
from app.errors import CREDENTIAL_REQUIRED, OUTSIDE_SCOPE, Problem
from app.logs import request_id
from app.web.routing import StrictRequest, StrictRoute

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
ATTRIBUTE = "gain_action"
"""Where an endpoint keeps what it declares."""
_PUBLIC = "public"


class UndeclaredRoutes(RuntimeError):
    """Routes without a declared permission; the text names them."""


def permit(action: Action) -> Callable[[Endpoint], Endpoint]:
    """Declare what an endpoint does; only roles that the policy gives the action get in."""

    def declare(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, ATTRIBUTE, action)
        return endpoint

    return declare


def public(endpoint: Endpoint) -> Endpoint:
    """Declare that anybody may call an endpoint."""
    setattr(endpoint, ATTRIBUTE, _PUBLIC)
    return endpoint


async def authenticate(request: Request, action: Action) -> None:
    """Set `request.state.principal`; `Problem` 401 for no or a bad credential, 403 where it may not do `action`."""
    credential = await _recognised(request)
    admit(request, credential, action)
    gate: Gate = request.app.state.gate
    reads_for(request, stated(request, action, credential.role, gate.roles_asked))


async def still_admitted(request: Request) -> None:
    """Raise `Problem` (401) where the credential of a request let in before is not in force any more."""
    gate: Gate = request.app.state.gate
    gate.check_place(request, await _recognised(request))


async def not_revoked(request: Request) -> None:
    """Raise `Problem` (401) where the key or the token of a request let in before was revoked since.

    A token whose time is over meanwhile may finish what it began: an upload may take longer than a token is good for.
    """
    gate: Gate = request.app.state.gate
    principal: Principal = request.state.principal
    standing = await gate.keys.standing(principal.credential)
    if standing is None or principal.token in standing.revoked:
        raise Problem(CREDENTIAL_REQUIRED)


def admit(request: Request, credential: Credential, action: Action) -> None:
    """Let a recognised caller in, or raise `Problem`: 401 for a wrong place, 429 for too many requests, 403."""
    gate: Gate = request.app.state.gate
    if credential.networks or credential.certificate is not None:
        gate.check_place(request, credential)
    gate.count(request, credential)
    principal = Principal(
        credential.party,
        credential.role,
        credential.id,
        request_id.get(),
        credential.token,
        person=credential.person,
        covers=gate.covers.of(credential.party, credential.role),
    )
    reached = principal.relation(action)
    if credential.scope is not None and action not in credential.scope and reached is not Relation.SELF:
        raise Problem(OUTSIDE_SCOPE)
    request.state.principal = principal
    request.state.behalf = principal.behalf


def reads_for(request: Request, purpose: StatedPurpose | None) -> None:
    """Have what the caller reads logged with this purpose."""
    if purpose is not None:
        request.state.principal = replace(request.state.principal, purpose=purpose)


def declared_action(endpoint: Callable[..., Any]) -> Action | None:
    """The action an endpoint declares, None for a public one. Raises `UndeclaredRoutes` where it declares nothing."""
    declared = getattr(endpoint, ATTRIBUTE, None)
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
            request.look = not_revoked


async def _recognised(request: Request) -> Credential:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Problem(CREDENTIAL_REQUIRED)
    gate: Gate = request.app.state.gate
    credential = await gate.bearer(text.strip())
    if credential is None:
        raise Problem(CREDENTIAL_REQUIRED)
    return credential


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
    declared = getattr(getattr(route, "endpoint", None), ATTRIBUTE, None)
    return declared == _PUBLIC or (isinstance(declared, Action) and isinstance(route, AccessRoute))
