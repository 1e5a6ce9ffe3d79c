"""The form of an outcome: its fields, and the document that they make. Pure."""

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import FormData

from app.intake.form import Filled, Input, clean, day, number, pounds, put, written_day
from app.referrals.outcome_documents import Disruption, SeizureKind
from app.referrals.outcomes import COUNTS
from app.reporting.sheet import COUNTS as WORDS

DISRUPTIONS = [("", "Not known yet"), *((one.value, one.value.capitalize()) for one in Disruption)]

COUNTED = [(name, WORDS[name]) for name in COUNTS]

_UNITS = {
    SeizureKind.CASH: "",
    SeizureKind.DRUGS: "grams",
    SeizureKind.PLANTS: "plants",
    SeizureKind.FIREARMS: "weapons and rounds",
    SeizureKind.VEHICLES: "vehicles",
    SeizureKind.GOODS: "pieces",
    SeizureKind.OTHER: "pieces",
}

SEIZURES = [(kind.value, kind.value.capitalize(), unit) for kind, unit in _UNITS.items()]
"""Each kind with its words and what its quantity counts; cash has none."""


def blank() -> dict[str, Any]:
    """The fields of a form that nobody has filled in."""
    fields: dict[str, Any] = dict.fromkeys(("acted_on", "disruption", "assets_frozen", "summary", *COUNTS), "")
    for kind, _, _ in SEIZURES:
        fields |= {f"{kind}_quantity": "", f"{kind}_value": ""}
    return {**fields, "useful": []}


def fields_of(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an outcome that is to be corrected."""
    fields = blank()
    for name in ("disruption", "assets_frozen", "summary", *COUNTS):
        fields[name] = "" if outcome[name] is None else str(outcome[name])
    fields["acted_on"] = written_day(str(outcome["acted_on"]))
    for seizure in outcome["seizures"]:
        for part in ("quantity", "value"):
            if seizure[part] is not None and not fields[f"{seizure['kind']}_{part}"]:
                fields[f"{seizure['kind']}_{part}"] = str(seizure[part])
    fields["useful"] = [str(id) for id in outcome["useful"]]
    return fields


def given_by(form: FormData) -> dict[str, Any]:
    """The fields as they were sent."""
    sent = {name: clean(str(form.get(name, ""))) for name in blank() if name != "useful"}
    return {**sent, "useful": [str(one) for one in form.getlist("useful")]}


def filled(fields: Mapping[str, Any], replaces: str) -> Filled:
    """The document that these fields make."""
    made = Filled()

    def take(name: str, label: str, value: Any, *loc: str | int) -> None:
        made.inputs.append(Input(name, loc or (name,), label))
        if fields[name]:
            put(made.document, loc or (name,), value)

    take("acted_on", "the day of the action", day(fields["acted_on"]))
    take("disruption", "what it did to the group", fields["disruption"])
    for name, words in COUNTED:
        take(name, words.lower(), number(fields[name]))
    take("assets_frozen", "the assets frozen", pounds(fields["assets_frozen"]))
    _seizures(made, fields)
    take("useful", "whose answers contributed", list(fields["useful"]))
    take("summary", "the summary", fields["summary"])
    if replaces:
        made.document["replaces"] = replaces
    return made


def _seizures(made: Filled, fields: Mapping[str, Any]) -> None:
    found: list[dict[str, Any]] = []
    for kind, words, _ in SEIZURES:
        quantity, value = fields[f"{kind}_quantity"], fields[f"{kind}_value"]
        if not quantity and not value:
            continue
        place = ("seizures", len(found))
        made.inputs.append(Input(f"{kind}_quantity", (*place, "quantity"), f"how much: {words.lower()}"))
        made.inputs.append(Input(f"{kind}_value", (*place, "value"), f"the value: {words.lower()}"))
        said = {"quantity": number(quantity) if quantity else None, "value": pounds(value) if value else None}
        found.append({"kind": kind, **said})
    if found:
        made.document["seizures"] = found
