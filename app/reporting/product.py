"""The consolidated product: all that came back to one referral, as one document.

What an agency gave under consent is in it, and marked: the originator sees an answer at once, consent gates every copy
to another party or product (domain.md, section 4, onward_disclosure).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement

from app import clock
from app.db import Connection
from app.referrals import consents, queries
from app.referrals.codes import FactKind, HandlingCode, OnwardDisclosure
from app.referrals.consents import Consent
from app.referrals.outcomes import added_up, outcomes
from app.referrals.states import CLOCK_RUNS, FINAL, ConsentState, DispatchState, Outcome

_Row = Mapping[str, Any]
_Document = dict[str, Any]

_HEAD = ("id", "reference", "originator", "state", "priority", "created_at", "respond_by", "marking", "subject")
_HEAD_IF_GIVEN = ("operation_name", "ocg", "client_reference", "contact")
_WHY = ("criterion", "crime_types", "purpose", "information_sought", "legal_basis")
_GIVEN = ("grading", "handling", "onward_disclosure", "legal_basis")
_KINDS = {kind.value: number for number, kind in enumerate(FactKind)}
_UNANSWERED = (DispatchState.UNDELIVERABLE, DispatchState.EXPIRED, DispatchState.CANCELLED)


async def product(connection: Connection, seen: ColumnElement[bool], referral_id: UUID) -> _Document | None:
    """The product of a referral as it stands now, or None where it is not there to see.

    Raises `Problem` (410) where it was disposed of.
    """
    referral = await queries.whole(connection, seen, referral_id)
    if referral is None:
        return None
    responses = await queries.responses(connection, referral_id)
    recorded = await outcomes(connection, referral_id)
    asked = await consents.listed(connection, Consent.referral_id == referral_id)
    return consolidate(referral, responses, clock.now(), recorded, asked)


def consolidate(
    referral: _Row,
    responses: Sequence[_Row],
    now: datetime,
    recorded: Sequence[_Row] = (),
    asked: Sequence[_Row] = (),
) -> _Document:
    """Pure: the product of a referral, its responses, outcomes and consents, each as its own query gives them.

    A body counts once, as its latest round stands; what it said in earlier rounds stays, each with its round.
    """
    dispatches = {dispatch["id"]: dispatch for dispatch in referral["dispatches"]}
    answers = [_answer(dispatches[given["dispatch_id"]], given) for given in responses if _is_answer(given, dispatches)]
    standing = list({dispatch["agency"]: dispatch for dispatch in _by_round(dispatches.values())}.values())
    facts = [fact for answer in answers if answer["outcome"] == Outcome.HIT for fact in _facts(answer)]
    return {
        **{name: referral[name] for name in _HEAD},
        **{name: referral.get(name) for name in _HEAD_IF_GIVEN},
        "made_at": now,
        "warnings": referral.get("warnings", []),
        "handling": _strictest([referral["handling"], *(fact["handling"] for fact in facts)]),
        "why": {name: referral.get(name) for name in _WHY},
        "totals": {**_totals(standing, _decline_reasons(standing, answers)), "facts": len(facts)},
        "consent_required_from": sorted({a["agency"] for a in answers if _needs_consent(a)}),
        "consents_given": [_consent(one) for one in asked if one["state"] == ConsentState.GIVEN],
        "findings": _grouped(facts),
        "answers": [_without_facts(answer) for answer in answers if answer["outcome"] != Outcome.DECLINED],
        "declined": [_declined(answer) for answer in answers if answer["outcome"] == Outcome.DECLINED],
        "outstanding": _outstanding(standing, responses, now),
        "unanswered": [_named(dispatch) for dispatch in standing if dispatch["state"] in _UNANSWERED],
        "outcomes": list(recorded),
        "outcome_totals": added_up(recorded),
    }


def _is_answer(response: _Row, dispatches: Mapping[UUID, _Row]) -> bool:
    """Whether it closed its dispatch. What came in after the dispatches were read waits for the next product."""
    dispatch = dispatches.get(response["dispatch_id"])
    return dispatch is not None and dispatch["outcome"] == response["outcome"]


def _by_round(dispatches: Iterable[_Row]) -> list[_Row]:
    return sorted(dispatches, key=itemgetter("agency", "round"))


def _answer(dispatch: _Row, response: _Row) -> _Document:
    """An answer with what is known of its dispatch. What a body left unsaid is null, never guessed."""
    return {
        "response_id": response["id"],
        "agency": response["agency"],
        "round": dispatch["round"],
        "outcome": response["outcome"],
        "summary": response.get("summary"),
        "decline_reason": response.get("decline_reason"),
        **{name: response.get(name) for name in _GIVEN},
        "gateway": dispatch.get("gateway"),
        "contact": response.get("contact"),
        "facts": response.get("facts", []),
        "delivered_at": dispatch["delivered_at"],
        "answered_at": response["recorded_at"],
    }


def _facts(answer: _Row) -> list[_Document]:
    """The facts of a hit, each with the grading and handling that holds for it.

    A hit that says all in its summary is a fact of the kind `other`, so that nothing said is missing.
    """
    given = answer["facts"] or [{"kind": FactKind.OTHER.value, "text": answer["summary"]}]
    shared = {name: answer[name] for name in ("response_id", "agency", "round", *_GIVEN, "answered_at")}
    return [{**shared, **fact} for fact in given]


def _grouped(facts: Iterable[_Document]) -> list[_Document]:
    """Facts by kind, in the order of `FactKind`; within a kind the best graded first."""
    kinds: dict[str, list[_Document]] = {}
    for fact in sorted(facts, key=_rank):
        kind = fact.pop("kind")
        kinds.setdefault(kind, []).append(fact)
    return [
        {"kind": kind, "agencies": sorted({fact["agency"] for fact in found}), "facts": found}
        for kind, found in kinds.items()
    ]


def _rank(fact: _Row) -> tuple[int, int, str, str, datetime]:
    grading = fact["grading"]
    return _KINDS[fact["kind"]], grading["source"], grading["assessment"], fact["agency"], fact["answered_at"]


def _strictest(handlings: Iterable[_Row]) -> _Document:
    """What holds for the product as a whole: every condition of anything in it."""
    conditions = sorted({condition for handling in handlings for condition in handling.get("conditions", ())})
    return {"code": HandlingCode.C if conditions else HandlingCode.P, "conditions": conditions}


def _totals(standing: Sequence[_Row], reasons: Sequence[str]) -> _Document:
    states = Counter(dispatch["state"] for dispatch in standing)
    outcomes = Counter(dispatch["outcome"] for dispatch in standing)
    return {
        "asked": len(standing),
        "answered": states[DispatchState.ANSWERED],
        "hits": outcomes[Outcome.HIT],
        "no_hits": outcomes[Outcome.NO_HIT],
        "declined": states[DispatchState.DECLINED],
        "decline_reasons": dict(sorted(Counter(reasons).items())),
        **{state.value: states[state] for state in _UNANSWERED},
        "outstanding": sum(number for state, number in states.items() if state not in FINAL),
    }


def _decline_reasons(standing: Iterable[_Row], answers: Iterable[_Row]) -> list[str]:
    reasons = {(answer["agency"], answer["round"]): answer["decline_reason"] for answer in answers}
    now_declined = (d for d in standing if d["state"] == DispatchState.DECLINED)
    return [reasons[dispatch["agency"], dispatch["round"]] for dispatch in now_declined]


def _needs_consent(answer: _Row) -> bool:
    return bool(answer["onward_disclosure"] == OnwardDisclosure.CONSENT_REQUIRED)


def _consent(asked: _Row) -> _Document:
    """To whom a body has consented that its answer goes, and under which conditions."""
    told = ("agency", "round", "recipient", "recipient_outside", "conditions")
    return {**{name: asked[name] for name in told}, "given_at": asked["settled_at"]}


def _without_facts(answer: _Row) -> _Document:
    return {name: value for name, value in answer.items() if name not in ("facts", "decline_reason")}


def _declined(answer: _Row) -> _Document:
    told = ("response_id", "agency", "round", "summary", "legal_basis", "gateway", "contact", "answered_at")
    return {"reason": answer["decline_reason"], **{name: answer[name] for name in told}}


def _outstanding(standing: Iterable[_Row], responses: Iterable[_Row], now: datetime) -> list[_Document]:
    """Whom we still wait for, the first due first. A body that asked for more waits for us: its question is told."""
    asked = (given for given in responses if given["outcome"] == Outcome.MORE_INFORMATION)
    questions = {given["dispatch_id"]: given["summary"] for given in asked}
    waited_for = (dispatch for dispatch in standing if dispatch["state"] not in FINAL)
    return [
        {
            **_named(dispatch),
            "due_at": dispatch["due_at"],
            "overdue": dispatch["due_at"] < now and dispatch["state"] in CLOCK_RUNS,
            "delivered_at": dispatch["delivered_at"],
            "acknowledged_at": dispatch["acknowledged_at"],
            "question": questions.get(dispatch["id"]) if dispatch["state"] == DispatchState.QUERY else None,
        }
        for dispatch in sorted(waited_for, key=itemgetter("due_at", "agency"))
    ]


def _named(dispatch: _Row) -> _Document:
    return {name: dispatch[name] for name in ("agency", "round", "state")}
