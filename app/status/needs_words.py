"""The cases that need somebody, in words: what each is, how pressing, and where it is dealt with. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from app.referrals.states import AlertKind, HeldBecause
from app.reporting.needs import COUNTED, Case, Group, Needs
from app.status.home_filters import GROUP_NAMES
from app.web.words import ago, away

_KINDS: Mapping[str, str] = {
    Group.CRITICAL: "Ends without an answer soon",
    Group.OVERDUE: "Overdue",
    Group.SOON: "Due soon",
    "held": "Held until you decide",
    "release": "Held back until released",
    "duplicate": "Possible duplicate of another party’s",
    "consent": "Originator consent asked",
    AlertKind.UNDELIVERABLE: "Could not be delivered",
    AlertKind.URGENT_UNACKNOWLEDGED: "Urgent, not acknowledged: telephone",
    AlertKind.CONFLICTING_ANSWER: "Answered twice, differently",
    AlertKind.LATE_ANSWER: "Answered after the end",
    AlertKind.EXPIRED: "Ended without an answer",
    AlertKind.NOTICE_FAILED: "Could not be told",
}
_BECAUSE: Mapping[str, str] = {
    HeldBecause.NO_ADDRESSEE: "Held: nobody to ask",
    HeldBecause.NOT_SENT_OUT: "Held: could not be sent out",
}
_ASKS: Mapping[Group, str] = {
    Group.CRITICAL: "Without an answer these end within a day.",
    Group.OVERDUE: "The due time has passed.",
    Group.SOON: "Due within a day.",
    Group.DECISION: "Nothing more happens to these until you decide.",
}


def number(found: Needs) -> str:
    """How many, as it is shown: `12`, or `1,000+` where there are more than were counted."""
    return f"{COUNTED:,}+" if found.number > COUNTED else f"{found.number:,}"


def about(kind: str) -> str:
    """What an alert of this kind is about."""
    return _KINDS[kind]


def what(case: Case) -> str:
    """What a case is."""
    return _BECAUSE.get(case.because or "") or _KINDS[case.kind]


def told(found: Needs, own: str, now: datetime) -> dict[str, Any]:
    """A group as its part of the page shows it."""
    return {
        "code": found.group.value,
        "name": GROUP_NAMES[found.group],
        "asks": _ASKS[found.group],
        "number": number(found),
        "more": found.number > len(found.cases),
        "cases": [_case(case, own, now, due=found.group is not Group.DECISION) for case in found.cases],
    }


def counted(found: Sequence[Needs]) -> list[tuple[str, str, str]]:
    """Code, name and number of each group."""
    return [(one.group.value, GROUP_NAMES[one.group], number(one)) for one in found]


def _case(case: Case, own: str, now: datetime, *, due: bool) -> dict[str, Any]:
    return {
        "id": case.matter or case.referral_id,
        "referral_id": case.referral_id,
        "reference": case.reference,
        "originator": case.originator,
        "region": case.region if case.region != own else None,
        "agency": case.agency,
        "priority": case.priority,
        "kind": case.kind,
        "what": what(case),
        "at": case.at,
        "when": away(case.at, now) if due else ago(case.at, now),
        "chase": case.matter if due else None,
        "decide": _decide(case),
    }


def _decide(case: Case) -> str:
    """Where it is dealt with."""
    if case.kind == "duplicate":
        return f"/duplicates/{case.matter}"
    return f"/referrals/{case.referral_id}#consents" if case.kind == "consent" else f"/referrals/{case.referral_id}"
