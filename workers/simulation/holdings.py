"""What each of the 22 bodies knows about a person: its own facts about its own share of the population.

A detail is `(fact kind, template, *arguments)` (domain.md, section 4, fact kinds); the text is made when it is told.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType

from workers.simulation import pools
from workers.simulation.noise import CARELESS, CLEAN, Noise
from workers.simulation.population import Person, Population

Detail = tuple[str, ...]
Know = Callable[[Person, Population, Random], tuple[Detail, ...]]

_BENEFITS = ("Universal Credit", "Carer's Allowance", "Personal Independence Payment", "Housing Benefit")
_PRISONS = ("HMP Cardiff", "HMP Swansea", "HMP Parc", "HMP Usk", "HMP Bristol", "HMP Liverpool")
_OFFENCES = ("supplying a Class B drug", "fraud by false representation", "handling stolen goods", "wounding")
_FLIGHTS = ("Malaga", "Amsterdam", "Dublin", "Tirana", "Antalya", "Alicante")


@dataclass(frozen=True, slots=True)
class Holding:
    """One body's register: the share of people it knows, where, what it records and how well it spells."""

    share: float
    know: Know
    identifiers: tuple[str, ...] = ()
    areas: frozenset[str] = frozenset()
    noise: Noise = field(default=Noise())


def _often(*choices: Detail | tuple[str, ...]) -> Know:
    """A body that records one of a few things, each template taking a month."""

    def know(person: Person, world: Population, rng: Random) -> tuple[Detail, ...]:
        kind, template = rng.choice(choices)
        return ((kind, template, rng.choice(world.months)),)

    return know


def _dvla(person: Person, world: Population, rng: Random) -> tuple[Detail, ...]:
    licence = ("licence", "Holds a full licence for cars and light vans since {}.", rng.choice(world.months))
    keeper = "Keeper of {}, a {} {} {}, since {}."
    kept = [
        ("vehicle", keeper, vehicle.registration, vehicle.colour, vehicle.make, vehicle.model, vehicle.since)
        for vehicle in person.vehicles
    ]
    return (*kept, licence)


def _hmrc(person: Person, world: Population, rng: Random) -> tuple[Detail, ...]:
    declared = ("tax", "Declared income of £{} in the year to April 2025.", f"{rng.randrange(0, 62) * 700:,}")
    if person.employer < 0:
        return (declared, ("employment", "Registered as self-employed since {}.", rng.choice(world.months)))
    employer = world.companies[person.employer]
    return (("employment", "Employed by {} since {}.", employer.name, rng.choice(world.months)), declared)


def _dwp(person: Person, world: Population, rng: Random) -> tuple[Detail, ...]:
    claim = ("benefit", "Claims {} since {}.", rng.choice(_BENEFITS), rng.choice(world.months))
    if person.previous is person.home or rng.random() < 0.7:
        return (claim,)
    old = person.previous
    return (claim, ("address", "The claim was made from {}, {}.", f"{old.line}, {old.town}", old.postcode))


def _companies_house(person: Person, world: Population, rng: Random) -> tuple[Detail, ...]:
    told = "Director of {} (company number {}), appointed {}; registered office {}."
    return tuple(
        ("company", told, firm.name, firm.number, firm.since, f"{firm.address.line}, {firm.address.postcode}")
        for firm in person.companies
    )


def _hmpps(person: Person, world: Population, rng: Random) -> tuple[Detail, ...]:
    sentence = (
        "custody",
        "Served {} months for {}, {}; released {}.",
        str(rng.randrange(3, 60)),
        rng.choice(_OFFENCES),
    )
    served = (*sentence, rng.choice(_PRISONS), rng.choice(world.months))
    if rng.random() < 0.5:
        return (served,)
    return (
        served,
        ("licence", "On licence until {}, with a curfew from 21:00 to 06:00.", rng.choice(world.months[-24:])),
    )


def _hmpo(person: Person, world: Population, rng: Random) -> tuple[Detail, ...]:
    issued = ("person", "British passport issued {}.", rng.choice(world.months))
    if not person.maiden:
        return (issued,)
    return (issued, ("person", "An earlier passport was held in the name {}.", person.maiden))


def _border(person: Person, world: Population, rng: Random) -> tuple[Detail, ...]:
    days = str(rng.randrange(2, 22))
    return (("travel", "Returned from {} in {}, {} days away.", rng.choice(_FLIGHTS), rng.choice(world.months), days),)


def _nca(person: Person, world: Population, rng: Random) -> tuple[Detail, ...]:
    seen = ("other", "Named in reporting of {}.", rng.choice(world.months))
    known = [other for other in world.associates(person) if other.group][:1]
    told = "Reported in the company of {}, born {}."
    return (seen, *(("association", told, f"{one.given} {one.family}", f"{one.birth:%d/%m/%Y}") for one in known))


def _council(person: Person, world: Population, rng: Random) -> tuple[Detail, ...]:
    home = person.home
    liable = (
        "address",
        "Liable for council tax at {}, {} since {}.",
        home.line,
        home.postcode,
        rng.choice(world.months),
    )
    return (liable,)


