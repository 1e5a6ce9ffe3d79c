"""The auditor's pages: search the log, and see one entry with the proof that it is in it.

Whom a search is for is posted, for a person's name belongs in no address; the address it leads to holds their id.
"""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from sqlalchemy import Row, select
from starlette.responses import RedirectResponse

from app.access.accounts.register import names_of
from app.access.navigation import Link, add_links
from app.access.pages import PageRoute
from app.access.policy import Action
from app.access.routes import CurrentPrincipal, permit
from app.administration import log_words
from app.administration.log_checks import Check, checked
from app.audit import checkpoints, export, prove, read
from app.audit.note import VerifierKey
from app.audit.record import Event, Operation, record
from app.audit.search import LOOK, Sought, search
from app.db import Connection
from app.errors import NOT_FOUND, UNAVAILABLE, Problem
from app.referrals.models import Referral
from app.web import pages
from app.web.database import Transaction
from app.web.words import LONDON, plain

router = APIRouter(route_class=PageRoute, include_in_schema=False)

pages.add_templates(Path(__file__).parent / "templates")
add_links(Link("Log", "/log", Action.READ_LOG, order=10))

SHOWN = 50
_LARGEST = 2**53 - 1
_NARROWS = ("who", "party", "referral", "since", "until")
_UNKNOWN = {
    "who": "Nobody has this name, user name or key id. Write it as the log shows it.",
    "party": "There is no party of this code.",
}

Day = Annotated[str, Query(max_length=10, pattern=r"^(\d{4}-\d\d-\d\d)?$")]


def _sought(
    who: Annotated[str, Query(max_length=1_000)] = "",
    party: Annotated[str, Query(max_length=30)] = "",
    referral: Annotated[UUID | None, Query()] = None,
    since: Day = "",
    until: Day = "",
) -> Sought:
    """The search in an address: ids, codes, and days of London's calendar, both included."""
    actors = tuple(one for one in who.split(",") if one) or None
    last = _midnight(until)
    return Sought(actors, party or None, referral, _midnight(since), last and last + timedelta(days=1))


@router.get("/log", response_class=Response)
@permit(Action.READ_LOG)
async def log_page(
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    sought: Annotated[Sought, Depends(_sought)],
    before: Annotated[int | None, Query(ge=1, le=_LARGEST)] = None,
) -> Response:
    """What was done, the newest first. Looking is itself logged, with what was looked for."""
    if unknown := await _unknown(connection, sought):
        # It came by an address of somebody's making: it goes no further, and least of all into the log.
        form = await _form(connection, Sought(referral_id=sought.referral_id), request.query_params, {})
        return _page(request, form=form, errors={name: _UNKNOWN[name] for name in unknown}, status=422)
    found = await search(connection, sought, before, SHOWN)
    detail = {**sought.detail(), "found": len(found.events)}
    await record(
        connection,
        principal.actor,
        [Event(Operation.CONSULTATION, "audit.searched", sought.referral_id, detail=detail)],
    )
    names = await names_of(connection, [*(row.actor for row in found.events), *(sought.actors or ())])
    query = [(name, request.query_params[name]) for name in _NARROWS if request.query_params.get(name)]
    return _page(
        request,
        form=await _form(connection, sought, request.query_params, names),
        events=[_event(row, names) for row in found.events],
        further=f"/log?{urlencode([*query, ('before', found.before)])}" if found.before else None,
        newest=f"/log?{urlencode(query)}" if before else None,
        looked_at=None if found.whole or found.before is None else LOOK,
    )


