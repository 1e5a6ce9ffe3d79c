"""Several no-hits at once: ticked on the list, confirmed, and each told for itself."""

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Row, func, select

from app.access.policy import Action
from app.access.routes import CurrentPrincipal, permit
from app.db import Connection
from app.inbox.own import OwnInbox
from app.inbox.respond import answer_of
from app.inbox.web_inbox.list_page import list_of
from app.inbox.web_inbox.listing import PAGE, standing
from app.inbox.web_inbox.route import HOME, InboxPage, Sent, address_of, go
from app.referrals import answer_drafts, lifecycle
from app.referrals.documents import SubmittedResponse
from app.referrals.lifecycle import Verdict
from app.referrals.models import Response as Given
from app.referrals.states import OPEN, Outcome
from app.web import pages
from app.web.database import Transaction

router = APIRouter(route_class=InboxPage, include_in_schema=False)

_PATH = f"{HOME}/no-hits"
_KEPT = frozenset({Verdict.RECORDED, Verdict.REPEATED, Verdict.CONFLICT, Verdict.NO_LONGER_OPEN})

Ids = Annotated[list[UUID], Query(max_length=PAGE)]


@router.get(_PATH, response_class=Response)
@permit(Action.READ_INBOX)
async def confirm_page(
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    id: Ids = [],  # noqa: B006
) -> Response:
    """Which items these are, before each is answered. Only what was opened can have been searched for."""
    rows = [row for row in await standing(connection, principal.party, id) if row.state in OPEN and row.delivered_at]
    if not rows:
        errors = {"ticks": "Tick the items that you have searched for without a hit."}
        return await list_of(request, principal, connection, errors=errors)
    return pages.render("inbox_no_hits.html", request=request, rows=rows, back=HOME)


@router.post(_PATH, response_class=Response)
@permit(Action.ANSWER)
async def send_no_hits(request: Request, principal: CurrentPrincipal, inbox: OwnInbox, fields: Sent) -> Response:
    """Answer each, as the API's batch does; then the page that tells what became of them."""
    asked = _ids(fields.getlist("id"))
    body = SubmittedResponse(outcome=Outcome.NO_HIT)
    async with inbox.transaction() as connection:
        rows = await standing(connection, principal.party, asked)
        answers = [answer_of(row.id, body, principal, request.app.state.keys) for row in rows]
        results = await lifecycle.record_answers(connection, answers)
        for row, recorded in zip(rows, results, strict=True):
            if recorded.verdict in _KEPT:
                await answer_drafts.drop(connection, principal.actor, row.id)
    return go(f"{_PATH}/results?{urlencode([('id', row.id) for row in rows])}" if rows else HOME)


@router.get(f"{_PATH}/results", response_class=Response)
@permit(Action.READ_INBOX)
async def results_page(
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    id: Ids = [],  # noqa: B006
) -> Response:
    """What became of each, read from what is recorded: it can be opened again, and says the same."""
    rows = await standing(connection, principal.party, id)
    flags = await _flags(connection, [row.id for row in rows])
    told = [(row, address_of(row.id), _told(row, flags.get(row.id))) for row in rows]
    return pages.render("inbox_results.html", request=request, told=told, back=HOME)


async def _flags(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, str]:
    """How the latest no-hit to each of these is kept: `""` where it stands, else as evidence of what."""
    rows = await connection.execute(
        select(Given.dispatch_id, func.coalesce(Given.flag, "").label("flag"))
        .where(Given.dispatch_id.in_(ids), Given.outcome == Outcome.NO_HIT.value)
        .order_by(Given.recorded_at)
    )
    return {row.dispatch_id: row.flag for row in rows}


def _told(row: Row[*tuple[Any, ...]], flag: str | None) -> tuple[bool, str]:
    """Whether the no-hit counts, and that in words."""
    match flag:
        case "":
            return True, "No hit recorded."
        case "conflict":
            return False, "Not recorded: a different answer stands. The no-hit is kept as evidence."
        case "late":
            return False, f"Not recorded: the item is {row.state}. The no-hit is kept as late evidence."
    if row.claimed_until is not None:
        return False, "Not recorded: a system of yours has claimed the item through the API."
    return False, f"Not recorded: the item is {row.state}."


def _ids(given: Sequence[Any]) -> list[UUID]:
    """Those that are ids, at most a page of them."""
    found = []
    for text in given[:PAGE]:
        try:
            found.append(UUID(str(text)))
        except ValueError:
            continue
    return found
