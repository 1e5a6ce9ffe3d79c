"""What the macros of `components.html` hand to the design system's: too long to build in a template. Pure."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any


def told(given: Mapping[str, Any], name: str, errors: Mapping[str, str], hint: str | None) -> dict[str, Any]:
    """A component's parameters with its hint, and what is wrong with it, if there is either."""
    added: dict[str, Any] = {}
    if hint:
        added["hint"] = {"text": hint}
    if name in errors:
        added["errorMessage"] = {"text": errors[name]}
    return {**given, **added}


def choice(
    name: str, legend: str, choices: Iterable[tuple[str, str]], values: Collection[str], inline: bool = False
) -> dict[str, Any]:
    """The parameters of radios or checkboxes: `choices` are pairs of value and words, `values` those chosen.

    The first has the name as its id, so that an error summary leads to it.
    """
    return {
        "idPrefix": name,
        "name": name,
        "classes": "govuk-radios--inline" if inline else "",
        "fieldset": {"legend": {"text": legend, "classes": "govuk-fieldset__legend--s"}},
        "items": [{"value": value, "text": words, "checked": value in values} for value, words in choices],
    }