def _operators(person: Person, world: Population, rng: Random) -> tuple[Detail, ...]:
    vehicles = person.vehicles[:2]
    if not vehicles:
        return (("licence", "Holds a driver qualification card, issued {}.", rng.choice(world.months)),)
    stopped = "{} stopped at a roadside check in {}: {}."
    found = rng.choice(("overloaded", "no fault found", "prohibition for tyres", "mileage lower than the year before"))
    return tuple(("vehicle", stopped, vehicle.registration, rng.choice(world.months), found) for vehicle in vehicles)


_WELSH = frozenset({pools.MERTHYR, pools.SOUTH_WALES, pools.WALES})
_SOUTH = frozenset({pools.MERTHYR, pools.SOUTH_WALES})

HOLDINGS: Mapping[str, Holding] = MappingProxyType(
    {
        "HMRC": Holding(0.4, _hmrc, ("national_insurance_number", "unique_taxpayer_reference")),
        "DWP": Holding(0.22, _dwp, ("national_insurance_number",)),
        "IE": Holding(0.02, _often(("travel", "Sponsored a visa application in {}.")), ("passport",), noise=CARELESS),
        "BF": Holding(0.04, _border, ("passport",)),
        "HMPPS": Holding(0.03, _hmpps, ("pnc_id",)),
        "HMPO": Holding(0.3, _hmpo, ("passport",), noise=CLEAN),
        "NRW": Holding(
            0.02,
            _often(
                ("other", "Reported for waste left on open land in {}."),
                ("licence", "Registered as a lower-tier waste carrier in {}."),
            ),
            ("vehicle_registration",),
            _WELSH,
            CARELESS,
        ),
        "NTS": Holding(0.012, _often(("other", "Sold counterfeit clothing online, complaint of {}.")), ("email",)),
        "DVSA": Holding(0.03, _operators, ("driving_licence", "vehicle_registration")),
        "DVLA": Holding(0.75, _dvla, ("driving_licence", "vehicle_registration"), noise=CLEAN),
        "GLAA": Holding(
            0.01, _often(("other", "Named in a labour exploitation report of {}.")), ("phone",), noise=CARELESS
        ),
        "INSS": Holding(
            0.015,
            _often(("company", "Disqualified as a director in {}."), ("finance", "Made bankrupt in {}.")),
            ("company_number",),
        ),
        "CH": Holding(1.0, _companies_house, ("company_number",)),
        "FCA": Holding(
            0.01,
            _often(("finance", "Named in a report of lending without authorisation, {}.")),
            ("email", "bank_account"),
        ),
        "NCA": Holding(0.006, _nca, ("phone", "vehicle_registration")),
        "SIA": Holding(0.02, _often(("licence", "Door supervisor licence issued {}.")), ("national_insurance_number",)),
        "HSE": Holding(0.006, _often(("other", "Duty holder at a site inspected in {}.")), ("phone",), noise=CARELESS),
        "NHSCFA": Holding(0.006, _often(("finance", "Claimed free prescriptions without entitlement in {}."))),
        "MHRA": Holding(0.004, _often(("other", "Addressee of a parcel of unlicensed medicines, {}."))),
        "NFCU": Holding(0.004, _often(("other", "Named in a report of unfit meat sold, {}."))),
        "LA-MTYDFIL": Holding(0.7, _council, ("phone", "email"), frozenset({pools.MERTHYR})),
        "FRS-SWALES": Holding(0.03, _often(("address", "Home fire safety visit in {}.")), ("phone",), _SOUTH, CARELESS),
    }
)
"""By code. The shares make hit rates: DVLA knows most people, the Food Crime Unit hardly any."""

TRADES: Mapping[str, tuple[float, Sequence[str], str, str]] = MappingProxyType(
    {
        "CH": (1.0, (), "company", "Incorporated {}; registered office {}."),
        "HMRC": (0.5, (), "tax", "Registered for VAT in {} at {}."),
        "LA-MTYDFIL": (1.0, (), "address", "Liable for business rates since {} at {}."),
        "FRS-SWALES": (0.5, (), "address", "Fire safety audit in {} of {}."),
        "HSE": (0.15, (), "other", "Site inspection in {} at {}."),
        "INSS": (0.04, (), "company", "Winding-up petition presented in {}; last trading address {}."),
        "NRW": (0.7, ("Skip Hire", "Haulage", "Garden Supplies"), "licence", "Waste carrier registered in {} at {}."),
        "DVSA": (0.8, ("Haulage", "Logistics", "Skip Hire"), "licence", "Operator's licence granted {}; centre at {}."),
        "FCA": (0.5, ("Finance",), "finance", "Authorised for consumer credit since {}, of {}."),
        "SIA": (0.7, ("Security",), "licence", "Approved contractor since {}, of {}."),
        "NFCU": (0.2, ("Catering", "Wholesale"), "other", "Food establishment inspected in {} at {}."),
        "MHRA": (0.6, ("Pharmacy",), "licence", "Wholesale dealer's licence granted {} at {}."),
        "NHSCFA": (0.2, ("Care", "Pharmacy"), "finance", "Claims reviewed in {} for {}."),
        "GLAA": (0.5, ("Recruitment",), "licence", "Licensed as a labour provider in {}, of {}."),
        "NTS": (
            0.3,
            ("Vape and Phones", "Motors", "Wholesale"),
            "other",
            "Complaint upheld in {} against the trader at {}.",
        ),
    }
)
"""Bodies that hold companies: share, trades (none: all), fact kind and a text that takes a month and an address."""
