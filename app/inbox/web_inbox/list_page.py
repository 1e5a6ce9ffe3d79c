"""`/my-inbox`: what there is to do, the oldest due first; and the hint that there is something new."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.sse import EventSourceResponse

from app import clock
from app.access.navigation import Link, add_links
from app.access.pages import unattended
from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.db import Connection
from app.errors import BAD_CURSOR, Problem
from app.inbox.consents import looked
from app.inbox.versions import Versions
from app.inbox.web_inbox import listing
from app.inbox.web_inbox.choices import CRIME_TYPES
from app.inbox.web_inbox.listing import ListRow, Selection, Show
from app.inbox.web_inbox.news import News, Since
from app.inbox.web_inbox.route import HOME, InboxPage, account_of
from app.referrals import consents
from app.referrals.codes import priority_of
from app.referrals.consents import Consent
from app.referrals.states import OPEN, ConsentState
from app.web import cursor as cursors
from app.web import pages
from app.web.database import Transaction
from app.web.words import ago, away

router = APIRouter(route_class=InboxPage, include_in_schema=False)

add_links(Link("My inbox", HOME, Action.READ_INBOX, order=10))

_CONSENTS = 20
"""So many of those that wait to be decided stand above the list; the next come up as these are."""

_NOTHING: Mapping[str, str] = {}
_SHOWN = {Show.OPEN: "Open", Show.ANSWERED: "Answered", Show.CANCELLED: "Cancelled", Show.EXPIRED: "Expired"}

Whose = Literal["mine"] | None


@router.get(HOME, response_class=Response)
@permit(Action.READ_INBOX)
async def list_page(
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    show: Show = Show.OPEN,
    whose: Whose = None,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    refresh: Literal["on"] | None = None,
) -> Response:
    """One list, a page of it. It shows nothing of what a referral says: opening an item is what discloses that."""
    return await list_of(request, principal, connection, show, whose, cursor, refresh=refresh)


async def list_of(
    request: Request,
    principal: Principal,
    connection: Connection,
    show: Show = Show.OPEN,
    whose: Whose = None,
    cursor: str | None = None,
    *,
    refresh: str | None = None,
    errors: Mapping[str, str] = _NOTHING,
) -> Response:
    """The page of one list; with errors the same again, as 422."""
    versions: Versions = request.app.state.versions
    since = Since(clock.now(), f"{versions.epoch}.{versions.of(principal.party)}")
    account = account_of(principal)
    filters = (principal.party, show, whose if account else None)
    selection = Selection(show, account if whose else None, _position(filters, cursor))
    rows, more = await listing.listed(connection, principal.party, selection)
    if rows:
        seen = [str(row.id) for row in rows]
        read = Event(Operation.CONSULTATION, "inbox.listed", recipients=[principal.party], detail={"ids": seen})
        await record(connection, principal.actor, [read])
    asked = await _asked(connection, principal) if show is Show.OPEN else []
    following = cursors.encode(filters, [rows[-1].due_at.isoformat(), rows[-1].number]) if more else None
    here = {"show": None if show is Show.OPEN else show.value, "whose": whose}
    return pages.render(
        "inbox_list.html",
        request=request,
        status=422 if errors else 200,
        errors=errors,
        items=[_item(row) for row in rows],
        consents=[{**one, "when": ago(one["asked_at"], clock.now())} for one in asked],
        lists=[(name.value, words) for name, words in _SHOWN.items()],
        show=show.value,
        whose=whose or "",
        has_account=account is not None,
        first=_address(**here) if cursor else None,
        following=following and _address(**here, cursor=following),
        stream=f"{HOME}/live?{urlencode({'since': since.at.isoformat(), 'version': since.version})}",
        here=_address(**here, cursor=cursor),
        refreshing=refresh == "on",
        toggle=_address(**here, cursor=cursor, refresh=None if refresh else "on"),
        read_at=since.at,
    )


@router.get(f"{HOME}/live", response_class=Response)
@permit(Action.READ_INBOX)
@unattended
async def live_page(request: Request, principal: CurrentPrincipal, since: datetime, version: str = "") -> Response:
    """Words for an open list when there is something new, until the session ends."""
    if since.tzinfo is None:
        raise Problem(BAD_CURSOR)
    news: News = request.app.state.inbox_news
    stream = news.stream(request.state.signed_in.reader, principal, Since(since, version))
    return EventSourceResponse(stream, headers={"X-Accel-Buffering": "no"})


async def _asked(connection: Connection, principal: Principal) -> list[dict[str, Any]]:
    """The consents that the agency has to decide, the longest wait first."""
    waits = (Consent.agency == principal.party, Consent.state == ConsentState.ASKED.value)
    found = await consents.listed(connection, *waits, limit=_CONSENTS)
    if found:
        await record(connection, principal.actor, [looked(principal.party, found)])
    return found


def _item(row: ListRow) -> dict[str, object]:
    now = clock.now()
    return {
        **dict(row._mapping),
        "priority": priority_of(row.priority),
        "due": away(row.due_at, now),
        "overdue": row.state in OPEN and row.due_at < now,
        "is_open": row.state in OPEN,
        "crime_types": [CRIME_TYPES.get(code, code) for code in row.crime_types or ()],
    }


def _position(filters: tuple[str, Show, str | None], cursor: str | None) -> tuple[datetime, int] | None:
    if cursor is None:
        return None
    match cursors.decode(filters, cursor):
        case [str(due_at), int(number)] if 0 <= number < 2**63:
            try:
                return datetime.fromisoformat(due_at), number
            except ValueError:
                pass
    raise Problem(BAD_CURSOR)


def _address(**query: str | None) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"{HOME}?{urlencode(given)}" if given else HOME
