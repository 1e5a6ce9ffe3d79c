"""What names, streets and places the population is made of: faker's en_GB data, drawn in bulk.

Faker's own methods cost some 20 µs a call; drawing from its data with one seeded generator costs 0.2 µs.
"""

from collections.abc import Sequence
from itertools import accumulate
from random import Random

from faker.providers.person.en_GB import Provider as Persons

MEN: Sequence[str] = tuple(Persons.first_names_male)
WOMEN: Sequence[str] = tuple(Persons.first_names_female)
_FAMILIES: Sequence[str] = tuple(Persons.last_names)
_FAMILY_WEIGHTS: Sequence[float] = tuple(accumulate(Persons.last_names.values()))
_SUFFIXES = ("Street", "Road", "Avenue", "Close", "Terrace", "Court", "Drive", "Gardens", "Grove", "Crescent", "Lane")
_WELSH = ("Heol", "Ffordd", "Stryd", "Clos", "Maes")
_WELSH_NAMES = ("y Mynydd", "yr Afon", "y Parc", "Fawr", "yr Eglwys", "y Felin", "Newydd", "y Dderwen", "Isaf", "Uchaf")
_INWARD = "ABDEFGHJLNPQRSTUWXYZ"

MERTHYR, SOUTH_WALES, WALES, ENGLAND = "merthyr", "south wales", "wales", "england"
PLACES: Sequence[tuple[str, str, str, int]] = (
    ("Merthyr Tydfil", "CF47", MERTHYR, 10),
    ("Merthyr Tydfil", "CF48", MERTHYR, 10),
    ("Aberdare", "CF44", SOUTH_WALES, 6),
    ("Pontypridd", "CF37", SOUTH_WALES, 6),
    ("Caerphilly", "CF83", SOUTH_WALES, 5),
    ("Cardiff", "CF24", SOUTH_WALES, 10),
    ("Barry", "CF62", SOUTH_WALES, 4),
    ("Bridgend", "CF31", SOUTH_WALES, 5),
    ("Swansea", "SA1", WALES, 6),
    ("Newport", "NP20", WALES, 5),
    ("Wrexham", "LL13", WALES, 3),
    ("Bristol", "BS5", ENGLAND, 5),
    ("Birmingham", "B11", ENGLAND, 6),
    ("Manchester", "M14", ENGLAND, 5),
    ("Liverpool", "L8", ENGLAND, 4),
    ("Leeds", "LS9", ENGLAND, 4),
    ("London", "E15", ENGLAND, 6),
)
"""Town, postcode district, area, weight: South Wales first, because the demonstration plays there."""

_PLACE_WEIGHTS = tuple(accumulate(place[3] for place in PLACES))


def families(rng: Random, count: int) -> list[str]:
    """So many family names, as often as they are borne."""
    return rng.choices(_FAMILIES, cum_weights=_FAMILY_WEIGHTS, k=count)


def places(rng: Random, count: int) -> list[tuple[str, str, str, int]]:
    """So many places of `PLACES`, by weight."""
    return rng.choices(PLACES, cum_weights=_PLACE_WEIGHTS, k=count)


def streets(rng: Random, count: int) -> list[str]:
    """A pool of street names; every third is Welsh."""
    names = families(rng, count)
    return [
        f"{rng.choice(_WELSH)} {rng.choice(_WELSH_NAMES)}" if number % 3 == 0 else f"{name} {rng.choice(_SUFFIXES)}"
        for number, name in enumerate(names)
    ]


def postcode(rng: Random, district: str) -> str:
    """A plausible postcode in a district."""
    return f"{district} {rng.randrange(1, 10)}{rng.choice(_INWARD)}{rng.choice(_INWARD)}"
