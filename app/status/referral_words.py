"""A referral's documents and its timeline in words, for the page. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from app.referrals.codes import HandlingCode
from app.referrals.states import Outcome
from app.web.words import plain

Pair = tuple[str, Any]

HAPPENED: Mapping[str, str] = {
    "referral.accepted": "Accepted",
    "referral.dispatched": "Sent out",
    "referral.held": "Held",
    "referral.released": "Released",
    "referral.rejected": "Rejected",
    "referral.cancelled": "Taken back by the originator",
    "referral.completed": "Completed",
    "referral.disposed": "Disposed of",
    "referral.addressees_added": "Further bodies asked",
    "referral.legal_hold_set": "Put on legal hold",
    "referral.legal_hold_lifted": "Legal hold lifted",
    "dispatch.delivered": "Seen",
    "dispatch.acknowledged": "Acknowledged",
    "dispatch.held": "Held back",
    "dispatch.released": "Released",
    "dispatch.alerted": "Urgent, not acknowledged: alerted",
    "dispatch.chased": "Chased",
    "dispatch.overdue": "Overdue",
    "dispatch.extended": "Given more time",
    "dispatch.expired": "Ended without an answer",
    "dispatch.undeliverable": "Could not be delivered",
    "dispatch.redelivered": "Asked again",
    "dispatch.cancelled": "Taken back",
    "dispatch.noted": "Read, and nothing needs doing",
    "dispatch.cancellation_seen": "Has seen that it was taken back",
    "response.recorded": "Answered",
    "response.conflict": "Answered again, differently",
    "response.no_longer_open": "Answered after the end",
    "message.sent": "Message to the agency",
    "outcome.recorded": "Outcome recorded",
    "consent.asked": "Asked for its consent",
    "consent.chased": "Reminded of the consent asked for",
    "consent.given": "Consent given",
    "consent.refused": "Consent refused",
    "consent.withdrawn": "Consent no longer asked for",
    "retention.reviewed": "Retention reviewed",
}
"""Every event that an overseer sees of a referral (`app.referrals.timeline`)."""


def happened(action: str, detail: Mapping[str, Any] | None) -> str:
    """An entry of the timeline, an answer with its outcome."""
    outcome = (detail or {}).get("outcome") if action.startswith("response.") else None
    if outcome == Outcome.MORE_INFORMATION:
        return "Asked for more information"
    return f"{HAPPENED[action]} ({plain(outcome)})" if outcome else HAPPENED[action]


def graded(document: Mapping[str, Any]) -> str:
    """Grading and handling: `2B, handling code C (A1, S2)`; empty where there is none."""
    grading, handling = document.get("grading"), document.get("handling")
    told = [f"{grading['source']}{grading['assessment']}"] if grading else []
    if handling:
        conditions = f" ({', '.join(handling['conditions'])})" if handling["code"] == HandlingCode.C else ""
        told.append(f"handling code {handling['code']}{conditions}")
    return ", ".join(told)


def subject(given: Mapping[str, Any]) -> list[Pair]:
    """Whom or what the referral is about."""
    return [
        ("Subject", _name(given) or given.get("name")),
        ("Kind", plain(given["kind"]).capitalize()),
        ("Date of birth", _day(given.get("date_of_birth"))),
        ("Also known as", _lines(_name(alias) for alias in given.get("aliases") or ())),
        ("Addresses", _lines(_address(address) for address in given.get("addresses") or ())),
        (
            "Identifiers",
            _lines(f"{plain(one['type']).capitalize()}: {one['value']}" for one in given.get("identifiers") or ()),
        ),
    ]


def asked(referral: Mapping[str, Any]) -> list[Pair]:
    """What is asked, why and under what terms."""
    return [
        ("Warnings", _words(referral.get("warnings"))),
        ("Purpose", referral["purpose"]),
        ("Information sought", referral.get("information_sought")),
        ("Crime types", _words(referral["crime_types"])),
        ("Criterion", plain(referral["criterion"]).capitalize()),
        ("Organised crime group", _group(referral.get("ocg"))),
        ("Operation", referral.get("operation_name")),
        ("Contact", _contact(referral.get("contact"))),
        ("Legal basis", plain(referral["legal_basis"]).capitalize()),
        ("Grading and handling", graded(referral)),
        ("Originator’s reference", referral.get("client_reference")),
    ]


def _name(given: Mapping[str, Any]) -> str:
    return " ".join(part for part in (given.get("given_names"), given.get("family_name")) if part)


def _address(given: Mapping[str, Any]) -> str:
    return ", ".join([*given.get("lines", ()), *filter(None, [given.get("postcode")])])


def _group(given: Mapping[str, Any] | None) -> str:
    if not given:
        return ""
    marks = [
        f"{name} {given[key]}" for name, key in (("band", "band"), ("score", "score")) if given.get(key) is not None
    ]
    return ", ".join([given["reference"], *marks])


def _contact(given: Mapping[str, Any] | None) -> str:
    return ", ".join(str(given[key]) for key in ("name", "email", "phone") if given.get(key)) if given else ""


def _words(codes: Sequence[str] | None) -> str:
    return ", ".join(map(plain, codes or ())).capitalize()


def _lines(found: Iterable[str]) -> str:
    return "; ".join(filter(None, found))


def _day(given: str | None) -> str:
    return f"{date.fromisoformat(given):%-d %B %Y}" if given else ""
