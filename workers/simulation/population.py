"""One synthetic population from a seed: people in households, companies, vehicles, organised groups.

Nobody in it is real. The same seed gives the same population in every process: nothing depends on hash order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import NamedTuple

from workers.simulation import identifiers, pools

PEOPLE = 20_000
COMPANIES = 1_500
TODAY = date(2026, 1, 1)
"""Ages are counted from here, so that a population does not change overnight."""

_TRADES = (
    "Haulage|Skip Hire|Property|Lettings|Building Services|Electrical|Security|Catering|Vape and Phones|Motors|"
    "Car Wash|Recruitment|Cleaning|Garden Supplies|Wholesale|Care|Pharmacy|Finance|Scaffolding|Logistics"
).split("|")
_MAKES = (
    ("Ford", "Transit"),
    ("Ford", "Fiesta"),
    ("Vauxhall", "Vivaro"),
    ("Vauxhall", "Corsa"),
    ("Volkswagen", "Caddy"),
    ("Volkswagen", "Golf"),
    ("Audi", "A4"),
    ("BMW", "320d"),
    ("Mercedes-Benz", "Sprinter"),
    ("Nissan", "Qashqai"),
)
_COLOURS = ("grey", "white", "black", "blue", "silver", "red", "green")


class Address(NamedTuple):
    """A place: `area` is one of `pools.MERTHYR`, `SOUTH_WALES`, `WALES`, `ENGLAND`."""

    line: str
    town: str
    postcode: str
    area: str


class Company(NamedTuple):
    """A company; `directors` are people's numbers."""

    number: str
    name: str
    trade: str
    address: Address
    since: str
    directors: tuple[int, ...]


class Vehicle(NamedTuple):
    """A vehicle and the number of its keeper; `since` reads like `March 2024`."""

    registration: str
    make: str
    model: str
    colour: str
    keeper: int
    since: str


@dataclass(slots=True, eq=False)
class Person:
    """One person; `previous` and `maiden` are what older records say; a `household` lives together."""

    number: int
    family: str
    given: str
    maiden: str
    female: bool
    birth: date
    home: Address
    previous: Address
    household: int
    employer: int = -1
    group: str = ""
    vehicles: tuple[Vehicle, ...] = ()
    companies: tuple[Company, ...] = ()


@dataclass(slots=True, eq=False)
class Population:
    """Everybody and everything; `households` and `groups` list people's numbers."""

    seed: int
    people: list[Person]
    companies: list[Company]
    months: Sequence[str]
    households: list[tuple[int, ...]] = field(default_factory=list)
    groups: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def associates(self, person: Person) -> list[Person]:
        """Those who live with a person or belong to the same group, without the person."""
        numbers = dict.fromkeys((*self.households[person.household], *self.groups.get(person.group, ())))
        return [self.people[number] for number in numbers if number != person.number]


def give_vehicle(
    person: Person, registration: str, make_and_model: tuple[str, str], colour: str, since: str
) -> Vehicle:
    """Make a person the keeper of a vehicle."""
    vehicle = Vehicle(registration, *make_and_model, colour, person.number, since)
    person.vehicles = (*person.vehicles, vehicle)
    return vehicle


def found_company(
    population: Population, name: str, trade: str, address: Address, directors: Sequence[Person]
) -> Company:
    """Incorporate a company of the population."""
    number = len(population.companies)
    since = population.months[number * 37 % len(population.months)]
    numbers = tuple(person.number for person in directors)
    company = Company(identifiers.company_number(number), name, trade, address, since, numbers)
    population.companies.append(company)
    for person in directors:
        person.companies = (*person.companies, company)
    return company


def populate(seed: int) -> Population:
    """The people of a seed with their companies and vehicles; groups are formed by `groups.population`."""
    rng = Random(f"population:{seed}")
    made = Population(seed, [], [], _months())
    _settle(made, rng)
    _employ(made, rng)
    _motorise(made, rng)
    return made


def _months() -> tuple[str, ...]:
    names = "January February March April May June July August September October November December".split()
    return tuple(f"{name} {year}" for year in range(2017, 2026) for name in names)


def _addresses(rng: Random, count: int) -> list[Address]:
    streets = pools.streets(rng, 1200)
    return [
        Address(f"{rng.randrange(1, 140)} {rng.choice(streets)}", town, pools.postcode(rng, district), area)
        for town, district, area, _ in pools.places(rng, count)
    ]


def _settle(made: Population, rng: Random) -> None:
    homes = _addresses(rng, PEOPLE // 2)
    names = iter(pools.families(rng, PEOPLE * 2))
    size, household = rng.choices((1, 2, 3, 4), (30, 35, 20, 15), k=PEOPLE), 0
    while len(made.people) < PEOPLE:
        home, family, adult_age = homes[household % len(homes)], next(names), rng.randrange(22, 86)
        first = len(made.people)
        for place in range(min(size[household], PEOPLE - first)):
            made.people.append(_person(rng, first + place, place, family, next(names), adult_age, home))
            made.people[-1].household = household
            made.people[-1].previous = homes[rng.randrange(len(homes))]
        made.households.append(tuple(range(first, len(made.people))))
        household += 1


def _person(rng: Random, number: int, place: int, family: str, other: str, age: int, home: Address) -> Person:
    """The `place`-th of a household: first adult, partner, then grown children or lodgers."""
    chance = rng.random()
    female = chance < 0.5 if place != 1 else chance < 0.9
    if place > 1:
        age = max(17, age - rng.randrange(20, 38))
    born = TODAY - timedelta(days=age * 365 + rng.randrange(365))
    shares = rng.random() < 0.75
    maiden = other if place == 1 and female and shares else ""
    given = rng.choice(pools.WOMEN if female else pools.MEN)
    if rng.random() < 0.6:
        given = f"{given} {rng.choice(pools.WOMEN if female else pools.MEN)}"
    name = family if place == 0 or shares else other
    return Person(number, name, given, maiden, female, born, home, home, 0)


def _employ(made: Population, rng: Random) -> None:
    sites, names = _addresses(rng, COMPANIES), pools.families(rng, COMPANIES)
    for site, name in zip(sites, names, strict=True):
        trade = rng.choice(_TRADES)
        directors = [made.people[number] for number in rng.sample(range(PEOPLE), rng.randrange(1, 4))]
        premises = site._replace(line=f"Unit {rng.randrange(1, 40)}, {site.line.split(' ', 1)[1]} Industrial Estate")
        found_company(made, f"{name} {trade} Ltd", trade, premises, directors)
    for person in made.people:
        if rng.random() < 0.6:
            person.employer = rng.randrange(COMPANIES)


def _motorise(made: Population, rng: Random) -> None:
    marks = rng.sample(range(identifiers.REGISTRATIONS), PEOPLE)
    for person in made.people:
        if rng.random() < 0.55:
            mark = identifiers.registration(marks[person.number])
            give_vehicle(person, mark, rng.choice(_MAKES), rng.choice(_COLOURS), rng.choice(made.months))
