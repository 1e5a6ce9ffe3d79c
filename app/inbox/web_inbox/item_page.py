"""`/my-inbox/{id}`: an item whole. Opening it is what delivers it, and the log says so."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from sqlalchemy import Row

from app import clock
from app.access.policy import Action
from app.access.routes import CurrentPrincipal, permit
from app.audit.record import record
from app.errors import NOT_FOUND, Problem
from app.inbox import items
from app.inbox.consents import looked
from app.inbox.own import OwnInbox
from app.inbox.web_inbox.choices import WORDS
from app.inbox.web_inbox.given import answers_of
from app.inbox.web_inbox.route import HOME, InboxPage, Lenient, address_of, found, go, lenient, told
from app.referrals import answer_drafts, consents, lifecycle
from app.referrals.assignments import colleagues
from app.referrals.consents import Consent
from app.referrals.lifecycle import Acknowledgement
from app.referrals.states import OPEN, DispatchState
from app.web import pages
from app.web.database import Transaction
from app.web.words import away, counted

router = APIRouter(route_class=InboxPage, include_in_schema=False)


@router.get(f"{HOME}/{{id}}", response_class=Response)
@permit(Action.READ_INBOX)
async def item_page(
    id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction, sent: str | None = None
) -> Response:
    """The item with all that was disclosed, its messages, its answers, and what can be done."""
    item = await items.item(connection, principal.actor, id)
    if item is None:
        raise Problem(NOT_FOUND)
    row = await found(connection, principal, id)
    draft = row.state in OPEN and await answer_drafts.is_there(connection, id)
    asked = await consents.listed(connection, Consent.agency == principal.party, Consent.dispatch_id == id)
    if asked:
        await record(connection, principal.actor, [looked(principal.party, asked)])
    return pages.render(
        "inbox_item.html",
        request=request,
        item=item,
        row=row,
        referral=lenient(item["referral"]),
        is_open=row.state in OPEN,
        may_acknowledge=row.state in (DispatchState.QUEUED, DispatchState.DELIVERED),
        stands=_stands(row),
        due=away(row.due_at, clock.now()),
        overdue=row.state in OPEN and row.due_at < clock.now(),
        answers=await answers_of(connection, id),
        consents=asked,
        draft=draft,
        colleagues=await colleagues(connection, principal.party) if row.state in OPEN else [],
        sent=sent is not None,
        words=WORDS,
        empty=Lenient(),
    )


@router.post(f"{HOME}/{{id}}/acknowledgement", response_class=Response)
@permit(Action.ANSWER)
async def acknowledge(id: UUID, request: Request, principal: CurrentPrincipal, inbox: OwnInbox) -> Response:
    """Say that the agency has the item, or has seen that it was cancelled."""
    async with inbox.transaction() as connection:
        row = await found(connection, principal, id)
        result = (await lifecycle.acknowledge(connection, principal.actor, [id]))[id].result
        if row.state == DispatchState.CANCELLED:
            await answer_drafts.drop(connection, principal.actor, id)
    back = address_of(id)
    if result is Acknowledgement.NOT_FOUND:
        raise Problem(NOT_FOUND)
    if result is Acknowledgement.NO_LONGER_OPEN:
        words = "Nobody needs to acknowledge it any more."
        return told(request, 410, "This item is no longer open", words, back=back, back_words="Back to the item")
    if result is Acknowledgement.HELD_BY_ANOTHER:
        words = "A system of your agency has claimed it through the API. Try again when its claim has ended."
        return told(request, 409, "A system of yours holds this item", words, back=back, back_words="Back to the item")
    return go(HOME if row.state == DispatchState.CANCELLED else back)


def _stands(row: Row[*tuple[Any, ...]]) -> str:
    """How an item stands that cannot be answered any more, or not just now; empty where there is nothing to say."""
    match DispatchState(row.state):
        case DispatchState.CANCELLED:
            return "This item was cancelled. No answer is needed any more."
        case DispatchState.EXPIRED:
            return "This item has expired without an answer. Ask the co-ordinator to send it again if you can answer."
        case DispatchState.UNDELIVERABLE:
            return "This item could not be delivered to your system. Ask the co-ordinator to send it again."
        case DispatchState.ANSWERED | DispatchState.DECLINED:
            return "This item is answered. The first answer stands; the co-ordinator can send it to you again."
        case DispatchState.QUERY:
            return "You have asked for more information. The clock stands until the originator answers."
    if row.claimed_until is not None:
        minutes = max(1, round((row.claimed_until - clock.now()).total_seconds() / 60))
        return f"A system of your agency has claimed this item through the API, for {counted(minutes, 'minute')} more."
    return ""