@router.post("/log", response_class=Response)
@permit(Action.SEARCH_LOG)
async def search_log(
    request: Request,
    connection: Transaction,
    who: Annotated[str, Form(max_length=200)] = "",
    party: Annotated[str, Form(max_length=30)] = "",
    referral: Annotated[str, Form(max_length=50)] = "",
    since: Annotated[str, Form(max_length=200)] = "",
    until: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Lead to the search that the form describes, or show it again with what is wrong."""
    given = {"who": who.strip(), "party": party.strip().upper(), "referral": referral.strip().upper()}
    given |= {"since": since.strip(), "until": until.strip()}
    people = await log_words.people(connection, given["who"]) if given["who"] else []
    about = await _referral(connection, given["referral"]) if given["referral"] else None
    errors = {}
    if given["who"] and not people:
        errors["who"] = _UNKNOWN["who"]
    if given["party"] and not await log_words.is_party(connection, given["party"]):
        errors["party"] = _UNKNOWN["party"]
    if given["referral"] and about is None:
        errors["referral"] = "There is no referral with this reference."
    errors |= {name: "Give a day, for example 2026-03-27." for name in ("since", "until") if _is_no_day(given[name])}
    if errors:
        return _page(request, form=given, errors=errors, status=422)
    query = {"who": ",".join(people), "party": given["party"], "referral": str(about or "")}
    query |= {"since": given["since"], "until": given["until"]}
    chosen = urlencode({name: value for name, value in query.items() if value})
    return RedirectResponse(f"/log?{chosen}" if chosen else "/log", 303)


@router.get("/log/{sequence}", response_class=Response)
@permit(Action.READ_LOG)
async def entry_page(request: Request, sequence: int, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """One entry as it was sealed, and each step of the proof that it is in the log."""
    item = await _entry(connection, sequence)
    check = await checked(connection, item, VerifierKey.parse(request.app.state.log_key))
    await record(
        connection,
        principal.actor,
        [Event(Operation.CONSULTATION, "audit.read", detail={"from": sequence, "to": sequence})],
    )
    entry = item["entry"]
    names = await names_of(connection, [entry["actor"]]) if entry else {}
    return pages.render(
        "log_entry.html",
        request=request,
        sequence=sequence,
        entry=entry,
        at=datetime.fromisoformat(entry["at"]) if entry else None,
        what=_words(entry["action"]) if entry else "",
        who=names.get(entry["actor"], entry["actor"]) if entry else "",
        leaf=item["leaf_hash"].hex(),
        check=check,
        whole=check is Check.PROVED,
    )


@router.get("/log/{sequence}/proof", response_class=Response)
@permit(Action.READ_LOG)
async def entry_proof(
    request: Request, sequence: int, principal: CurrentPrincipal, connection: Transaction
) -> Response:
    """The entry with its proof, as `gain audit verify-export` takes it: a file, needing neither database nor secret."""
    await _entry(connection, sequence)
    signed = await checkpoints.latest(connection)
    if signed is None or signed.size <= sequence:
        raise Problem(UNAVAILABLE, "No signed checkpoint covers this entry yet. Try again in a minute.", retry_after=60)
    try:
        file = await export.one(connection, sequence, signed, VerifierKey.parse(request.app.state.log_key))
    except KeyError:
        raise Problem(UNAVAILABLE, "Stored hashes are missing: tell the operator to run `gain audit verify`.") from None
    detail = {"from": sequence, "to": sequence}
    event = Event(Operation.DISCLOSURE, "audit.proof_taken", recipients=[principal.party], detail=detail)
    await record(connection, principal.actor, [event])
    headers = {"Content-Disposition": f'attachment; filename="gain-log-{sequence}.jsonl"', "Cache-Control": "no-store"}
    return Response(file, media_type="application/jsonl", headers=headers)


async def _entry(connection: Connection, sequence: int) -> dict[str, Any]:
    if not 0 <= sequence < await prove.tree_size(connection):
        raise Problem(NOT_FOUND)
    return (await read.page(connection, sequence, 1))[0]


async def _referral(connection: Connection, reference: str) -> UUID | None:
    try:
        return UUID(reference)
    except ValueError:
        found: UUID | None = await connection.scalar(select(Referral.id).where(Referral.reference == reference))
        return found


async def _unknown(connection: Connection, sought: Sought) -> list[str]:
    """The fields of a search whose words neither the log nor the register knows."""
    found = []
    if sought.actors is not None and not await log_words.are_actors(connection, sought.actors):
        found.append("who")
    if sought.party is not None and not await log_words.is_party(connection, sought.party):
        found.append("party")
    return found


async def _form(connection: Connection, sought: Sought, query: Any, names: dict[str, str]) -> dict[str, str]:
    """The form as it was filled in, of what the address says."""
    about = ""
    if sought.referral_id is not None:
        found = await connection.scalar(select(Referral.reference).where(Referral.id == sought.referral_id))
        about = found or str(sought.referral_id)
    who = sought.actors[0] if sought.actors else ""
    days = {name: query.get(name, "") for name in ("since", "until")}
    return {"who": names.get(who, who), "party": sought.party or "", "referral": about, **days}


def _page(
    request: Request,
    *,
    form: dict[str, str],
    errors: dict[str, str] | None = None,
    events: list[dict[str, Any]] | None = None,
    status: int = 200,
    **links: Any,
) -> Response:
    shown = {"further": None, "newest": None, "looked_at": None} | links
    return pages.render(
        "log.html", request=request, status=status, form=form, errors=errors or {}, events=events, **shown
    )


def _event(row: Row[Any], names: dict[str, str]) -> dict[str, Any]:
    return {**row._mapping, "who": names.get(row.actor, row.actor), "what": _words(row.action)}


def _words(action: str) -> str:
    return plain(action.replace(".", " ")).capitalize()


def _midnight(day: str) -> datetime | None:
    if not day or _is_no_day(day):
        return None
    return datetime.combine(date.fromisoformat(day), datetime.min.time(), LONDON).astimezone(UTC)


def _is_no_day(text: str) -> bool:
    try:
        return bool(text) and not 1 < date.fromisoformat(text).year < 9_999
    except ValueError:
        return True
