"""`POST /v1/token`: OAuth 2.0 client credentials (RFC 6749 section 4.4); `/v1/token/revoke` (RFC 7009); the JWK set.

The client is a party's program and its secret an API key, sent by HTTP Basic, in the form, or as a bearer credential.
Whatever it gives as its id, the key alone says who it is.
A refusal is a problem document like every other, and has the members `error` and `error_description` besides.
"""

import base64
import binascii
import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.access.gate import Gate
from app.access.keys import Credential
from app.access.policy import Action, actions_of, scope_of
from app.access.routes import public
from app.access.tokens import LIFETIME_SECONDS, revoke_token
from app.audit.record import Actor, Event, Operation, record
from app.db import AS_GATEWAY
from app.errors import CREDENTIAL_REQUIRED, MEDIA_TYPE, TOKEN_REFUSED, TOO_MANY_REQUESTS, UNAVAILABLE, Problem
from app.logs import request_id
from app.web.database import DatabaseOf
from app.web.docs import refusals
from app.web.json import json_response
from app.web.routing import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["tokens"])

_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 20
_CLIENT_ID = re.compile(r"[ -~]{0,256}")
"""RFC 6749, appendix A.1. Nobody is known by it: libraries insist on sending one, and the key says whose it is."""


class TokenView(BaseModel):
    """A token (RFC 6749 section 5.1)."""

    access_token: str = Field(description="A JSON Web Token (RFC 9068), signed with a key of `/.well-known/jwks.json`.")
    token_type: str
    expires_in: int = Field(description="Seconds.")
    scope: str = Field(description="The actions it allows, with spaces between.")


class KeySet(BaseModel):
    """A JWK set (RFC 7517)."""

    keys: list[dict[str, str]]


def _form_of(**fields: Mapping[str, Any]) -> dict[str, Any]:
    """What OpenAPI says of a form with these fields, and those by which a client may authenticate."""
    text = {"type": "string"}
    name = {**text, "description": "Any: the key alone says whose it is."}
    secret = {**text, "description": "The API key, unless the Authorization header has it."}
    schema = {
        "type": "object",
        "properties": {**fields, "client_id": name, "client_secret": secret},
        "required": list(fields)[:1],
    }
    return {"requestBody": {"required": True, "content": {_FORM: {"schema": schema}}}}


_REFUSALS = refusals(TOKEN_REFUSED, CREDENTIAL_REQUIRED, MEDIA_TYPE, TOO_MANY_REQUESTS, UNAVAILABLE)


@router.post(
    "/v1/token",
    response_model=TokenView,
    responses=_REFUSALS,
    summary="Exchange a key for a token",
    openapi_extra=_form_of(
        grant_type={"type": "string", "enum": ["client_credentials"]},
        scope={"type": "string", "description": "Some of the key's actions; left out: all."},
    ),
)
@public
async def issue(request: Request, database: DatabaseOf) -> Response:
    """A token for ten minutes. Behind a proxy that vouches for the client's certificate it is bound to that.

    A refusal has the members `error` and `error_description` of RFC 6749 beside those of a problem document.
    """
    form = await _form(request)
    credential = await _client(request, form)
    if form.get("grant_type") != "client_credentials":
        given = "grant_type" in form
        raise _refusal("unsupported_grant_type" if given else "invalid_request", "Give grant_type=client_credentials.")
    gate: Gate = request.app.state.gate
    scope = _scope(credential, form.get("scope", ""))
    certificate = gate.proxies.certificate(request)
    token = gate.signer.sign(credential, scope, certificate)
    event = Event(Operation.CONSULTATION, "token.issued", detail={"bound": certificate is not None})
    async with database.transaction(AS_GATEWAY) as connection:
        await record(connection, _actor(credential), [event])
    document = {"access_token": token, "token_type": "Bearer", "expires_in": LIFETIME_SECONDS}  # nosec B105
    return json_response({**document, "scope": " ".join(sorted(scope))})


