"""The subject of a referral as a body's search reads it: only what it can use, cut to size, whatever was sent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from workers.simulation.plain import key, plain

_MOST = 8
"""A search looks at so many aliases, addresses or identifiers, and at no more."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Who or what is sought. Names are (family, given) in plain form, addresses (line, postcode) in plain form."""

    kind: str
    names: tuple[tuple[str, str], ...]
    birth: date | None
    addresses: tuple[tuple[str, str], ...]
    identifiers: tuple[str, ...]
    organisation: str

    def has(self, type_: str) -> bool:
        """Whether an identifier of this type was given."""
        return any(identifier.startswith(f"{type_}:") for identifier in self.identifiers)


def read_subject(document: Any) -> Subject:
    """The subject of a referral document; what is missing or of a wrong type is left out. Never raises."""
    fields = document if isinstance(document, Mapping) else {}
    people = [fields, *_objects(fields.get("aliases"))]
    return Subject(
        kind=_text(fields.get("kind")) or "person",
        names=tuple(dict.fromkeys(name for name in map(_name, people) if any(name))),
        birth=_date(fields.get("date_of_birth")),
        addresses=tuple(map(_address, _objects(fields.get("addresses")))),
        identifiers=tuple(_identifiers(fields)),
        organisation=_text(fields.get("organisation_name") or fields.get("name")),
    )


def _objects(value: Any) -> list[Mapping[str, Any]]:
    items = value[:_MOST] if isinstance(value, list) else []
    return [item for item in items if isinstance(item, Mapping)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _name(fields: Mapping[str, Any]) -> tuple[str, str]:
    given = _text(fields.get("given_names")).split(None, 1)
    return plain(_text(fields.get("family_name"))), plain(given[0]) if given else ""


def _date(value: Any) -> date | None:
    try:
        return date.fromisoformat(_text(value))
    except ValueError:
        return None


def _address(fields: Mapping[str, Any]) -> tuple[str, str]:
    lines = fields.get("lines")
    first = next((line for line in lines if isinstance(line, str)), "") if isinstance(lines, list) else ""
    return plain(first), plain(_text(fields.get("postcode")))


def _identifiers(fields: Mapping[str, Any]) -> Iterable[str]:
    for item in _objects(fields.get("identifiers")):
        type_, value = _text(item.get("type")), plain(_text(item.get("value")))
        if type_ and value:
            yield key(type_, value)
