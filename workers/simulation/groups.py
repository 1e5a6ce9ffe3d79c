"""Organised groups of the population, among them the cast of Operation Lava."""

from dataclasses import dataclass
from random import Random

from workers.simulation import identifiers, pools
from workers.simulation.population import (
    Address,
    Company,
    Person,
    Population,
    found_company,
    give_vehicle,
    populate,
)

LAVA = "SWP-0142"
ROLES = (
    "organiser",
    "lieutenant",
    "accountant",
    "landlord",
    "electrician",
    "haulier",
    "waste_carrier",
    "doorman",
    "nominee",
    "car_dealer",
    "shopkeeper",
    "courier",
    "gardener",
    "recruiter",
)
"""The parts of the fourteen, in the order of their referrals; the organiser is the main subject."""

_COUNT = 40
_FORCES = ("SWP", "GWP", "DPP", "NWP", "ASP", "GMP", "MER", "WMP")


@dataclass(frozen=True, slots=True)
class Cast:
    """The Lava group: its members by role, its companies by trade, its premises by use."""

    members: dict[str, Person]
    companies: dict[str, Company]
    premises: dict[str, Address]


def population(seed: int) -> Population:
    """The whole population of a seed, groups included; takes about a quarter of a second."""
    made = populate(seed)
    _form_groups(made, Random(f"groups:{seed}"))
    return made


def _form_groups(made: Population, rng: Random) -> None:
    # The Lava group first, so that it is whole.
    _gather_lava(made, rng)
    for number in range(_COUNT):
        reference = f"{_FORCES[number % len(_FORCES)]}-{200 + number:04d}"
        drawn = [made.people[index] for index in rng.sample(range(len(made.people)), rng.randrange(6, 15))]
        members = [person for person in drawn if not person.group]
        for person in members:
            person.group = reference
        made.groups[reference] = tuple(person.number for person in members)


def cast(made: Population) -> Cast:
    """The Lava group of a population."""
    members = {role: made.people[number] for role, number in zip(ROLES, made.groups[LAVA], strict=True)}
    firms = {company.trade: company for role in ROLES for company in members[role].companies}
    premises = {
        "unit": firms["Garden Supplies"].address,
        "yard": firms["Haulage"].address,
        "house": members["landlord"].previous,
        "shop": firms["Vape and Phones"].address,
    }
    return Cast(members, firms, premises)


def _gather_lava(made: Population, rng: Random) -> None:
    near = [
        person
        for person in made.people
        if person.home.area == pools.MERTHYR and not person.companies and 1961 <= person.birth.year <= 2004
    ]
    # The nominee is a married woman, so that registers hold her under two names.
    wives = [person for person in near if person.maiden]
    nominee = rng.choice(wives)
    others = rng.sample([person for person in near if person is not nominee], len(ROLES) - 1)
    others.insert(ROLES.index("nominee"), nominee)
    for person in others:
        person.group = LAVA
    made.groups[LAVA] = tuple(person.number for person in others)
    _equip_lava(made, dict(zip(ROLES, others, strict=True)), rng)


def _equip_lava(made: Population, members: dict[str, Person], rng: Random) -> None:
    firms = {
        "Haulage": ("haulier", "organiser"),
        "Garden Supplies": ("nominee", "lieutenant"),
        "Skip Hire": ("waste_carrier",),
        "Lettings": ("landlord", "nominee"),
        "Vape and Phones": ("shopkeeper",),
        "Motors": ("car_dealer",),
        "Security": ("doorman", "recruiter"),
    }
    for unit, (trade, roles) in enumerate(firms.items(), start=1):
        site = Address(
            f"Unit {unit}, Pant Industrial Estate", "Merthyr Tydfil", pools.postcode(rng, "CF48"), pools.MERTHYR
        )
        directors = [members[role] for role in roles]
        found_company(made, f"{directors[-1].family} {trade} Ltd", trade, site, directors)
    vans = {"organiser": "grey", "haulier": "white", "waste_carrier": "white", "courier": "black", "gardener": "blue"}
    house = Address("14 Heol y Felin", "Merthyr Tydfil", pools.postcode(rng, "CF48"), pools.MERTHYR)
    members["landlord"].previous = members["gardener"].previous = house
    taken = {vehicle.registration for person in made.people for vehicle in person.vehicles}
    for role, colour in vans.items():
        mark = _free_mark(rng, taken)
        give_vehicle(members[role], mark, ("Ford", "Transit"), colour, rng.choice(made.months))


def _free_mark(rng: Random, taken: set[str]) -> str:
    while (mark := identifiers.registration(rng.randrange(identifiers.REGISTRATIONS))) in taken:
        continue
    taken.add(mark)
    return mark
