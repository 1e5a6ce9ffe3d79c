"""The synthetic population: the same everywhere, and nobody real in it."""

import hashlib
import os
import re
import subprocess
import sys

from workers.simulation import identifiers
from workers.simulation.groups import LAVA, ROLES, cast, population
from workers.simulation.population import PEOPLE, Population
from workers.simulation.registers import build, identifier_of
from workers.simulation.roster import OUTSIDE_CLIENTS, SIMULATED, SIMULATED_BY_ADAPTER

_DIGEST = """
import hashlib
from workers.simulation.groups import population
from workers.simulation.registers import build
world = population(7)
lines = [repr((p.given, p.family, p.birth, p.home, p.vehicles, p.group)) for p in world.people]
lines += [repr((r.family, r.birth, r.identifiers, r.details)) for r in build(world, "DWP").records]
print(hashlib.sha256("\\n".join(lines).encode()).hexdigest())
"""


def _digest_in_another_process(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.getcwd()}
    told = subprocess.run([sys.executable, "-c", _DIGEST], env=environment, capture_output=True, text=True, check=True)
    return told.stdout.strip()


def test_every_process_builds_the_same_people_and_registers_from_a_seed() -> None:
    world = population(7)
    lines = [repr((p.given, p.family, p.birth, p.home, p.vehicles, p.group)) for p in world.people]
    lines += [repr((r.family, r.birth, r.identifiers, r.details)) for r in build(world, "DWP").records]
    here = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert _digest_in_another_process("1") == here == _digest_in_another_process("2")


def test_another_seed_gives_other_people(world: Population) -> None:
    other = population(world.seed + 1)
    same = sum(a.birth == b.birth for a, b in zip(world.people, other.people, strict=True))
    assert same < PEOPLE / 100


def test_people_have_past_names_addresses_households_and_groups(world: Population) -> None:
    assert len(world.people) == PEOPLE
    assert sum(bool(person.maiden) for person in world.people) > 1_000
    assert sum(person.previous != person.home for person in world.people) > PEOPLE * 0.9
    assert sum(bool(world.associates(person)) for person in world.people) > PEOPLE / 2
    assert len(world.groups) > 20
    assert [world.people[number].group for number in world.groups[LAVA]] == [LAVA] * len(ROLES)


def test_no_identifier_could_belong_to_anybody(world: Population) -> None:
    for person in world.people[::97]:
        assert identifiers.national_insurance_number(person.number).startswith("QQ")
        assert identifier_of(person, "email").endswith("@example.invalid")
        assert re.fullmatch(r"(07700 900|0\d{4} (960|180|460|980|990))\d{3}|", identifiers.phone(person.number))
        assert all(re.fullmatch(r"[A-Z]{2}\d\d Q[A-Z]{2}", vehicle.registration) for vehicle in person.vehicles)
        assert all(company.number.startswith("99") for company in person.companies)


def test_identifiers_name_one_person_or_vehicle_each(world: Population) -> None:
    marks = [vehicle.registration for person in world.people for vehicle in person.vehicles]
    assert len(set(marks)) == len(marks)
    for type_ in ("national_insurance_number", "passport", "unique_taxpayer_reference", "email"):
        assert len({identifier_of(person, type_) for person in world.people}) == PEOPLE


def test_the_lava_nominee_was_born_under_another_name(world: Population) -> None:
    nominee = cast(world).members["nominee"]
    assert nominee.maiden
    assert nominee.maiden != nominee.family


def test_each_body_is_reached_in_one_way_only() -> None:
    assert len(SIMULATED) == 22
    assert not SIMULATED_BY_ADAPTER & OUTSIDE_CLIENTS
