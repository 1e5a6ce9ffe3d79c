"""The register of keys, for administrators: list, issue, rotate, revoke. A key itself is shown once, to its issuer."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field, StrictInt, StringConstraints

from app import clock
from app.access import register
from app.access.keys import Asking, KeyRefused, Terms
from app.access.policy import Action, Role
from app.access.principal import Principal
from app.access.register import Issued, Issuer
from app.access.routes import AccessRoute, CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.crypto.keys import Purpose
from app.crypto.sameness import sameness
from app.db import Connection
from app.errors import BAD_CURSOR, INVALID_BODY, NOT_FOUND, STATE_CONFLICT, Problem
from app.referrals.documents import Document, PartyCode
from app.web import cursor as cursors
from app.web.database import Transaction
from app.web.docs import refusals
from app.web.idempotency import REPLAYED, IdempotencyKey
from app.web.json import json_response
from app.web.numbers import WHOLE

router = APIRouter(route_class=AccessRoute, prefix="/v1/keys", tags=["administrators"])

KeyId = Annotated[str, Path(pattern=r"^[0-9A-Za-z]{12}$")]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")]
NetworkText = Annotated[str, StringConstraints(min_length=1, max_length=50)]
Label = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]

_LONGEST_DAYS = 3650


class NewKey(Document):
    """What a key is for. Without a role it has its party's first one; without a scope it may all that its role may."""

    party: PartyCode
    role: Role | None = None
    label: Label = ""
    scope: Annotated[list[Word], Field(max_length=50)] = Field(default=[], description="Actions, or `read`.")
    networks: Annotated[list[NetworkText], Field(max_length=50)] = Field(default=[], description="In CIDR.")
    expires_in_days: Annotated[StrictInt, Field(ge=1, le=_LONGEST_DAYS), WHOLE] | None = None


class Rotation(Document):
    """How long the key that is replaced goes on being accepted."""

    overlap_hours: Annotated[StrictInt, Field(ge=0, le=24 * 90), WHOLE] = int(register.OVERLAP.total_seconds() // 3600)


class KeyView(BaseModel):
    """A key in the register."""

    id: str
    party: str
    role: Role
    label: str
    scope: list[str] | None = Field(description="The actions it is limited to; null: all of its role.")
    networks: list[str] | None = Field(description="The networks it is taken from; null: any.")
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To within half a minute.")
    revoked_at: datetime | None
    replaces: str | None = Field(description="The key it was rotated from.")


class NewKeyView(KeyView):
    """A key just made."""

    key: str | None = Field(description="The key itself, this once; null where the request is a repetition.")


class KeyPage(BaseModel):
    """A page of the register."""

    items: list[KeyView]
    next: str | None


@router.get("", response_model=KeyPage, responses=refusals(BAD_CURSOR), summary="List keys, newest first")
@permit(Action.READ_KEYS)
async def read_page(
    principal: CurrentPrincipal,
    connection: Transaction,
    party: PartyCode | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """One page of the register, revoked keys included."""
    query = register.listed(party, after=_position(party, cursor)).limit(limit + 1)
    rows = [dict(row._mapping) for row in await connection.execute(query)]
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        following = cursors.encode((party,), [last["created_at"].isoformat(), last["id"]])
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "keys.listed")])
    return json_response({"items": rows[:limit], "next": following})


@router.get("/{id}", response_model=KeyView, responses=refusals(NOT_FOUND), summary="Look a key up")
@permit(Action.READ_KEYS)
async def read(id: KeyId, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """What the register holds of one key."""
    found = await _found(connection, id)
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "key.read", detail={"key": id})])
    return json_response(found)


@router.post("", status_code=201, response_model=NewKeyView, responses=refusals(INVALID_BODY), summary="Issue a key")
@permit(Action.MANAGE_KEYS)
async def issue(
    body: NewKey,
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Answers with the key, which is shown this once: only a keyed hash of it is kept."""
    expires_at = None if body.expires_in_days is None else clock.now() + timedelta(days=body.expires_in_days)
    terms = Terms(body.scope, body.networks, expires_at, body.label)
    asking = _asking(request, principal, idempotency_key, {"issue": body.model_dump(mode="json")})
    try:
        issued = await _issuer(request, principal).issue(connection, body.party, body.role, terms, asking)
    except KeyRefused as refusal:
        fault = {"pointer": f"/{refusal.field}", "detail": _ADVICE[refusal.field]}
        raise Problem(INVALID_BODY, errors=[fault]) from None
    return await _made(connection, issued)


@router.post(
    "/{id}/rotation",
    status_code=201,
    response_model=NewKeyView,
    responses=refusals(NOT_FOUND, STATE_CONFLICT),
    summary="Give a key a successor",
)
@permit(Action.MANAGE_KEYS)
async def rotate(
    id: KeyId,
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    body: Rotation | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """A new key on the same terms; the old one is accepted for `overlap_hours` more. No more than two are alive."""
    asked = body or Rotation()
    asking = _asking(request, principal, idempotency_key, {"rotate": id, "body": asked.model_dump(mode="json")})
    try:
        issued = await _issuer(request, principal).rotate(connection, id, timedelta(hours=asked.overlap_hours), asking)
    except KeyRefused as refusal:
        raise Problem(STATE_CONFLICT, f"{str(refusal)[0].upper()}{str(refusal)[1:]}.") from None
    if issued is None:
        raise Problem(NOT_FOUND)
    return await _made(connection, issued)


@router.post("/{id}/revocation", response_model=KeyView, responses=refusals(NOT_FOUND), summary="Revoke a key")
@permit(Action.MANAGE_KEYS)
async def revoke(id: KeyId, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """Within two seconds no gateway takes it, nor a token or session made with it. Repeatable."""
    await register.revoke(connection, principal.actor, id)
    return json_response(await _found(connection, id))


_ADVICE: Mapping[str, str] = {
    "party": "Give the code of a party.",
    "role": "Give a role that a key of this party may have.",
    "scope": "Give actions of the role, as docs/access.md lists them, or `read`.",
    "networks": "Give networks like 10.4.0.0/16 or 2001:db8::/32.",
}
"""What is taken, by the field a key was refused for; what was sent is not repeated."""


def _issuer(request: Request, principal: Principal) -> Issuer:
    return Issuer(principal.actor, request.app.state.keys, request.app.state.settings.mark)


def _asking(
    request: Request, principal: Principal, idempotency_key: str | None, meaning: dict[str, Any]
) -> Asking | None:
    if idempotency_key is None:
        return None
    keys = request.app.state.keys
    digest = keys.digest(Purpose.IDEMPOTENCY, f"keys {principal.party} {idempotency_key}".encode())
    return Asking(digest, sameness(keys, meaning))


async def _found(connection: Connection, id: str) -> dict[str, Any]:
    row = await register.find(connection, id)
    if row is None:
        raise Problem(NOT_FOUND)
    return dict(row._mapping)


async def _made(connection: Connection, issued: Issued) -> Response:
    document = {**await _found(connection, issued.id), "key": issued.key}
    headers = {"Location": f"/v1/keys/{issued.id}", **(REPLAYED if issued.key is None else {})}
    return json_response(document, status=201, headers=headers)


def _position(party: str | None, cursor: str | None) -> tuple[datetime, str] | None:
    if cursor is None:
        return None
    try:
        at, id = cursors.decode((party,), cursor)
        return datetime.fromisoformat(str(at)), str(id)
    except ValueError:
        raise Problem(BAD_CURSOR) from None
