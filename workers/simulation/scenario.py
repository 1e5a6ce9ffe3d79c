"""What the forces refer: Operation Lava, and random referrals for load, as bodies of `POST /v1/referrals`."""

from collections.abc import Callable
from random import Random
from typing import Any

from workers.simulation import pools
from workers.simulation.groups import LAVA, Cast, cast, population
from workers.simulation.identifiers import phone
from workers.simulation.population import Address, Person, Population
from workers.simulation.roster import SIMULATED

_Document = dict[str, Any]

_LAVA: dict[str, tuple[str, tuple[str, ...], str]] = {
    "organiser": (
        "Establish vehicles, premises, income and associates of the suspected organiser before a day of action.",
        ("drug_trafficking", "money_laundering", "modern_slavery"),
        "Vehicles kept and driven since 2024; declared income; companies controlled; premises paid for; travel.",
    ),
    "lieutenant": (
        "Identify the companies and income of a suspected second in command.",
        ("drug_trafficking", "benefit_fraud"),
        "Directorships, current employer, benefits claimed and the address used for them.",
    ),
    "accountant": (
        "Trace the proceeds of cultivation through the companies of the group.",
        ("money_laundering", "fraud", "tax_evasion"),
        "Agency for other taxpayers, lending, disqualification and interests in companies.",
    ),
    "landlord": (
        "Identify houses and units let for cultivation, and who is safe to approach in them.",
        ("drug_trafficking", "money_laundering"),
        "Premises owned or let, fires and inspections there, companies wound up.",
    ),
    "electrician": (
        "Identify who bypasses the meters at cultivation sites, a danger to life.",
        ("drug_trafficking", "benefit_fraud"),
        "Employment, benefits, incidents with electricity.",
    ),
    "haulier": (
        "Identify vehicles that supply cultivation sites.",
        ("drug_trafficking", "tax_evasion", "waste_crime"),
        "Vehicles, roadside stops, operator's licence, tax debts.",
    ),
    "waste_carrier": (
        "Identify who removes and tips the waste of cultivation sites.",
        ("waste_crime", "drug_trafficking"),
        "Carrier registration, tipping incidents, vehicles, notices served.",
    ),
    "doorman": (
        "Establish the custody history and present licences of a suspected enforcer.",
        ("drug_trafficking", "modern_slavery"),
        "Prison intelligence, licence conditions, security licences, associates.",
    ),
    "nominee": (
        "Establish whether the directorships are held for another.",
        ("money_laundering", "fraud"),
        "Directorships in any name, premises, identity documents.",
    ),
    "car_dealer": (
        "Identify vehicles sold to or changed between members of the group.",
        ("money_laundering", "fraud"),
        "Keepers changed since 2025, mileage, complaints by buyers.",
    ),
    "shopkeeper": (
        "Establish whether a shop sells for the group and passes its cash.",
        ("counterfeiting", "medicines_crime", "money_laundering"),
        "Seizures, test purchases, parcels, duty unpaid.",
    ),
    "courier": (
        "Identify journeys of a suspected courier on licence from prison.",
        ("drug_trafficking", "organised_immigration_crime"),
        "Travel since January 2025, licence conditions, vehicles, associates.",
    ),
    "gardener": (
        "Find and safeguard a possible victim of exploitation at a cultivation site.",
        ("modern_slavery", "human_trafficking"),
        "Anything that shows where this person lives, works and who controls papers or pay.",
    ),
    "recruiter": (
        "Identify who brings workers to cultivation sites, and how they enter.",
        ("modern_slavery", "human_trafficking", "organised_immigration_crime"),
        "Sponsorship, passports countersigned, labour supplied, security companies.",
    ),
}
"""By role: purpose, crime types, information sought."""

_NO_BIRTH_KNOWN = ("gardener",)


def lava_referrals(seed: int) -> list[_Document]:
    """The fourteen referrals of Operation Lava by South Wales: the main subject first, all 22 bodies named in each."""
    played = cast(population(seed))
    return [_lava_referral(played, role, number) for number, role in enumerate(played.members, start=1)]


