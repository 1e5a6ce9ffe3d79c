"""The blind index: the same subject is found however it is spelt, and nothing can be learnt from parts of it."""

from typing import Any

import pytest

from app.crypto.blind_index import DIGEST_BYTES, BlindIndex, Compound, compounds, plain
from app.crypto.keys import Keys
from tests.conftest import referral

INDEX = BlindIndex(Keys(b"a master secret of enough characters"))
BORN = "1984-03-07"


def person(family: str | None, given: str | None, born: str | None = BORN, **more: Any) -> dict[str, Any]:
    return {"kind": "person", "family_name": family, "given_names": given, "date_of_birth": born, **more}


def vehicle(value: str, type: str = "vehicle_registration") -> dict[str, Any]:
    return {"kind": "vehicle", "identifiers": [{"type": type, "value": value}]}


def test_a_referral_is_found_by_its_names_and_its_identifiers() -> None:
    assert compounds(referral()["subject"]) == [
        Compound("person", "quill|rhysalun|1984-03-07"),
        Compound("person", "quille|rhys|1984-03-07"),
        Compound("identifier", "vehicle_registration|cx14abc"),
    ]


SAME = [
    (person("Quill", "Rhys Alun"), person("QUILL", " rhys  alun ")),
    (person("O'Brien-Nuñez", "Zoë"), person("O’BRIEN NUNEZ", "Zoe\u0308")),
    (person("Großmann", "Łukasz"), person("GROSSMANN", "Lukasz")),
    (person("Ｑｕｉｌｌ", "Rhys"), person("Quill", "Rhys")),  # noqa: RUF001
    (person("Sørensen", "Æthel"), person("SORENSEN", "Aethel")),
    (vehicle("CX14 ABC"), vehicle("cx14-abc")),
    (vehicle("+44 (0)20 7946 0000", "phone"), vehicle("020 7946 0000", "phone")),
    (vehicle("0044 20 7946 0000", "phone"), vehicle("+442079460000", "phone")),
    (vehicle(" Desk@Example.Invalid", "email"), vehicle("desk@example.invalid", "email")),
    (vehicle("QQ 12 34 56 C", "national_insurance_number"), vehicle("qq123456c", "national_insurance_number")),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_however_spelt(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert INDEX.of(one) == INDEX.of(other) != []


DIFFERENT = [
    (person("Quill", "Rhys"), person("Quill", "Rhys", "1984-03-08")),
    (person("Quill", "Rhys"), person("Rhys", "Quill")),
    (person("Quillr", "hys"), person("Quill", "rhys")),
    (vehicle("12345678", "company_number"), vehicle("12345678", "passport")),
    (vehicle("a.b@example.invalid", "email"), vehicle("ab@example.invalid", "email")),
    (vehicle("+33 20 7946 0000", "phone"), vehicle("020 7946 0000", "phone")),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_not_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert not set(INDEX.of(one)) & set(INDEX.of(other))


@pytest.mark.parametrize(
    "subject",
    [
        person("Quill", None),
        person(None, "Rhys"),
        person("Quill", "Rhys", None),
        person(None, None, aliases=[{"family_name": "Quill"}, {"given_names": "Rhys"}]),
        person("-", "'"),
        {"kind": "organisation", "name": "Quill Haulage"},
        {"kind": "premises", "addresses": [{"lines": ["Plot 9"], "postcode": "CF48 1AA"}]},
        vehicle("--"),
        {},
    ],
)
def test_nothing_that_is_not_a_compound_is_indexed(subject: dict[str, Any]) -> None:
    """A surname or a birth date alone could be guessed from a list of all there are."""
    assert compounds(subject) == []


def test_letters_of_every_script_are_kept() -> None:
    assert plain("Ó Súilleabháin") == "osuilleabhain"
    assert plain("Иванов") == plain("ИВАНОВ") != ""
    assert plain("李") == "李"


def test_a_digest_needs_the_key() -> None:
    [blind] = INDEX.of(vehicle("CX14 ABC"))
    [other] = BlindIndex(Keys(b"another master secret of enough chars")).of(vehicle("CX14 ABC"))
    assert blind.kind == other.kind == "identifier"
    assert blind.digest != other.digest
    assert len(blind.digest) == DIGEST_BYTES


def test_a_kind_is_part_of_the_digest() -> None:
    text = "passport|1"
    assert INDEX.blind(Compound("person", text)).digest != INDEX.blind(Compound("identifier", text)).digest
