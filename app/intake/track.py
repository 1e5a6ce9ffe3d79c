"""Following a referral: read one, page through them, read its answers and its timeline, take it back."""

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator

from app.access.policy import Action, Relation
from app.access.principal import Principal
from app.access.routes import AccessRoute, CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.db import Connection
from app.errors import BAD_CURSOR, DISPOSED, NOT_FOUND, STATE_CONFLICT, Problem
from app.intake.views import EventPage, ReferralPage, ResponsePage, TombstoneView
from app.referrals import lifecycle, queries
from app.referrals.documents import Document, Moment, Paragraph, PartyCode
from app.referrals.idempotency import Asked, first_time
from app.referrals.queries import Filters
from app.referrals.shown import ReferralView
from app.referrals.states import ReferralState
from app.web import cursor as cursors
from app.web.database import Transaction
from app.web.docs import refusals
from app.web.idempotency import REPLAYED, IdempotencyKey
from app.web.json import json_response

router = APIRouter(route_class=AccessRoute, prefix="/v1/referrals", tags=["originators"])

_MOST = 500


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999") from None


UtcTime = Annotated[Moment, AfterValidator(_utc)]


class Cancellation(Document):
    """The body of `POST /v1/referrals/{id}/cancel`."""

    reason: Paragraph


