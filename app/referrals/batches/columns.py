"""The columns of a CSV file: a referral laid flat, as a spreadsheet has it. Pure.

Every cell is text as it stands: a formula is not worked out, and surrounding spaces do not count. An empty cell leaves
its field out. Where a column takes several values they stand in one cell with semicolons between; what has several
parts has numbered columns (`address_1` with `postcode_1`, `alias_1_family_name` with `alias_1_given_names`). A value
with a semicolon of its own goes by NDJSON.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.errors import BATCH_COLUMNS, Problem
from app.referrals.codes import IdentifierType

Path = tuple[str, ...]

TEXTS: Mapping[str, Path] = {
    "client_reference": ("client_reference",),
    "priority": ("priority",),
    "criterion": ("criterion",),
    "purpose": ("purpose",),
    "information_sought": ("information_sought",),
    "legal_basis": ("legal_basis",),
    "marking": ("marking",),
    "intelligence_assessment": ("grading", "assessment"),
    "handling_code": ("handling", "code"),
    "subject_kind": ("subject", "kind"),
    "family_name": ("subject", "family_name"),
    "given_names": ("subject", "given_names"),
    "date_of_birth": ("subject", "date_of_birth"),
    "name": ("subject", "name"),
    "ocg_reference": ("ocg", "reference"),
    "ocg_band": ("ocg", "band"),
    "operation_name": ("operation_name",),
    "contact_name": ("contact", "name"),
    "contact_email": ("contact", "email"),
    "contact_phone": ("contact", "phone"),
}
NUMBERS: Mapping[str, Path] = {
    "source_evaluation": ("grading", "source"),
    "ocg_score": ("ocg", "score"),
    "ocg_morile_score": ("ocg", "morile_score"),
}
LISTS: Mapping[str, Path] = {
    "crime_types": ("crime_types",),
    "warnings": ("warnings",),
    "handling_conditions": ("handling", "conditions"),
    "addressees": ("addressees",),
}
IDENTIFIERS = tuple(kind.value for kind in IdentifierType)
"""A column for each type of identifier; several of one type with semicolons between."""

REQUIRED = (
    *("client_reference", "subject_kind", "criterion", "crime_types", "priority", "purpose", "legal_basis", "marking"),
    *("source_evaluation", "intelligence_assessment", "handling_code"),
)
"""Columns without which no row could be sound."""

SEPARATOR = ";"
_PLACES: Mapping[str, Path] = {**TEXTS, **NUMBERS, **LISTS}
_POINTERS = {"/" + "/".join(path): name for name, path in _PLACES.items()} | {"/handling": "handling_code"}
_NUMBERED = re.compile(r"(?:alias_([1-9]\d?)_(?:family_name|given_names)|(?:address|postcode)_([1-9]\d?))")
_MOST_NUMBERED = 50
_INTEGER = re.compile(r"-?\d{1,15}", re.ASCII)
_FRACTION = re.compile(r"-?\d{1,15}\.\d{1,15}", re.ASCII)
_BRITISH_DATE = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})", re.ASCII)
_KNOWN_HEADING = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Columns:
    """The columns of one file, as its first row names them. Raises `Problem` for headings that are not ours."""

    def __init__(self, header: Sequence[str]) -> None:
        # A heading over nothing, as spreadsheets leave them at the right, is no column.
        while header and not header[-1].strip():
            header = header[:-1]
        self._names = [_normal(heading) for heading in header]
        _check(self._names)

    def fits(self, cells: Sequence[str]) -> bool:
        """Whether a row has no more cells than there are columns (but for empty ones at its end)."""
        return not any(cell.strip() for cell in cells[len(self._names) :])

    def document(self, cells: Sequence[str]) -> dict[str, Any]:
        """The referral's document that a row makes, not validated yet."""
        return self._made(cells)[0]

    def column(self, cells: Sequence[str], pointer: str) -> str:
        """The column that a pointer (RFC 6901) into this row's document comes from, or nothing: it is of several."""
        places = _POINTERS | self._made(cells)[1]
        while pointer:
            if pointer in places:
                return places[pointer]
            pointer = pointer.rpartition("/")[0]
        return ""

    def _made(self, cells: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
        """The document, and the columns of its parts that stand in lists, by pointer."""
        document: dict[str, Any] = {"subject": {}, "grading": {}, "handling": {}}
        numbered: dict[str, dict[str, str]] = {}
        identifiers: list[tuple[str, str]] = []
        for name, raw in zip(self._names, cells, strict=False):
            cell = raw.strip()
            if not cell:
                continue
            if name in TEXTS:
                _put(document, TEXTS[name], british(cell) if name == "date_of_birth" else cell)
            elif name in NUMBERS:
                _put(document, NUMBERS[name], _number(cell))
            elif name in LISTS:
                _put(document, LISTS[name], _several(cell))
            elif name in IDENTIFIERS:
                identifiers += [(name, value) for value in _several(cell)]
            else:
                group, part = _group(name)
                numbered.setdefault(group, {})[part] = cell
        places = _put_numbered(document["subject"], numbered)
        # In one order, so that a file with its columns moved about says the same.
        identifiers.sort(key=lambda given: IDENTIFIERS.index(given[0]))
        if identifiers:
            document["subject"]["identifiers"] = [{"type": name, "value": value} for name, value in identifiers]
        places |= {f"/subject/identifiers/{index}": name for index, (name, _) in enumerate(identifiers)}
        return document, places


def british(text: str) -> str:
    """A date that a British spreadsheet wrote (31/12/1984) as YYYY-MM-DD; any other text as it is."""
    match = _BRITISH_DATE.fullmatch(text)
    if match is None:
        return text
    day, month, year = match.groups()
    return f"{year}-{int(month):02d}-{int(day):02d}"


def template() -> str:
    """A file with the usual headings and no row, as UTF-8 with the mark by which spreadsheets know it."""
    numbered = ["alias_1_family_name", "alias_1_given_names", "address_1", "postcode_1", "address_2", "postcode_2"]
    others = [name for name in _PLACES if name not in REQUIRED]
    return "\ufeff" + ",".join([*REQUIRED, *others, *numbered, *IDENTIFIERS]) + "\r\n"


def _normal(heading: str) -> str:
    """`Family name` is `family_name`."""
    return re.sub(r"[\s_-]+", "_", heading.strip().lower())


def _check(names: Sequence[str]) -> None:
    faults = [
        {"pointer": _pointer(name), "detail": "An unknown column."} for name in dict.fromkeys(names) if not _known(name)
    ]
    twice = {name for index, name in enumerate(names) if name in names[:index] and _known(name)}
    faults += [{"pointer": f"column/{name}", "detail": "This column stands twice."} for name in sorted(twice)]
    missing = [name for name in REQUIRED if name not in names]
    faults += [{"pointer": f"column/{name}", "detail": "This column is required."} for name in missing]
    if faults:
        raise Problem(BATCH_COLUMNS, errors=faults[:100])


def _pointer(name: str) -> str:
    """A heading that is none of ours may be a cell of a file without headings: only what looks like one is told."""
    return f"column/{name}" if "_" in name and _KNOWN_HEADING.fullmatch(name) and not name[-1].isdigit() else "column"


def _known(name: str) -> bool:
    if name in _PLACES or name in IDENTIFIERS:
        return True
    match = _NUMBERED.fullmatch(name)
    return match is not None and int(match[1] or match[2]) <= _MOST_NUMBERED


def _group(name: str) -> tuple[str, str]:
    """Of a numbered column what it belongs to, and which part of that it is: `alias_1`, `family_name`."""
    kind, number, *part = name.split("_", 2)
    if kind == "alias":
        return f"alias_{number}", part[0]
    return f"address_{number}", "postcode" if kind == "postcode" else "lines"


def _put_numbered(subject: dict[str, Any], numbered: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Put aliases and addresses into the subject, in the order of their numbers; their columns by pointer."""
    places: dict[str, str] = {}
    for group in sorted(numbered, key=lambda name: int(name.rpartition("_")[2])):
        kind, number = group.split("_")
        field = "aliases" if kind == "alias" else "addresses"
        parts: dict[str, Any] = dict(numbered[group])
        if "lines" in parts:
            parts["lines"] = _several(parts["lines"])
        listed = subject.setdefault(field, [])
        pointer = f"/subject/{field}/{len(listed)}"
        listed.append(parts)
        places[pointer] = f"{group}_family_name" if kind == "alias" else group
        if kind == "alias":
            places[f"{pointer}/given_names"] = f"{group}_given_names"
        else:
            places[f"{pointer}/postcode"] = f"postcode_{number}"
    return places


def _put(document: dict[str, Any], path: Path, value: object) -> None:
    for part in path[:-1]:
        document = document.setdefault(part, {})
    document[path[-1]] = value


def _several(cell: str) -> list[str]:
    return [value for part in cell.split(SEPARATOR) if (value := part.strip())]


def _number(cell: str) -> int | float | str:
    """The number in a cell; text that is none is left to validation, which says so."""
    if _INTEGER.fullmatch(cell):
        return int(cell)
    return float(cell) if _FRACTION.fullmatch(cell) else cell
