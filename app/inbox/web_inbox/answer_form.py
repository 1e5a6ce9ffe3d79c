"""The form of an answer, as the document that the API takes: read from what was sent, checked by its rules. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import FormData as Fields

from app.referrals.documents import SubmittedResponse
from app.referrals.states import Outcome

MOST_FACTS = 50
"""In one form; the API takes more."""

Document = dict[str, Any]

_ASKED: Mapping[Outcome, tuple[str, ...]] = {
    Outcome.HIT: ("summary", "onward_disclosure", "legal_basis", "contact"),
    Outcome.NO_HIT: ("summary", "legal_basis", "contact"),
    Outcome.DECLINED: ("decline_reason", "summary", "contact"),
    Outcome.MORE_INFORMATION: ("summary", "contact"),
}
"""The single fields of each outcome's form."""

_NEEDED: Mapping[Outcome, tuple[str, ...]] = {
    Outcome.HIT: ("summary",),  # unless there is a fact
    Outcome.NO_HIT: (),
    Outcome.DECLINED: ("decline_reason",),
    Outcome.MORE_INFORMATION: ("summary",),
}
"""What is sent on even where it is empty, so that the document's own rules find it missing, and say so there."""


def read(fields: Fields, outcome: Outcome) -> Document:
    """What was filled in, as a document; it need not be valid yet."""
    document: Document = {"outcome": outcome.value}
    document |= {name: said for name in _ASKED[outcome] if (said := _said(fields, name))}
    if outcome is Outcome.HIT:
        document["facts"] = [_fact(fields, number) for number in range(_number_of_facts(fields))]
        document |= _graded(fields, "")
    return document


def submission(document: Document) -> SubmittedResponse:
    """The response that this document is. Raises `ValidationError`."""
    outcome = Outcome(document["outcome"])
    needed: Document = {name: "" for name in _NEEDED[outcome] if not (name == "summary" and document.get("facts"))}
    if outcome is Outcome.HIT:
        needed |= {"grading": {}, "handling": {}}
    return SubmittedResponse.model_validate({**needed, **document})


def errors_of(error: ValidationError) -> dict[str, str]:
    """By the name of the field, in the order of the form, what it takes; never what was sent."""
    told: dict[str, str] = {}
    for fault in error.errors(include_url=False, include_input=False):
        name = name_of(fault["loc"])
        told.setdefault(name, _words(name, fault))
    return {name: told[name] for name in sorted(told, key=_place)}


def name_of(place: Sequence[str | int]) -> str:
    """The field that a part of the document is filled in at: `("facts", 0, "text")` is `fact-0-text`."""
    if not place:
        return "summary"
    if place[0] == "facts" and len(place) > 1:
        return f"fact-{place[1]}-{_leaf(place[2:])}"
    return _leaf(place)


def _leaf(place: Sequence[str | int]) -> str:
    match list(place):
        case ["grading"]:
            return "source"
        case ["grading", name]:
            return str(name)
        case ["handling", "code"]:
            return "code"
        case ["handling", *_]:
            return "conditions"
        case [name, *_]:
            return str(name)
    return "text"


_ORDER = ("decline_reason", "summary", "fact", "kind", "text", "source", "assessment", "code", "conditions")


def _place(name: str) -> tuple[int, int, int]:
    if name.startswith("fact-"):
        _, number, leaf = name.split("-", 2)
        return (_ORDER.index("fact"), int(number), _rank(leaf))
    return (_rank(name), 0, 0)


def _rank(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


_EMPTY = frozenset({"missing", "string_too_short", "enum", "literal_error", "int_type", "greater_than_equal"})
_ADVICE = {
    "summary": "Say it in words.",
    "decline_reason": "Choose why you decline.",
    "kind": "Choose what the fact is about.",
    "text": "Say what the fact is, or remove it.",
    "source": "Choose how reliable the source is.",
    "assessment": "Choose how it is known to the source.",
    "code": "Choose how it may be handled.",
    "conditions": "Choose at least one condition for handling code C.",
}


def _words(name: str, fault: Mapping[str, Any]) -> str:
    kind, leaf = fault["type"], name.rsplit("-", 1)[-1]
    if kind in _EMPTY or kind == "handling-conditions-required":
        return _ADVICE.get(leaf, "Choose one of these.")
    if kind == "string_too_long":
        return f"Use {fault['ctx']['max_length']:,} characters at most."
    message = str(fault["msg"])
    return f"{message[:1].upper()}{message[1:]}."


def _said(fields: Fields, name: str) -> str:
    """What was written or chosen there. Browsers end lines with two characters; a document has one."""
    value = fields.get(name, "")
    return value.replace("\r\n", "\n").replace("\0", "").strip() if isinstance(value, str) else ""


def _graded(fields: Fields, prefix: str) -> Document:
    """Grading and handling, where anything of each was chosen."""
    source, assessment = _said(fields, f"{prefix}source"), _said(fields, f"{prefix}assessment")
    code = _said(fields, f"{prefix}code")
    conditions = [one for one in fields.getlist(f"{prefix}conditions") if isinstance(one, str)]
    found: Document = {}
    if source or assessment:
        grading = {"source": int(source) if source in {"1", "2", "3"} else None, "assessment": assessment or None}
        found["grading"] = {name: value for name, value in grading.items() if value is not None}
    if code or conditions:
        found["handling"] = {"code": code, "conditions": conditions} if code else {"conditions": conditions}
    return found


def _fact(fields: Fields, number: int) -> Document:
    prefix = f"fact-{number}-"
    kind, text = _said(fields, f"{prefix}kind"), _said(fields, f"{prefix}text")
    return {"kind": kind, "text": text, **_graded(fields, prefix)}


def _number_of_facts(fields: Fields) -> int:
    number = 0
    while number < MOST_FACTS and fields.get(f"fact-{number}-kind") is not None:
        number += 1
    return number