@router.post(
    "/v1/token/revoke",
    status_code=200,
    response_class=Response,
    responses=_REFUSALS,
    summary="Give a token up",
    openapi_extra=_form_of(
        token={"type": "string", "minLength": 1},
        token_type_hint={"type": "string"},
    ),
)
@public
async def revoke(request: Request, database: DatabaseOf) -> Response:
    """Within two seconds no gateway takes the token, and what is open on it ends. One that is not in force: 200."""
    form = await _form(request)
    credential = await _client(request, form)
    if not form.get("token"):
        raise _refusal("invalid_request", "Give the token.")
    gate: Gate = request.app.state.gate
    token = gate.signer.verified(form["token"])
    if token is None:
        return Response()
    if token.key != credential.id:
        raise _refusal("unauthorized_client", "Only the key that a token was made with can give it up.")
    event = Event(Operation.ALTERATION, "token.revoked", detail={"token": token.id})
    async with database.transaction(AS_GATEWAY) as connection:
        if await revoke_token(connection, token):
            await record(connection, _actor(credential), [event])
    return Response()


@router.get("/.well-known/jwks.json", response_model=KeySet, summary="The keys that tokens are verified with")
@public
async def jwks(request: Request) -> Response:
    """The public keys of this gateway (RFC 7517, RFC 8037)."""
    gate: Gate = request.app.state.gate
    return json_response(gate.signer.jwks(), headers={"Cache-Control": "public, max-age=300"})


async def _form(request: Request) -> dict[str, str]:
    """The form's fields, empty ones left out (RFC 6749 section 3.2). Raises `Problem`."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise Problem(MEDIA_TYPE, f"Send a form: `Content-Type: {_FORM}`.", members=_error("invalid_request"))
    try:
        pairs = parse_qsl((await request.body()).decode(), max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError:
        raise _refusal("invalid_request", "The form cannot be read.") from None
    if len(dict(pairs)) != len(pairs):
        raise _refusal("invalid_request", "Give each field once.")
    return dict(pairs)


async def _client(request: Request, form: Mapping[str, str]) -> Credential:
    """The key that the client authenticates with. Raises `Problem`: 400, 401 or 429."""
    gate: Gate = request.app.state.gate
    attempts, source = request.app.state.token_attempts, gate.proxies.source(request)
    if wait := attempts.left(source):
        raise Problem(TOO_MANY_REQUESTS, "Too many attempts have failed.", retry_after=math.ceil(wait))
    name, key = _presented(request, form)
    credential = await gate.keys.credential(key)
    if credential is None or not _CLIENT_ID.fullmatch(name):
        attempts.wait(source)
        raise _unknown_client()
    try:
        gate.check_place(request, credential)
    except Problem:
        raise _unknown_client() from None
    gate.count(request, credential)
    return credential


def _presented(request: Request, form: Mapping[str, str]) -> tuple[str, str]:
    """The client's name, which may be empty, and its key. Raises `Problem` where they are sent in two ways at once."""
    authorization = request.headers.get("authorization", "")
    if not authorization:
        return form.get("client_id", ""), form.get("client_secret", "").strip()
    if "client_secret" in form:
        raise _refusal("invalid_request", "Authenticate in one way: by the header or in the form.")
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return form.get("client_id", ""), text.strip()
    if scheme.lower() != "basic":
        raise _unknown_client()
    try:
        pair = base64.b64decode(text.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise _unknown_client() from None
    name, _, secret = pair.partition(":")
    return unquote_plus(name), unquote_plus(secret).strip()


def _scope(credential: Credential, asked: str) -> frozenset[Action]:
    """The actions asked for, or all that the key may. Raises `Problem` (400) for one that it may not."""
    allowed = actions_of(credential.role) if credential.scope is None else credential.scope
    if not asked:
        return allowed
    try:
        wanted = scope_of(credential.role, asked.split())
    except ValueError:
        wanted = frozenset()
    if not wanted or not wanted <= allowed:
        raise _refusal("invalid_scope", "Ask for actions that the key may do, or leave `scope` out.")
    return wanted


def _refusal(error: str, detail: str) -> Problem:
    return Problem(TOKEN_REFUSED, detail, members={**_error(error), "error_description": detail})


def _unknown_client() -> Problem:
    return Problem(CREDENTIAL_REQUIRED, members=_error("invalid_client"), headers={"WWW-Authenticate": "Basic"})


def _error(code: str) -> dict[str, str]:
    return {"error": code}


def _actor(credential: Credential) -> Actor:
    return Actor(credential.party, credential.id, request_id.get())
