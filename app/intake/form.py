"""From a page's form to a document of the API: texts become values, what is wrong stands beside its field. Pure.

The rules are the document's own (`app.referrals.documents`); nothing that was sent is ever quoted.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.errors import Problem

Loc = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

_DAY = re.compile(r"(\d{1,2})[ ./-](\d{1,2})[ ./-](\d{4})", re.ASCII)
_CHOICES = frozenset({"enum", "literal_error"})


@dataclass(frozen=True, slots=True)
class Input:
    """A field of a form: where its value stands in the document, and what a person calls it (`the purpose`)."""

    name: str
    loc: Loc
    label: str
    choice: bool = False


@dataclass(slots=True)
class Filled:
    """A document as a form gives it, not yet valid, and which field of the form gave which part of it."""

    document: dict[str, Any] = field(default_factory=dict)
    inputs: list[Input] = field(default_factory=list)

    def model(self, kind: type[Model], rest: str) -> tuple[Model | None, dict[str, str]]:
        """The valid document, or what is wrong by field; `rest` is the field for what belongs to none."""
        try:
            return kind.model_validate(self.document), {}
        except ValidationError as error:
            return None, self.wrong(error, rest)

    def wrong(self, error: ValidationError, rest: str) -> dict[str, str]:
        """What is wrong, by field, in the order of the form."""
        found: dict[str, str] = {}
        for fault in error.errors(include_url=False, include_input=False):
            given = self.input_at(tuple(fault["loc"]))
            found.setdefault(given.name if given else rest, told(fault, given))
        return {name: found[name] for name in [*(one.name for one in self.inputs), *found] if name in found}

    def refused(self, problem: Problem, rest: str) -> dict[str, str]:
        """The same of a refusal that points into the document."""
        found = {}
        for fault in problem.errors or ():
            loc = tuple(int(part) if part.isdigit() else part for part in fault["pointer"].split("/")[1:])
            given = self.input_at(loc)
            found[given.name if given else rest] = fault["detail"]
        return found or {rest: problem.detail or problem.kind.title}

    def input_at(self, loc: Loc) -> Input | None:
        """The field that gave this part of the document: the one whose place is the longest beginning of it.

        Where a whole part is missing, the first field of that part.
        """
        holding = [one for one in self.inputs if loc[: len(one.loc)] == one.loc]
        if holding:
            return max(holding, key=lambda one: len(one.loc))
        return next((one for one in self.inputs if loc and one.loc[: len(loc)] == loc), None)


def told(fault: Mapping[str, Any], given: Input | None) -> str:
    """One fault in words."""
    label = given.label if given else "this"
    kind, context = fault["type"], fault.get("ctx") or {}
    if kind in _CHOICES or (given and given.choice and kind in ("missing", "too_short")):
        return f"Choose {label}."
    if kind in ("missing", "string_too_short", "too_short"):
        return f"Enter {label}."
    start = label[:1].upper() + label[1:]
    if kind == "string_too_long":
        return f"{start} can have at most {context['max_length']} characters."
    if kind == "too_long":
        return f"At most {context['max_length']} are taken."
    if kind in ("int_type", "int_parsing", "float_type"):
        return f"{start} must be a number in figures."
    if kind == "greater_than_equal":
        return f"{start} must be {context['ge']} or more."
    if kind == "less_than_equal":
        return f"{start} must be {context['le']} or less."
    if kind == "string_pattern_mismatch":
        return f"{start} is not written as it should be."
    if not context and "Input" not in fault["msg"]:  # one of our own: `must not be blank`
        return f"{start}: {fault['msg']}." if given else f"{fault['msg'][:1].upper()}{fault['msg'][1:]}."
    return f"{start} is not acceptable."


def put(document: dict[str, Any], loc: Loc, value: Any) -> None:
    """Set a value of a document at its place, making the objects on the way; lists are given whole."""
    for part in loc[:-1]:
        document = document.setdefault(str(part), {})
    document[str(loc[-1])] = value


def clean(text: str) -> str:
    """A field as it is meant: without spaces around it, lines ending as everywhere else."""
    return text.replace("\r\n", "\n").strip()


def day(text: str) -> str:
    """A day as people write it (`27 3 2027`) as YYYY-MM-DD; anything else as it is, to be refused."""
    found = _DAY.fullmatch(text)
    return f"{found[3]}-{int(found[2]):02}-{int(found[1]):02}" if found else text


def written_day(value: str) -> str:
    """The same the other way round."""
    parts = value.split("-")
    return f"{int(parts[2])} {int(parts[1])} {parts[0]}" if len(parts) == 3 and all(map(str.isdigit, parts)) else value


def number(text: str) -> int | str:
    """A number in figures; anything else as it is, to be refused."""
    figures = text.replace(",", "")
    return int(figures) if figures.isascii() and figures.isdigit() and len(figures) <= 12 else text


def pounds(text: str) -> str:
    """An amount without its sign and its commas."""
    return text.removeprefix("£").replace(",", "").replace(" ", "")


def lines(text: str) -> list[str]:
    """The lines of a text that say something."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def words_of(codes: Iterable[str]) -> list[tuple[str, str]]:
    """Codes as choices of a form."""
    return [(code, (words := code.replace("_", " "))[:1].upper() + words[1:]) for code in codes]
