"""The registers of the bodies: each holds its own records, with its own mistakes, in memory only."""

from __future__ import annotations  # array is generic only from Python 3.12 on

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from random import Random
from typing import Any

from workers.simulation import identifiers, lava
from workers.simulation.holdings import HOLDINGS, TRADES, Detail, Holding
from workers.simulation.noise import misspelt, swapped
from workers.simulation.plain import key, plain, plain_company
from workers.simulation.population import Address, Company, Person, Population

_GROUP_SHARE = 2.5
"""Members of an organised group are known to bodies so many times as often as others."""


@dataclass(slots=True, eq=False)
class Record:
    """What one register says about one person (`kind` person) or company (organisation; `family` is its name)."""

    kind: str
    family: str
    given: str
    birth: date | None
    address: Address | None
    identifiers: tuple[str, ...]
    details: tuple[Detail, ...]


class Register:
    """The records of one body, with the indexes that a search needs."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self._births = self._sorted(lambda record: record.birth or date.min)
        self._postcodes = self._sorted(_postcode)
        self.by_identifier: dict[str, array[int]] = {}
        self.by_family: dict[str, array[int]] = {}
        self.by_company: dict[str, array[int]] = {}
        for position, record in enumerate(records):
            if record.kind == "person":
                self.by_family.setdefault(plain(record.family), array("I")).append(position)
            else:
                self.by_company.setdefault(plain_company(record.family), array("I")).append(position)
            for identifier in record.identifiers:
                self.by_identifier.setdefault(identifier, array("I")).append(position)
        self.families = tuple(self.by_family)
        self.company_names = tuple(self.by_company)

    def born(self, birth: date) -> Iterator[int]:
        """Positions of the records with this date of birth."""
        return self._equal(self._births, birth, lambda record: record.birth or date.min)

    def at(self, postcode: str) -> Iterator[int]:
        """Positions of the records at this postcode."""
        return self._equal(self._postcodes, postcode, _postcode)

    def _sorted(self, of: Callable[[Record], Any]) -> array[int]:
        return array("I", sorted(range(len(self.records)), key=lambda position: of(self.records[position])))

    def _equal(self, order: array[int], value: Any, of: Callable[[Record], Any]) -> Iterator[int]:
        start = bisect_left(order, value, key=lambda position: of(self.records[position]))
        for position in order[start : start + 200]:
            if of(self.records[position]) != value:
                return
            yield position


def build(world: Population, body: str) -> Register:
    """The register of one body; the same for the same population. `KeyError` for a body that is not simulated."""
    rng = Random(f"register:{world.seed}:{body}")
    return Register([*_people(world, body, rng), *_companies(world, body, rng)])


def _people(world: Population, body: str, rng: Random) -> Iterator[Record]:
    holding, told, chance = HOLDINGS[body], lava.stories(world), rng.random
    for person in world.people:
        story = told.get((body, person.number), ())
        if not story and chance() >= holding.share * (_GROUP_SHARE if person.group else 1.0):
            continue
        if not story and holding.areas and person.home.area not in holding.areas:
            continue
        if details := (*story, *holding.know(person, world, rng)):
            yield _recorded(person, holding, details, rng)


def _recorded(person: Person, holding: Holding, details: tuple[Detail, ...], rng: Random) -> Record:
    noise, chance = holding.noise, rng.random
    family, given, birth = person.family, person.given, person.birth
    if person.maiden and chance() < noise.maiden:
        family = person.maiden
    if chance() < noise.spelling:
        family = misspelt(family, rng)
    if chance() < noise.short_name:
        given = given.split(" ", 1)[0]
    if chance() < noise.swapped:
        birth = swapped(birth)
    old, known = chance() < noise.old_address, chance() >= noise.no_address
    address = (person.previous if old else person.home) if known else None
    marks = () if chance() < noise.no_identifier else tuple(_identifiers(person, holding.identifiers))
    known_birth = None if chance() < noise.no_birth else birth
    return Record("person", family, given, known_birth, address, marks, details)


def _identifiers(person: Person, types: Sequence[str]) -> Iterator[str]:
    for type_ in types:
        for value in _values(person, type_):
            if value:
                yield key(type_, value)


def _values(person: Person, type_: str) -> Iterator[str]:
    if type_ == "vehicle_registration":
        yield from (vehicle.registration for vehicle in person.vehicles)
    elif type_ == "company_number":
        yield from (company.number for company in person.companies)
    else:
        yield identifier_of(person, type_)


def identifier_of(person: Person, type_: str) -> str:
    """A person's one identifier of a type of domain.md section 4; empty where the person has none."""
    match type_:
        case "national_insurance_number":
            return identifiers.national_insurance_number(person.number)
        case "unique_taxpayer_reference":
            return identifiers.unique_taxpayer_reference(person.number)
        case "passport":
            return identifiers.passport(person.number)
        case "pnc_id":
            return identifiers.pnc_id(person.number, person.birth.year + 18)
        case "driving_licence":
            return identifiers.driving_licence(person.family, person.given, person.birth, person.female)
        case "phone":
            return identifiers.phone(person.number)
        case "email":
            return identifiers.email(person.family, person.given, person.number)
        case "bank_account":
            return f"00-00-00 {person.number:08d}"
    return ""


def _companies(world: Population, body: str, rng: Random) -> Iterator[Record]:
    if body not in TRADES:
        return
    share, trades, kind, template = TRADES[body]
    for company in world.companies:
        if (trades and company.trade not in trades) or not _in_area(body, company.address) or rng.random() >= share:
            continue
        since = company.since if body == "CH" else rng.choice(world.months)
        detail = (kind, template, since, f"{company.address.line}, {company.address.postcode}")
        yield _registered(world, company, (detail, *_officers(world, company, body)))


def _in_area(body: str, address: Address) -> bool:
    areas = HOLDINGS[body].areas
    return not areas or address.area in areas


def _officers(world: Population, company: Company, body: str) -> Iterator[Detail]:
    if body != "CH":
        return
    for number in company.directors:
        director = world.people[number]
        yield ("association", "Director {}, born {}.", f"{director.given} {director.family}", f"{director.birth:%m/%Y}")


def _registered(world: Population, company: Company, details: tuple[Detail, ...]) -> Record:
    mark = key("company_number", company.number)
    return Record("organisation", company.name, "", None, company.address, (mark,), details)


def _postcode(record: Record) -> str:
    return plain(record.address.postcode) if record.address else ""
