"""`/v1/policy`: what an agency itself decides of its policy."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal, permit
from app.db import Connection
from app.errors import INVALID_BODY
from app.inbox.route import InboxRoute
from app.parties import own_policy as decisions
from app.parties.directory import DirectoryCache
from app.parties.own_policy import OwnPolicy
from app.parties.records import Directory
from app.web.database import Transaction
from app.web.docs import refusals
from app.web.json import json_response

router = APIRouter(route_class=InboxRoute, prefix="/v1/policy", tags=["partner agencies"])


class OwnPolicyView(OwnPolicy):
    """What holds now."""

    version: int = Field(description="How often the agency has changed it; 0: the broker's reference data holds.")


@router.get("", response_model=OwnPolicyView, summary="Read one's own policy")
@permit(Action.READ_POLICY)
async def read_policy(request: Request, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """What the agency itself can decide, as it holds now."""
    return json_response(_view(*await held(request, connection, principal)))


@router.put("", response_model=OwnPolicyView, responses=refusals(INVALID_BODY), summary="Decide one's own policy")
@permit(Action.MANAGE_POLICY)
async def put_policy(
    body: OwnPolicy, request: Request, principal: CurrentPrincipal, connection: Transaction
) -> Response:
    """A new version in place of all that was decided before, from now on; the same again changes nothing.

    No named addressee is ever refused: crime types bind the matrix, and an absence is told to whoever asks.
    """
    version = await put(request, connection, principal, body)
    return json_response(_view(version, body))


async def held(request: Request, connection: Connection, principal: Principal) -> tuple[int, OwnPolicy]:
    """The version and the policy that hold now for the caller's party."""
    found = await decisions.newest(connection, principal.party)
    if found is not None:
        return found
    cache: DirectoryCache = request.app.state.directory
    directory: Directory = await cache.get(connection)
    return 0, decisions.own_of(directory[principal.party].policy)


async def put(request: Request, connection: Connection, principal: Principal, body: OwnPolicy) -> int:
    """Make this the policy of the caller's party; returns its version."""
    _, before = await held(request, connection, principal)
    version = await decisions.decide(connection, principal.actor, before, body)
    cache: DirectoryCache = request.app.state.directory
    cache.forget()
    return version


def _view(version: int, policy: OwnPolicy) -> dict[str, Any]:
    return {**policy.model_dump(mode="json"), "version": version}
