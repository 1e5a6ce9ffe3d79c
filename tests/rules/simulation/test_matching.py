"""The search: one person under many mistakes is found, a stranger is not, and a tie is told as one."""

from datetime import date
from random import Random
from typing import Any

import pytest

from workers.simulation.bodies import Body
from workers.simulation.holdings import HOLDINGS
from workers.simulation.matching import Finding, search
from workers.simulation.noise import misspelt
from workers.simulation.plain import key
from workers.simulation.population import Address, Person, Population
from workers.simulation.registers import Record, Register, identifier_of
from workers.simulation.subject import read_subject
from workers.simulation.wording import hit

HOME = Address("9 Heol Fawr", "Merthyr Tydfil", "CF48 1AA", "merthyr")
THRESHOLD = 75


def _record(family: str = "Quill", given: str = "Rhys", birth: date | None = date(1984, 3, 7), **more: Any) -> Record:
    fields: dict[str, Any] = {"address": HOME, "identifiers": (), "details": (("other", "Known."),), **more}
    return Record("person", family, given, birth, **fields)


def _find(records: list[Record], **subject: Any) -> Finding:
    person = {"kind": "person", "family_name": "Quill", "given_names": "Rhys Alun", "date_of_birth": "1984-03-07"}
    return search(Register(records), read_subject({**person, **subject}), THRESHOLD)


def _asked(person: Person) -> dict[str, Any]:
    names = {"family_name": person.family, "given_names": person.given}
    alias = [{"family_name": person.maiden}] if person.maiden else []
    return {"kind": "person", **names, "date_of_birth": person.birth.isoformat(), "aliases": alias}


def test_swapped_day_and_month_are_found_and_the_reason_says_so() -> None:
    [match] = _find([_record(birth=date(1984, 7, 3))]).matches
    assert match.score > 90
    assert "date of birth equal with day and month swapped" in match.reason


def test_a_birth_date_a_year_out_is_found_and_the_reason_says_so() -> None:
    [match] = _find([_record(birth=date(1985, 3, 7))]).matches
    assert "equal but for one year" in match.reason


def test_a_misspelt_name_is_found_as_alike() -> None:
    [match] = _find([_record(family="Quille")]).matches
    assert "family name alike, given name equal, date of birth equal" in match.reason


def test_a_maiden_name_given_as_alias_is_found_through_the_alias() -> None:
    finding = _find([_record(family="Brown")], aliases=[{"family_name": "Brown", "given_names": "Rhys"}])
    assert "(alias)" in finding.matches[0].reason


def test_an_unknown_maiden_name_is_found_by_birth_date_and_address() -> None:
    addresses = [{"lines": ["9 Heol Fawr"], "postcode": "cf481aa"}]
    [match] = _find([_record(family="Brown")], addresses=addresses).matches
    assert "family name different, given name equal, date of birth equal, address equal" in match.reason


def test_a_namesake_born_at_another_time_is_not_a_match() -> None:
    assert _find([_record(birth=date(1960, 12, 24))]).matches == ()


def test_a_vehicle_kept_by_another_is_told_with_its_keeper() -> None:
    mark = {"type": "vehicle_registration", "value": "cx14 qbc"}
    record = _record("Savage", "Ann", date(1950, 1, 1), identifiers=(key("vehicle_registration", "CX14QBC"),))
    [match] = _find([record], identifiers=[mark]).matches
    assert match.score >= THRESHOLD
    assert "vehicle registration equal" in match.reason


def test_two_records_that_fit_equally_well_are_possible_matches(bodies: dict[str, Body]) -> None:
    finding = _find([_record(address=None), _record(given="Rhys Owen", address=None)])
    answer = hit(bodies["DVLA"].character, finding)
    assert finding.tie
    assert answer["summary"].startswith("Possible match: 2 records")
    assert sum(fact["text"].startswith("Possible match 2: Recorded as Rhys Owen") for fact in answer["facts"]) == 1
    assert answer["grading"]["assessment"] == "D"


def test_an_address_that_agrees_breaks_the_tie() -> None:
    other = _record(address=HOME._replace(postcode="SA1 1AA"), birth=None)
    finding = _find([_record(birth=None), other], addresses=[{"lines": ["9 Heol Fawr"], "postcode": "CF48 1AA"}])
    assert not finding.tie
    assert finding.matches[0].record.address == HOME


