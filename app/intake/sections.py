"""The sections of a new referral's form: their fields, and the document that they make. Pure.

The rules are those of the API's own document, `SubmittedReferral`: a section is in order where the document made of all
sections has no fault in it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from app.intake.form import Filled, Input, Loc, clean, day, lines, number, put, words_of
from app.parties.codes import CrimeType, LegalBasis, Priority
from app.referrals.codes import (
    Assessment,
    Criterion,
    HandlingCode,
    HandlingCondition,
    IdentifierType,
    Marking,
    SubjectKind,
    SubjectWarning,
)
from app.referrals.documents import SubmittedReferral
from app.reporting.sheet import ASSESSMENTS, CONDITIONS, POWERS, SOURCES

Content = Mapping[str, Mapping[str, Any]]
Shape = Literal["line", "area", "radios", "checks", "select", "heading"]

IDENTIFIERS = 4
"""How many rows for numbers the form has. Whoever has more says them in what is asked, or uses the API."""

_POSTCODE = re.compile(r"[A-Z]{1,2}[0-9][A-Z0-9]? ?[0-9][A-Z]{2}", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Field:
    """One field: what stands beside it, how it is given, and where its value goes in the document, if it goes as it is.

    `choices` of None are the bodies that may be asked, which the page knows.
    """

    name: str
    label: str
    loc: Loc = ()
    shape: Shape = "line"
    choices: Sequence[tuple[str, str]] | None = ()
    hint: str = ""
    value: Callable[[str], Any] = str
    width: int | None = None

    @property
    def many(self) -> bool:
        """Whether it has several values."""
        return self.shape == "checks"

    @property
    def input(self) -> Input:
        """The field as `Filled` knows it."""
        label = self.label if self.label[:2].isupper() else self.label[:1].lower() + self.label[1:]
        return Input(self.name, self.loc, label, choice=self.shape in ("radios", "checks", "select"))


@dataclass(frozen=True, slots=True)
class Section:
    """One page of the form."""

    slug: str
    title: str
    fields: Sequence[Field]
    hint: str = ""
    optional: bool = False


def _power_choices() -> list[tuple[str, str]]:
    return [("", "Choose one"), *((one.value, POWERS[one][:1].upper() + POWERS[one][1:]) for one in LegalBasis)]


SUBJECT = Section(
    "subject",
    "Subject",
    (
        Field("kind", "What it is about", ("subject", "kind"), "radios", words_of(SubjectKind)),
        Field("person", "A person", shape="heading"),
        Field("family_name", "Family name", ("subject", "family_name")),
        Field("given_names", "Given names", ("subject", "given_names")),
        Field(
            "date_of_birth",
            "Date of birth",
            ("subject", "date_of_birth"),
            hint="For example 7 3 1984",
            value=day,
            width=10,
        ),
        Field("aliases", "Other names", shape="area", hint="One a line: family name, given names"),
        Field("other", "An organisation, premises or vehicle", shape="heading"),
        Field("name", "Name", ("subject", "name")),
        Field("all", "Any of these", shape="heading"),
        Field("addresses", "Addresses", shape="area", hint="One a line, the postcode last: 9 Heol y Mynydd, CF48 1AA"),
        *(
            field
            for number in range(1, IDENTIFIERS + 1)
            for field in (
                Field(
                    f"identifier_{number}_type",
                    f"Kind of number {number}",
                    shape="select",
                    choices=(("", "None"), *words_of(IdentifierType)),
                ),
                Field(f"identifier_{number}", f"Number or address {number}", width=20),
            )
        ),
        Field("warnings", "Warnings", ("warnings",), "checks", words_of(SubjectWarning)),
    ),
    "Who or what you ask about",
)

GROUP = Section(
    "group",
    "Criminal group and criterion",
    (
        Field(
            "criterion",
            "Why it may be referred",
            ("criterion",),
            "radios",
            [(code, words.replace("ocg", "OCG")) for code, words in words_of(Criterion)],
        ),
        Field("crime_types", "Crime types", ("crime_types",), "checks", words_of(CrimeType)),
        Field("ocg_reference", "Reference of the group", ("ocg", "reference"), hint="As your force maps it", width=20),
        Field("ocg_band", "Band", ("ocg", "band"), width=5),
        Field("ocg_score", "Score", ("ocg", "score"), value=number, width=5),
        Field("operation_name", "Operation", ("operation_name",)),
    ),
    "What makes it a matter for GAIN",
)

ASK = Section(
    "ask",
    "What you ask",
    (
        Field("priority", "Priority", ("priority",), "radios", words_of(Priority)),
        Field("purpose", "Purpose", ("purpose",), "area", hint="What the answers are needed for"),
        Field(
            "information_sought", "Information sought", ("information_sought",), "area", hint="You may leave this open"
        ),
    ),
    "The purpose, and how soon",
)

HANDLING = Section(
    "handling",
    "Handling and legal basis",
    (
        Field("marking", "Marking", ("marking",), "radios", [(one.value, one.value) for one in Marking]),
        Field("legal_basis", "Your legal basis", ("legal_basis",), "select", _power_choices()),
        Field(
            "source",
            "Source evaluation",
            ("grading", "source"),
            "radios",
            [(str(code), f"{code}, {words}") for code, words in SOURCES.items()],
            value=number,
        ),
        Field(
            "assessment",
            "Intelligence assessment",
            ("grading", "assessment"),
            "radios",
            [(one.value, f"{one.value}, {ASSESSMENTS[one.value]}") for one in Assessment],
        ),
        Field(
            "handling_code",
            "Handling",
            ("handling", "code"),
            "radios",
            [
                (HandlingCode.P.value, "P, lawful sharing permitted"),
                (HandlingCode.C.value, "C, lawful sharing permitted with conditions"),
            ],
        ),
        Field(
            "conditions",
            "Conditions, for handling code C",
            ("handling", "conditions"),
            "checks",
            [(one.value, f"{one.value}, {CONDITIONS[one.value]}") for one in HandlingCondition],
        ),
    ),
    "Marking, grading and the power you rely on",
)

ADDRESSEES = Section(
    "addressees",
    "Bodies to ask",
    (
        Field(
            "addressees", "Ask these", ("addressees",), "checks", None, "None: the routing matrix chooses them for you"
        ),
        Field("others", "Others, by their codes", shape="area", hint="Local authorities and fire services, one a line"),
    ),
    "Leave it open, and the routing matrix chooses",
    optional=True,
)

CONTACT = Section(
    "contact",
    "Contact",
    (
        Field(
            "contact_name", "Whom to ask", ("contact", "name"), hint="A desk rather than a person, where there is one"
        ),
        Field("email", "Email", ("contact", "email")),
        Field("phone", "Telephone", ("contact", "phone"), width=20),
        Field("client_reference", "Your own reference", ("client_reference",), hint="Never shown on"),
    ),
    "Whom a body may ask, and your own reference",
    optional=True,
)

SECTIONS = (SUBJECT, GROUP, ASK, HANDLING, ADDRESSEES, CONTACT)


def section_of(slug: str) -> Section | None:
    """The section with this address."""
    return next((one for one in SECTIONS if one.slug == slug), None)


def blank(section: Section) -> dict[str, Any]:
    """A section that nobody has filled in."""
    return {field.name: [] if field.many else "" for field in section.fields if field.shape != "heading"}


def given_by(section: Section, form: Any) -> dict[str, Any]:
    """A section as it was sent."""
    fields = blank(section)
    for name, empty in fields.items():
        fields[name] = [str(one) for one in form.getlist(name)] if empty == [] else clean(str(form.get(name, "")))
    return fields


def filled(content: Content) -> Filled:
    """The document that a draft makes, with the fields of every section."""
    made = Filled({"subject": {}, "grading": {}, "handling": {}})
    for section in SECTIONS:
        fields = {**blank(section), **content.get(section.slug, {})}
        for field in section.fields:
            if not field.loc:
                continue
            made.inputs.append(field.input)
            if fields[field.name] and _concerns(field, fields):
                given = fields[field.name]
                put(made.document, field.loc, given if field.many else field.value(given))
    _subject(made, {**blank(SUBJECT), **content.get(SUBJECT.slug, {})})
    _addressees(made, {**blank(ADDRESSEES), **content.get(ADDRESSEES.slug, {})})
    made.inputs.append(Input("conditions", ("handling",), "conditions"))
    return made


def faults(section: Section, content: Content) -> dict[str, str]:
    """What is wrong with one section of a draft, by field."""
    found = _faults(content)
    return {name: words for name, words in found.items() if name in blank(section)}


def standing(content: Content) -> dict[str, bool]:
    """By section, whether it is in order as it was kept; one that nobody kept is not, unless it is optional."""
    found = _faults(content)
    return {
        one.slug: (one.slug in content or one.optional) and not (found.keys() & blank(one).keys()) for one in SECTIONS
    }


def answers(section: Section, content: Content, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """What a section says, for checking: label and words."""
    fields = {**blank(section), **content.get(section.slug, {})}
    told = []
    for field in section.fields:
        given = fields.get(field.name)
        if not given or not _concerns(field, fields):
            continue
        words = dict(names if field.choices is None else field.choices)
        values = given if field.many else [given]
        told.append((field.label, ", ".join(words.get(value, value) for value in values)))
    return told


def _faults(content: Content) -> dict[str, str]:
    made = filled(content)
    try:
        SubmittedReferral.model_validate(made.document)
    except ValidationError as error:
        return made.wrong(error, "kind")
    return {}


_OF_PERSONS = frozenset({"family_name", "given_names", "date_of_birth", "aliases"})


def _concerns(field: Field, fields: Mapping[str, Any]) -> bool:
    """Whether what was typed counts: names of a person only for a person, a name only for anything else."""
    is_person = fields.get("kind") == SubjectKind.PERSON
    if field.name in _OF_PERSONS:
        return is_person
    return not (field.name == "name" and is_person)


def _subject(made: Filled, fields: Mapping[str, Any]) -> None:
    subject, is_person = made.document["subject"], fields["kind"] == SubjectKind.PERSON
    made.inputs.append(Input("family_name" if is_person else "name", ("subject",), "the subject"))
    made.inputs.append(Input("aliases", ("subject", "aliases"), "other names"))
    if is_person and fields["aliases"]:
        subject["aliases"] = [_alias(line) for line in lines(fields["aliases"])]
    made.inputs.append(Input("addresses", ("subject", "addresses"), "addresses"))
    if fields["addresses"]:
        subject["addresses"] = [_address(line) for line in lines(fields["addresses"])]
    identifiers: list[dict[str, str]] = []
    for row in range(1, IDENTIFIERS + 1):
        kind, value = fields[f"identifier_{row}_type"], fields[f"identifier_{row}"]
        if not kind and not value:
            continue
        place: Loc = ("subject", "identifiers", len(identifiers))
        made.inputs.append(Input(f"identifier_{row}_type", (*place, "type"), "the kind of number", choice=True))
        made.inputs.append(Input(f"identifier_{row}", (*place, "value"), f"number or address {row}"))
        identifiers.append({name: given for name, given in (("type", kind), ("value", value)) if given})
    if identifiers:
        subject["identifiers"] = identifiers


def _addressees(made: Filled, fields: Mapping[str, Any]) -> None:
    made.inputs.append(Input("others", ("addressees",), "the bodies to ask"))
    others = [code.upper() for code in re.split(r"[\s,;]+", fields["others"]) if code]
    if named := [*fields["addressees"], *others]:
        made.document["addressees"] = named


def _alias(line: str) -> dict[str, str]:
    family, _, given = (part.strip() for part in line.partition(","))
    return {name: value for name, value in (("family_name", family), ("given_names", given)) if value}


def _address(line: str) -> dict[str, Any]:
    parts = [part.strip() for part in line.split(",") if part.strip()]
    postcode = parts.pop().upper() if parts and _POSTCODE.fullmatch(parts[-1]) else None
    return {"lines": parts, **({"postcode": postcode} if postcode else {})}