@router.get("", response_model=ReferralPage, responses=refusals(BAD_CURSOR), summary="List referrals, newest first")
@permit(Action.READ_REFERRAL)
async def read_page(
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    state: ReferralState | None = None,
    agency: PartyCode | None = None,
    updated_since: UtcTime | None = None,
    limit: Annotated[int, Query(ge=1, le=_MOST)] = 50,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """One page of the referrals the caller may see. `next` leads to the next page of the same pass.

    `updated_since` finds what became of a referral: an answer, a question, dispatches made or ended without an answer,
    its being held, released, completed, cancelled or rejected, a reply to a question, a new due time, the release of a
    single dispatch. An agency's first look at an item and its acknowledgement do not count, nor does a reminder: they
    show in `GET /v1/referrals/{id}` and its `/events`.

    With `updated_since` only what no running transaction can still precede is shown, and on later pages nothing newer
    than on the first, so that the latest `updated_at` of a pass is a safe starting point for the one after.
    """
    filters = (principal.party, state, agency, updated_since)
    after, settled = _position(filters, cursor)
    if updated_since is not None and settled is None:
        settled = await queries.settled_before(connection)
    items = await queries.page(
        connection,
        queries.visible(principal, Action.READ_REFERRAL),
        Filters(state, agency, updated_since, settled, after, limit + 1),
    )
    following = None
    if len(items) > limit:
        position = [str(items[limit - 1]["id"])] + ([settled.isoformat()] if settled else [])
        following = cursors.encode(filters, position)
    items = items[:limit]
    # An empty list is a consultation too: it says that there is nothing.
    await record(
        connection,
        principal.actor,
        [Event(Operation.CONSULTATION, "referrals.listed", detail={"ids": [str(item["id"]) for item in items]})],
    )
    headers = {}
    if following:
        query = urlencode([*_narrowing(request), ("cursor", following)])
        headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
    return json_response({"items": items, "next": following}, headers=headers)


@router.get(
    "/{id}", response_model=ReferralView | TombstoneView, responses=refusals(NOT_FOUND), summary="Read a referral"
)
@permit(Action.READ_REFERRAL)
async def read(id: UUID, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """The referral as it is now, with a dispatch for every body asked; its tombstone once it was disposed of."""
    referral = await _seen(connection, principal, id, Action.READ_REFERRAL)
    await queries.shown(connection, principal, id)
    return json_response(referral)


@router.get(
    "/{id}/responses",
    response_model=ResponsePage,
    responses=refusals(NOT_FOUND, DISPOSED),
    summary="Read the answers",
)
@permit(Action.READ_RESPONSES)
async def read_responses(id: UUID, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """Every answer and question to the referral, oldest first.

    Who oversees it has among them what is kept as evidence, and each with its `flag`: null, `late` where its dispatch
    had ended, `conflict` where it differs from the one that counts.
    """
    await _read(connection, principal, id, Action.READ_RESPONSES)
    oversees = principal.relation(Action.READ_RESPONSES) is not Relation.OWN
    items = await queries.responses(connection, id, flagged=oversees)
    await record(connection, principal.actor, [_answers_read(id, principal, [str(item["id"]) for item in items])])
    return json_response({"items": items, "next": None})


def _answers_read(referral_id: UUID, principal: Principal, ids: list[str]) -> Event:
    """What the log keeps: a disclosure of these answers, or a look that found none."""
    if not ids:
        return Event(Operation.CONSULTATION, queries.RESPONSES_READ, referral_id)
    recipients = [principal.party]
    return Event(Operation.DISCLOSURE, queries.RESPONSES_READ, referral_id, None, recipients, {"ids": ids})


@router.get("/{id}/events", response_model=EventPage, responses=refusals(NOT_FOUND), summary="Read the timeline")
@permit(Action.READ_REFERRAL)
async def read_events(id: UUID, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """What happened to the referral, oldest first; after it was disposed of, too."""
    await _seen(connection, principal, id, Action.READ_REFERRAL)
    items = await queries.events(connection, id, principal.relation(Action.READ_REFERRAL))
    await record(connection, principal.actor, [Event(Operation.CONSULTATION, "referral.timeline_read", id)])
    return json_response({"items": items, "next": None})


@router.post(
    "/{id}/cancel",
    response_model=ReferralView,
    responses=refusals(NOT_FOUND, STATE_CONFLICT, DISPOSED),
    summary="Take a referral back",
)
@permit(Action.CANCEL_REFERRAL)
async def cancel(
    id: UUID,
    body: Cancellation,
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Cancel the referral and every open dispatch. Repeating it gives the same answer."""
    referral = await _read(connection, principal, id, Action.CANCEL_REFERRAL)
    asked = Asked(principal.party, id, "cancel", body.model_dump(mode="json"))
    if not await first_time(connection, request.app.state.keys, idempotency_key, asked):
        await queries.shown(connection, principal, id)
        return json_response(referral, headers=REPLAYED)
    cancelled = await lifecycle.cancel(connection, principal.actor, id, body.reason)
    referral = await _read(connection, principal, id, Action.CANCEL_REFERRAL)
    if not cancelled and referral["state"] != ReferralState.CANCELLED:
        raise Problem(
            STATE_CONFLICT, f"It is {referral['state'].replace('_', ' ')}; only an open one can be cancelled."
        )
    await queries.shown(connection, principal, id)
    return json_response(referral)


async def _seen(connection: Connection, principal: Principal, id: UUID, action: Action) -> dict[str, Any]:
    """The referral or its tombstone."""
    referral = await queries.get(connection, queries.visible(principal, action), id)
    if referral is None:
        raise Problem(NOT_FOUND)
    return referral


async def _read(connection: Connection, principal: Principal, id: UUID, action: Action) -> dict[str, Any]:
    """The referral with its content. Raises `Problem` (410) where it was disposed of."""
    referral = await queries.whole(connection, queries.visible(principal, action), id)
    if referral is None:
        raise Problem(NOT_FOUND)
    return referral


def _narrowing(request: Request) -> list[tuple[str, str]]:
    """The query of this page but for its cursor."""
    return [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]


def _position(
    filters: tuple[str, ReferralState | None, str | None, datetime | None], cursor: str | None
) -> tuple[UUID | None, datetime | None]:
    """The id that the page before ended with, and the moment up to which its pass shows updates."""
    if cursor is None:
        return None, None
    position = cursors.decode(filters, cursor)
    try:
        after = UUID(str(position[0]))
        settled = None if len(position) == 1 else _utc(datetime.fromisoformat(str(position[1])))
    except (ValueError, IndexError):
        raise Problem(BAD_CURSOR) from None
    return after, settled
