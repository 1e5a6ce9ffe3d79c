"""`/referrals/{id}`: one referral, whom it went to and why, what came back, what happened, and what can be done."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import func

from app.access.pages import PageRoute
from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal, permit
from app.audit.record import Event, Operation, record
from app.errors import NOT_FOUND, Problem
from app.referrals import consents, noted, queries
from app.referrals.codes import OnwardDisclosure
from app.referrals.consents import Consent
from app.referrals.states import CLOCK_RUNS, Outcome
from app.status import consent_pages
from app.status.deed_forms import DISPATCH_DEEDS, REFERRAL_DEEDS, offered, offered_on
from app.status.needs_words import about
from app.status.parts import tally
from app.status.referral_words import asked, graded, happened, subject
from app.web import pages
from app.web.database import Transaction
from app.web.words import ago, away, plain

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_DONE = {
    **{f"referrals-{deed.word}": deed.done for deed in REFERRAL_DEEDS},
    **{f"dispatches-{deed.word}": deed.done for deed in DISPATCH_DEEDS},
    **consent_pages.DONE,
}

Referral = dict[str, Any]


@router.get("/referrals/{id}", response_class=Response)
@permit(Action.SEE_STATUS_PAGE)
async def referral_page(
    id: UUID,
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    done: Annotated[str, Query(max_length=50)] = "",
) -> Response:
    """The referral with everything about it; of one that was disposed of, what is left."""
    seen = queries.visible(principal, Action.SEE_STATUS_PAGE)
    referral = await queries.get(connection, seen, id)
    if referral is None:
        raise Problem(NOT_FOUND)
    answers = [] if "disposed_at" in referral else await queries.responses(connection, id, flagged=True)
    asked_for = [] if "disposed_at" in referral else await consents.listed(connection, Consent.referral_id == id)
    timeline = await queries.events(connection, id, principal.relation(Action.SEE_STATUS_PAGE))
    await record(connection, principal.actor, _looked(principal, id, answers, asked_for))
    now: datetime = await connection.scalar(func.now())
    if "disposed_at" in referral:
        return pages.render("tombstone.html", request=request, referral=referral, timeline=_told(timeline, now))
    standing, agencies = (
        await noted.standing(connection, id),
        {one["id"]: one["agency"] for one in referral["dispatches"]},
    )
    return pages.render(
        "referral_page.html",
        request=request,
        referral=referral,
        done=_DONE.get(done),
        about=subject(referral["subject"]),
        asked=asked(referral),
        deeds=offered(referral),
        tally=tally([{**one, "overdue": _is_overdue(one, now)} for one in referral["dispatches"]]),
        dispatches=[
            _dispatch(referral, {**one, "alerts": standing.get(one["id"], [])}, now) for one in referral["dispatches"]
        ],
        noted=[
            {"agency": agencies[one.dispatch_id], "what": about(one.kind), "reason": one.reason, "at": one.at}
            for one in await noted.noted(connection, id)
        ],
        answers=[_answer(referral, one, now) for one in answers],
        consents=asked_for,
        timeline=_told(timeline, now),
        submitted=ago(referral["created_at"], now),
    )


def _looked(
    principal: Principal, id: UUID, answers: list[dict[str, Any]], asked_for: list[dict[str, Any]]
) -> list[Event]:
    """A look at the referral and at the consents asked for, and the disclosure of its answers if there are any."""
    looked = [Event(Operation.CONSULTATION, "referral.read", id)]
    if answers:
        told = {"ids": [str(answer["id"]) for answer in answers]}
        looked.append(Event(Operation.DISCLOSURE, queries.RESPONSES_READ, id, None, [principal.party], told))
    if asked_for:
        told = {"ids": [str(one["id"]) for one in asked_for]}
        looked.append(Event(Operation.CONSULTATION, "consents.read", id, detail=told))
    return looked


def _is_overdue(dispatch: Mapping[str, Any], now: datetime) -> bool:
    return bool(dispatch["due_at"] < now and dispatch["state"] in CLOCK_RUNS)


def _dispatch(referral: Referral, dispatch: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    runs = dispatch["state"] in CLOCK_RUNS
    return {
        **dispatch,
        "overdue": _is_overdue(dispatch, now),
        "when": away(dispatch["due_at"], now) if runs else "",
        "why": dispatch["reason"][:1].upper() + dispatch["reason"][1:],
        "alerts": [about(kind) for kind in dispatch["alerts"]],
        "deeds": offered_on(referral, dispatch),
    }


def _answer(referral: Referral, answer: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    rounds = {one["id"]: one["round"] for one in referral["dispatches"]}
    return {
        "agency": answer["agency"],
        "round": rounds.get(answer["dispatch_id"], 1),
        "outcome": answer["outcome"],
        "flag": answer["flag"],
        "may_go_with_consent": answer["flag"] is None
        and answer["outcome"] in (Outcome.HIT, Outcome.NO_HIT)
        and answer.get("onward_disclosure") != OnwardDisclosure.PERMITTED,
        "at": answer["recorded_at"],
        "when": ago(answer["recorded_at"], now),
        "told": [
            ("Summary", answer.get("summary")),
            ("Reason", plain(answer.get("decline_reason") or "").capitalize()),
            ("Grading and handling", graded(answer)),
            ("Onward disclosure", plain(answer.get("onward_disclosure") or "").capitalize()),
            ("Legal basis", plain(answer.get("legal_basis") or "").capitalize()),
            ("Contact", answer.get("contact")),
        ],
        "facts": [{"kind": one["kind"], "text": one["text"], "graded": graded(one)} for one in answer.get("facts", ())],
    }


def _told(timeline: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """The timeline, the newest first."""
    return [
        {
            "at": one["at"],
            "when": ago(one["at"], now),
            "what": happened(one["event"], one["detail"]),
            "agency": one["agency"],
            "by": one["party"],
        }
        for one in reversed(timeline)
    ]