def test_a_stranger_is_nowhere(bodies: dict[str, Body]) -> None:
    stranger = {"kind": "person", "family_name": "Zzyzxworth", "given_names": "Zebedee", "date_of_birth": "1921-02-03"}
    referral = {"subject": stranger, "crime_types": ["fraud", "modern_slavery", "medicines_crime"], "ocg": {}}
    outcomes = {code: body.answer("dispatch-1", referral)["outcome"] for code, body in bodies.items()}
    assert set(outcomes.values()) == {"no_hit"}


def test_one_person_is_found_in_several_registers_whatever_each_got_wrong(
    world: Population, bodies: dict[str, Body]
) -> None:
    wide = [bodies[code] for code in ("DVLA", "HMRC", "HMPO", "DWP")]
    held, found = 0, 0
    for person in world.people[100:1100]:
        for body in wide:
            # Who is really meant is known by the number each register holds; the search is not given it.
            marks = _marks_of(person, body)
            positions = [place for mark in marks for place in body.register.by_identifier.get(mark, ())]
            if not positions:
                continue
            held += 1
            matches = search(body.register, read_subject(_asked(person)), THRESHOLD).matches
            found += any(match.record is body.register.records[positions[0]] for match in matches)
    assert held > 1_000
    assert found / held > 0.97


def _marks_of(person: Person, body: Body) -> list[str]:
    types = HOLDINGS[body.code].identifiers[:1]
    return [key(type_, identifier_of(person, type_)) for type_ in types]


@pytest.mark.parametrize("name", ["Lydia Hartley Phillips", "Hugh Ll", "Ng"])
def test_a_misspelling_changes_a_name_but_keeps_it_recognisable(name: str) -> None:
    wrong = {misspelt(name, Random(number)) for number in range(50)}
    assert wrong
    assert all(abs(len(other) - len(name)) <= 1 for other in wrong)


def test_a_company_is_found_by_number_and_by_a_name_written_otherwise(
    world: Population, bodies: dict[str, Body]
) -> None:
    company = world.companies[3]
    register = bodies["CH"].register
    loosely = company.name.upper().replace(" LTD", " LIMITED")
    by_name = search(register, read_subject({"kind": "organisation", "name": loosely}), THRESHOLD)
    number = [{"type": "company_number", "value": company.number}]
    by_number = search(register, read_subject({"kind": "organisation", "identifiers": number}), THRESHOLD)
    assert by_name.matches[0].record.family == company.name
    assert company.name in {match.record.family for match in by_number.matches}


def test_two_companies_of_one_name_are_possible_matches() -> None:
    firms = [Record("organisation", "Quill Haulage Ltd", "", None, HOME, (f"company_number:{n}",), ()) for n in (1, 2)]
    subject = read_subject({"kind": "organisation", "name": "Quill Haulage"})
    assert search(Register(firms), subject, THRESHOLD).tie


def test_premises_are_found_by_their_address(world: Population, bodies: dict[str, Body]) -> None:
    place = world.companies[3].address
    subject = {"kind": "premises", "addresses": [{"lines": [place.line], "postcode": place.postcode.lower()}]}
    finding = search(bodies["CH"].register, read_subject(subject), THRESHOLD)
    assert world.companies[3].name in {match.record.family for match in finding.matches}


def test_a_vehicle_is_found_by_its_registration(world: Population, bodies: dict[str, Body]) -> None:
    vehicles = [vehicle for person in world.people[:100] for vehicle in person.vehicles]
    answers = [_vehicle_answer(bodies["DVLA"], vehicle.registration) for vehicle in vehicles]
    hits = [answer for answer in answers if answer["outcome"] == "hit"]
    assert len(hits) > len(vehicles) / 2
    assert all(any("Keeper of" in fact["text"] for fact in answer["facts"]) for answer in hits)


def _vehicle_answer(body: Body, registration: str) -> dict[str, Any]:
    mark = {"type": "vehicle_registration", "value": registration.replace(" ", "").lower()}
    return body.answer("d", {"subject": {"kind": "vehicle", "identifiers": [mark]}, "crime_types": ["fraud"]})