def _lava_referral(played: Cast, role: str, number: int) -> _Document:
    purpose, crimes, sought = _LAVA[role]
    person = played.members[role]
    subject = _person(person, with_birth=role not in _NO_BIRTH_KNOWN)
    urgent = role == "gardener"
    return {
        "subject": subject,
        "ocg": {"reference": LAVA, "band": "4b", "score": 37},
        "criterion": "vulnerability" if urgent else "mapped_ocg",
        "crime_types": list(crimes),
        "priority": "urgent" if urgent else "routine",
        "purpose": purpose,
        "information_sought": sought,
        "warnings": ["vulnerable"] if urgent else ["violent", "do_not_alert_subject"] if role == "doorman" else [],
        "operation_name": "Lava",
        "contact": {"name": "South Wales intelligence desk", "email": "desk@swp.example.invalid"},
        "addressees": sorted(SIMULATED),
        "client_reference": f"SWP/LAVA/{number:02d}",
        **_PROTECTED,
    }


_PROTECTED: _Document = {
    "legal_basis": "common_law_policing_purpose",
    "marking": "OFFICIAL-SENSITIVE",
    "grading": {"source": 2, "assessment": "B"},
    "handling": {"code": "C", "conditions": ["A2"]},
}


def _person(person: Person, *, with_birth: bool = True) -> _Document:
    subject: _Document = {"kind": "person", "family_name": person.family, "given_names": person.given}
    if with_birth:
        subject["date_of_birth"] = person.birth.isoformat()
    if person.maiden:
        subject["aliases"] = [{"family_name": person.maiden, "given_names": person.given.split(" ", 1)[0]}]
    subject["addresses"] = [_address(person.home)]
    known = [{"type": "vehicle_registration", "value": vehicle.registration} for vehicle in person.vehicles[-1:]]
    if person.number % 3 == 0 and (number := phone(person.number)):
        known.append({"type": "phone", "value": number})
    if known:
        subject["identifiers"] = known
    return subject


def _address(address: Address) -> _Document:
    return {"lines": [address.line, address.town], "postcode": address.postcode}


def random_referrals(seed: int, count: int) -> list[_Document]:
    """So many referrals for load, addressed to all 22; the same for the same seed.

    Seven in ten are about people of the population, the others about strangers, firms, premises and vehicles.
    """
    world = population(seed)
    rng = Random(f"load:{seed}")
    kinds = rng.choices((_known, _stranger, _firm, _premises, _vehicle), (70, 12, 7, 6, 5), k=count)
    return [_random_referral(kind(world, rng), number, rng) for number, kind in enumerate(kinds, start=1)]


def _random_referral(subject: _Document, number: int, rng: Random) -> _Document:
    crimes = (
        "drug_trafficking",
        "fraud",
        "money_laundering",
        "modern_slavery",
        "waste_crime",
        "food_crime",
        "firearms",
    )
    document = {
        "subject": subject,
        "criterion": rng.choice(("mapped_ocg", "high_risk_individual", "tasked_operation")),
        "crime_types": rng.sample(crimes, rng.randrange(1, 4)),
        "priority": rng.choices(("routine", "priority", "urgent"), (90, 8, 2))[0],
        "purpose": "Develop intelligence on a subject of current interest.",
        "information_sought": "Vehicles, employment, premises and associates.",
        "addressees": sorted(SIMULATED),
        "client_reference": f"LOAD/{number:06d}",
        **_PROTECTED,
    }
    if document["criterion"] == "mapped_ocg":
        document["ocg"] = {"reference": f"SWP-{rng.randrange(1000, 9999)}", "band": "3c"}
    return document


_Draw = Callable[[Population, Random], _Document]


def _known(world: Population, rng: Random) -> _Document:
    return _person(rng.choice(world.people), with_birth=rng.random() < 0.9)


def _stranger(world: Population, rng: Random) -> _Document:
    """Somebody in no register: a name of two rare halves and a birth date before anybody of the population."""
    name = f"{rng.choice(pools.families(rng, 1))}{rng.choice(('worthy', 'quist', 'zell'))}"
    born = f"19{rng.randrange(20, 38)}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"
    return {"kind": "person", "family_name": name, "given_names": "Zebedee", "date_of_birth": born}


def _firm(world: Population, rng: Random) -> _Document:
    company = rng.choice(world.companies)
    number = {"type": "company_number", "value": company.number}
    return {"kind": "organisation", "name": company.name, "identifiers": [number] if rng.random() < 0.5 else []}


def _premises(world: Population, rng: Random) -> _Document:
    return {"kind": "premises", "addresses": [_address(rng.choice(world.companies).address)]}


def _vehicle(world: Population, rng: Random) -> _Document:
    keeper = rng.choice([person for person in world.people[:2000] if person.vehicles])
    mark = keeper.vehicles[0].registration
    return {"kind": "vehicle", "identifiers": [{"type": "vehicle_registration", "value": mark}]}
