"""Answering an item: choose the outcome, fill in its form, check it, send it."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError
from sqlalchemy import Row

from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal, permit
from app.db import Connection
from app.errors import NOT_FOUND, Problem
from app.inbox.own import OwnInbox
from app.inbox.respond import answer_of
from app.inbox.web_inbox import answer_form, choices
from app.inbox.web_inbox.answer_form import Document
from app.inbox.web_inbox.route import HOME, InboxPage, Lenient, Sent, address_of, found, go, lenient, told
from app.parties.directory import DirectoryCache
from app.referrals import answer_drafts, lifecycle
from app.referrals.lifecycle import MOST_QUESTIONS, Verdict
from app.referrals.states import OPEN, Outcome
from app.routing.matrix import propose_gateway
from app.routing.reference import MatrixCache
from app.web import pages
from app.web.database import Transaction

router = APIRouter(route_class=InboxPage, include_in_schema=False)

_ITEM = f"{HOME}/{{id}}"

_CHOICES = {
    "sources": choices.pairs(choices.SOURCES),
    "assessments": choices.pairs(choices.ASSESSMENTS),
    "handling": choices.pairs(choices.HANDLING),
    "conditions": choices.pairs(choices.CONDITIONS),
    "onward": choices.pairs(choices.ONWARD),
    "reasons": choices.pairs(choices.REASONS),
    "bases": choices.pairs(choices.LEGAL_BASES, "Not stated"),
    "kinds": choices.pairs(choices.FACT_KINDS, "Choose"),
    "own_sources": choices.pairs(choices.SOURCES, "As the answer"),
    "own_assessments": choices.pairs(choices.ASSESSMENTS, "As the answer"),
    "own_handling": choices.pairs(choices.HANDLING, "As the answer"),
}

_HEADINGS = {
    Outcome.HIT: "What do you hold?",
    Outcome.NO_HIT: "Answer: no hit",
    Outcome.DECLINED: "Why do you decline?",
    Outcome.MORE_INFORMATION: "What do you need to know?",
}

_REFUSED: dict[Verdict, tuple[int, str, str]] = {
    Verdict.CONFLICT: (
        409,
        "A different answer is already recorded",
        "The first answer stands. What you sent now was kept as evidence, and the co-ordinator is told of it. If yours "
        "is the right one, ask the co-ordinator to send the item to you again.",
    ),
    Verdict.NO_LONGER_OPEN: (
        410,
        "This item is no longer open",
        "It was cancelled or has expired before your answer came. What you sent was kept as late evidence, and the "
        "co-ordinator is told of it: ask for the item to be sent again if the answer is to count.",
    ),
    Verdict.DISPOSED: (
        410,
        "The referral was disposed of",
        "Its retention has ended, and what it said is gone for good. Nothing of your answer was kept.",
    ),
    Verdict.HELD_BY_ANOTHER: (
        409,
        "A system of yours holds this item",
        "It has claimed the item through the API. Nothing was sent; your draft is kept. Try again when the claim ends.",
    ),
    Verdict.TOO_MANY_QUESTIONS: (
        409,
        f"{MOST_QUESTIONS} questions were asked about this item",
        "No more are taken. Nothing was sent; your draft is kept. Answer the item, or speak to the originator.",
    ),
}


@router.get(f"{_ITEM}/answer", response_class=Response)
@permit(Action.READ_INBOX)
async def answer_page(
    id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction, outcome: str | None = None
) -> Response:
    """The form of an outcome, with what was drafted; without an outcome, the choice of one."""
    row = await found(connection, principal, id)
    if row.state not in OPEN:
        return _over(request, row)
    draft = await answer_drafts.find(connection, principal.actor, id)
    document = draft.document if draft else {}
    if outcome is None or outcome not in set(Outcome):
        errors = {} if outcome is None else {"outcome": "Choose what you have found."}
        return pages.render(
            "inbox_outcome.html",
            request=request,
            status=422 if errors else 200,
            row=row,
            back=address_of(id),
            outcomes=choices.pairs(choices.OUTCOMES),
            outcome=document.get("outcome", ""),
            errors=errors,
        )
    return await _form(request, connection, principal, row, {**document, "outcome": outcome})


@router.post(f"{_ITEM}/answer", response_class=Response)
@permit(Action.ANSWER)
async def write_answer(
    id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction, fields: Sent
) -> Response:
    """Keep what was written, and go on to check it; with what is missing said beside each field."""
    row = await found(connection, principal, id)
    if row.state not in OPEN:
        return _over(request, row)
    chosen = str(fields.get("outcome", ""))
    if chosen not in set(Outcome):
        return go(f"{address_of(id)}/answer")
    outcome = Outcome(chosen)
    document, do = answer_form.read(fields, outcome), str(fields.get("do", ""))
    form = f"{address_of(id)}/answer?outcome={outcome}"
    if do:
        return await _keep(connection, principal, row, _changed(document, do), _after(do, document, form, id))
    try:
        answer_form.submission(document)
    except ValidationError as error:
        return await _form(request, connection, principal, row, document, answer_form.errors_of(error))
    return await _keep(connection, principal, row, document, f"{address_of(id)}/answer/check")


@router.get(f"{_ITEM}/answer/check", response_class=Response)
@permit(Action.READ_INBOX)
async def check_page(id: UUID, request: Request, principal: CurrentPrincipal, connection: Transaction) -> Response:
    """The whole answer as it will be sent."""
    row = await found(connection, principal, id)
    if row.state not in OPEN:
        return _over(request, row)
    draft = await answer_drafts.find(connection, principal.actor, id)
    if draft is None:
        return go(f"{address_of(id)}/answer")
    return _check(request, row, draft)


@router.post(f"{_ITEM}/answer/check", response_class=Response)
@permit(Action.ANSWER)
async def send_answer(
    id: UUID, request: Request, principal: CurrentPrincipal, inbox: OwnInbox, fields: Sent
) -> Response:
    """Send it: the same verb as the API's, so that what is refused there is refused here, and told in words."""
    async with inbox.transaction() as connection:
        row = await found(connection, principal, id)
        draft = await answer_drafts.find(connection, principal.actor, id)
        if draft is None:
            return _over(request, row) if row.state not in OPEN else go(f"{address_of(id)}/answer")
        if str(fields.get("version", "")) != str(draft.version):
            words = "Somebody of your agency has changed the draft meanwhile. Check it again."
            return _check(request, row, draft, {"version": words})
        try:
            body = answer_form.submission(draft.document)
        except ValidationError as error:
            return await _form(request, connection, principal, row, draft.document, answer_form.errors_of(error))
        answer = answer_of(id, body, principal, request.app.state.keys)
        [recorded] = await lifecycle.record_answers(connection, [answer])
        if recorded.verdict not in (Verdict.HELD_BY_ANOTHER, Verdict.TOO_MANY_QUESTIONS):
            await answer_drafts.drop(connection, principal.actor, id)
    if recorded.verdict in (Verdict.RECORDED, Verdict.REPEATED):
        return go(f"{address_of(id)}?sent=1")
    if recorded.verdict not in _REFUSED:
        raise Problem(NOT_FOUND)
    status, heading, words = _REFUSED[recorded.verdict]
    return told(request, status, heading, words, back=address_of(id), back_words="Back to the item")


