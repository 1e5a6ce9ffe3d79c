"""The form of an agency's own policy, as the document that the API takes. Pure."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import FormData

from app.parties.own_policy import OwnPolicy

DAYS: Mapping[str, str] = {
    **{"1": "Monday", "2": "Tuesday", "3": "Wednesday", "4": "Thursday", "5": "Friday"},
    **{"6": "Saturday", "7": "Sunday"},
}

_TEXTS = ("accepts", "notices_per_day", "first_day", "last_day")
_LISTS = ("crime_types", "working_days")

_NAMED_DAY = re.compile(r"(\d{1,2})[ ./-](\d{1,2})[ ./-](\d{4})", re.ASCII)

_ADVICE = {
    "crime_types": "Choose at least one crime type, or take all.",
    "notices_per_day": "Give a whole number from 1 to 100,000, or leave it empty.",
    "working_days": "Choose at least one day.",
    "first_day": "Give the first day, for example 27 3 2027.",
    "last_day": "Give the last day, for example 3 4 2027, not before the first.",
}

Filled = dict[str, Any]
"""The fields of the form by their names, as they are shown: texts, and lists of codes."""


def read(fields: FormData) -> Filled:
    """What was filled in."""
    texts = {name: str(fields.get(name, "")).strip() for name in _TEXTS}
    return {**texts, **{name: [str(value) for value in fields.getlist(name)] for name in _LISTS}}


def filled(policy: OwnPolicy) -> Filled:
    """The form of a policy."""
    away = policy.out_of_office
    return {
        "accepts": "all" if policy.crime_types is None else "some",
        "crime_types": [str(code) for code in policy.crime_types or ()],
        "notices_per_day": "" if policy.notices_per_day is None else str(policy.notices_per_day),
        "working_days": [str(day) for day in policy.working_days],
        "first_day": _shown(away.first_day) if away else "",
        "last_day": _shown(away.last_day) if away else "",
    }


def policy_of(form: Filled) -> OwnPolicy:
    """The policy that a form asks for. Raises `ValidationError`."""
    days = (form["first_day"], form["last_day"])
    return OwnPolicy.model_validate(
        {
            "crime_types": None if form["accepts"] == "all" else form["crime_types"],
            "notices_per_day": _number(form["notices_per_day"]),
            "working_days": [_number(day) for day in form["working_days"]],
            "out_of_office": {"first_day": _day(days[0]), "last_day": _day(days[1])} if any(days) else None,
        }
    )


def errors_of(error: ValidationError) -> dict[str, str]:
    """By the name of the field, what it takes; never what was sent."""
    names = [_name(fault["loc"]) for fault in error.errors(include_url=False, include_input=False)]
    return {name: advice for name, advice in _ADVICE.items() if name in names}


def _name(place: Sequence[str | int]) -> str:
    if place[0] != "out_of_office":
        return str(place[0])
    return str(place[1]) if len(place) > 1 else "last_day"


def _number(text: str) -> int | str | None:
    """A number where it is one; nothing where nothing is written; else the text, which the rules refuse."""
    if not text:
        return None
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 10 else text


def _day(text: str) -> str:
    """27 3 2027 as 2027-03-27; what is no such day is left to the rules."""
    written = _NAMED_DAY.fullmatch(text)
    if written is None:
        return text
    day, month, year = written.groups()
    return f"{year}-{int(month):02}-{int(day):02}"


def _shown(day: date) -> str:
    return f"{day.day} {day.month} {day.year}"
