"""What is wrong with a request, told without a word of what was sent.

Turns pydantic's errors into the `errors` of a problem document: where (`pointer`) and what is taken (`detail`).

- For a body the pointer is RFC 6901: `/subject/addresses/0/postcode`; the body itself is the empty pointer.
- For a parameter it is `query/limit`, `path/id`, `header/idempotency-key` or `cookie/…`: never starting with a slash.
- A part of a pointer that was chosen by the client and does not look like one of our field names is left out, and the
  pointer ends at its parent: a key can be a person's name.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.errors import INVALID_BODY, INVALID_PARAMETER, NOT_FOUND, PROBLEM_TYPES, Problem

MAX_TOLD = 100
"""A body can hold thousands of faults; the first hundred say enough."""

_FIELD_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
# What pydantic's messages may quote, by the name of the quoted thing: limits and choices from our own schema, counts.
# Others (`error`, `tag`, `reason` …) can hold what was sent.
_OF_THE_SCHEMA = frozenset(
    {"expected", "expected_plural", "expected_tags", "expected_version", "expected_schemes", "tz_expected"}
    | {"discriminator", "field_type", "class", "class_name", "pattern"}
    | {"min_length", "max_length", "actual_length", "max_digits", "decimal_places", "whole_digits"}
    | {"gt", "ge", "lt", "le", "multiple_of"}
)
_WORDING = {
    "extra_forbidden": "An unknown field.",
    "missing": "This field is required.",
    "uuid_parsing": "Give a UUID.",
    "date_parsing": "Give a date as YYYY-MM-DD.",
    "date_from_datetime_parsing": "Give a date as YYYY-MM-DD.",
    "date_from_datetime_inexact": "Give a date as YYYY-MM-DD.",
    "datetime_parsing": "Give a time as in RFC 3339, with its offset.",
    "datetime_from_date_parsing": "Give a time as in RFC 3339, with its offset.",
    "time_parsing": "Give a time as HH:MM:SS.",
    "time_delta_parsing": "Give a duration as in ISO 8601.",
    "url_parsing": "Give a URL.",
    "model_attributes_type": "Give an object.",
    "model_type": "Give an object.",
    "dict_type": "Give an object.",
}
_ANYTHING_ELSE = "This value is not acceptable."


def problem_of(errors: Sequence[Mapping[str, Any]], body: Any) -> Problem:
    """The refusal for pydantic's `errors` of a request with this parsed `body`.

    An address that cannot be is not there: 404. A single fault raised as `PydanticCustomError` under the name of a
    problem type is that problem; everything else is listed under 422.
    """
    if any(_place(error) == "path" for error in errors):
        return Problem(NOT_FOUND)
    told = [{"pointer": _pointer(error, body), "detail": _detail(error)} for error in errors[:MAX_TOLD]]
    if len(errors) == 1 and errors[0]["type"] in PROBLEM_TYPES:
        return Problem(PROBLEM_TYPES[errors[0]["type"]], errors=told)
    in_body = any(_place(error) == "body" for error in errors)
    return Problem(INVALID_BODY if in_body else INVALID_PARAMETER, errors=told)


def _place(error: Mapping[str, Any]) -> str:
    return str(error["loc"][0]) if error["loc"] else "body"


def _pointer(error: Mapping[str, Any], body: Any) -> str:
    place, parts = _place(error), error["loc"][1:]
    if place != "body":
        name = str(parts[0]) if parts else ""
        name = name.lower() if place == "header" else name
        return f"{place}/{name}" if _FIELD_NAME.fullmatch(name) else place
    return "".join(f"/{_escape(part)}" for part in _steps(parts, body, last_may_be_absent=error["type"] == "missing"))


def _steps(parts: Sequence[str | int], body: Any, *, last_may_be_absent: bool) -> Iterable[str | int]:
    """Those parts of pydantic's location that exist in the body: it also names union members and tags."""
    node = body
    for index, part in enumerate(parts):
        if isinstance(node, Mapping) and part in node:
            if not _FIELD_NAME.fullmatch(str(part)):
                return
            node = node[part]
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
        elif not (last_may_be_absent and index == len(parts) - 1):
            continue
        yield part


def _escape(part: str | int) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def _detail(error: Mapping[str, Any]) -> str:
    kind = error["type"]
    if kind in _WORDING:
        return _WORDING[kind]
    context = error.get("ctx") or {}
    if kind == "union_tag_invalid":
        return f"{context['discriminator']} should be one of: {context['expected_tags']}."
    return str(error["msg"]) if _OF_THE_SCHEMA.issuperset(context) else _ANYTHING_ELSE