async def _form(
    request: Request,
    connection: Connection,
    principal: Principal,
    row: Row[*tuple[Any, ...]],
    document: Document,
    errors: dict[str, str] | None = None,
) -> Response:
    outcome = Outcome(document["outcome"])
    return pages.render(
        "inbox_answer.html",
        request=request,
        status=422 if errors else 200,
        row=row,
        back=f"{address_of(row.id)}/answer",
        heading=_HEADINGS[outcome],
        outcome=outcome.value,
        document=lenient(document),
        facts=lenient(document.get("facts", [])) if outcome is Outcome.HIT else [],
        may_add=len(document.get("facts", [])) < answer_form.MOST_FACTS,
        proposed=await _proposed(request, connection, principal, row.originator),
        choices=_CHOICES,
        empty=Lenient(),
        errors=errors or {},
    )


async def _proposed(request: Request, connection: Connection, principal: Principal, originator: str) -> str:
    """The gateway that the matrix proposes for an answer to this originator, in words."""
    directory: DirectoryCache = request.app.state.directory
    matrix: MatrixCache = request.app.state.matrix
    parties, rules = await directory.get(connection), await matrix.get(connection)
    basis = propose_gateway(parties[principal.party], parties[originator], rules.gateways)
    return choices.LEGAL_BASES.get(basis or "", "")


async def _keep(
    connection: Connection, principal: Principal, row: Row[*tuple[Any, ...]], document: Document, on: str
) -> Response:
    await answer_drafts.save(connection, principal.actor, row.id, row.referral_id, document)
    return go(on)


def _changed(document: Document, do: str) -> Document:
    """The document after one of the form's other buttons: another fact, or one fewer."""
    facts = list(document.get("facts", []))
    what, _, number = do.partition("-")
    if what == "add" and len(facts) < answer_form.MOST_FACTS:
        facts.append({"kind": "", "text": ""})
    if what == "remove" and number.isdecimal() and int(number) < len(facts):
        facts.pop(int(number))
    return {**document, "facts": facts} if facts or "facts" in document else document


def _after(do: str, document: Document, form: str, id: UUID) -> str:
    if do == "save":
        return address_of(id)
    return f"{form}#fact-{len(document.get('facts', []))}" if do == "add" else f"{form}#facts"


def _check(
    request: Request, row: Row[*tuple[Any, ...]], draft: answer_drafts.Draft, errors: dict[str, str] | None = None
) -> Response:
    outcome = Outcome(draft.document["outcome"])
    return pages.render(
        "inbox_check.html",
        request=request,
        status=422 if errors else 200,
        row=row,
        form=f"{address_of(row.id)}/answer?outcome={outcome}",
        back=address_of(row.id),
        said=lenient(draft.document),
        version=draft.version,
        is_question=outcome is Outcome.MORE_INFORMATION,
        words=choices.WORDS,
        errors=errors or {},
    )


def _over(request: Request, row: Row[*tuple[Any, ...]]) -> Response:
    """Nothing can be written for an item that is over."""
    words = f"It is {row.state}: no answer can be given any more. The co-ordinator can send it to you again."
    heading = "This item is no longer open"
    return told(request, 410, heading, words, back=address_of(row.id), back_words="Back to the item")
