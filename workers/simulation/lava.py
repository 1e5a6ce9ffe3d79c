"""What the registers hold about the cast of Operation Lava beyond the ordinary: synthetic cultivation of cannabis.

By body, then by role of `groups.ROLES`: (fact kind, text). `{…}` names somebody or something of the cast.
"""

from collections.abc import Iterator, Mapping

from workers.simulation.groups import cast
from workers.simulation.population import Person, Population

_Story = Mapping[str, tuple[tuple[str, str], ...]]

_STORY: Mapping[str, _Story] = {
    "HMRC": {
        "organiser": (
            ("tax", "Declared income of £9,400 in each of the last three years."),
            ("finance", "Cash deposits of £212,000 over the same years do not agree with what was declared."),
        ),
        "haulier": (
            ("tax", "{Haulage} has filed no VAT return since March 2025; an assessment of £38,100 is unpaid."),
        ),
        "accountant": (("tax", "Filing agent of {Haulage}, {Garden_Supplies} and {Lettings}."),),
        "shopkeeper": (("tax", "8,000 cigarettes without duty were seized at {shop} in May 2025."),),
    },
    "DWP": {
        "lieutenant": (("benefit", "Claims Universal Credit as without work while director of {Garden_Supplies}."),),
        "electrician": (("benefit", "Claims Carer's Allowance; also paid wages by {Lettings} under the same number."),),
        "gardener": (("benefit", "A claim in this name is paid into the account that receives rent for {house}."),),
    },
    "IE": {
        "recruiter": (
            (
                "association",
                "Sponsor of four visitors who overstayed, among them {gardener}; two were last seen at {unit}.",
            ),
        ),
        "gardener": (
            ("travel", "Arrived by ferry in February 2025 with the sponsor of three others; leave has ended."),
        ),
    },
    "BF": {
        "courier": (("travel", "Six returns by Dover in 2025 with {courier_van}, each within 30 hours of leaving."),),
        "organiser": (("finance", "£14,500 in cash detained at Bristol Airport in August 2025."),),
    },
    "HMPPS": {
        "doorman": (
            ("custody", "HMP Parc until January 2025, for producing a Class B drug; shared a wing with {courier}."),
        ),
        "courier": (
            ("licence", "On licence until November 2026; must not leave the United Kingdom without permission."),
        ),
    },
    "HMPO": {
        "recruiter": (
            ("person", "Countersigned five passport applications in 2024; two photographs show one person."),
        ),
    },
    "NRW": {
        "waste_carrier": (
            ("other", "Soil, foil ducting and plant roots tipped near Pontsticill in June 2025 from {waste_van}."),
            ("licence", "Registration of {Skip_Hire} as a waste carrier lapsed in December 2024."),
        ),
        "haulier": (("vehicle", "{haulier_van} seen at the same tipping site twice in July 2025."),),
    },
    "NTS": {
        "shopkeeper": (
            ("other", "Test purchase in March 2025 at {shop}: counterfeit tobacco and vapes over the limit."),
        ),
    },
    "DVSA": {
        "haulier": (
            ("vehicle", "{haulier_van} stopped on the A470 in September 2025: overloaded, load of compost and lamps."),
        ),
        "car_dealer": (("vehicle", "Eleven vehicles sold by {Motors} show mileage lower than at their last test."),),
        "organiser": (("vehicle", "{organiser_van} stopped in April 2025, driven by {haulier}; no fault found."),),
    },
    "DVLA": {
        "car_dealer": (("vehicle", "Trade plates of {Motors}; nine keepers changed within one week in October 2025."),),
        "gardener": (("vehicle", "{gardener_van} was bought for cash and is insured by nobody."),),
    },
    "GLAA": {
        "recruiter": (("association", "Supplies workers without a licence; three were found sleeping at {unit}."),),
        "gardener": (("other", "Possible victim: pay withheld and papers kept by another; approach with care."),),
        "doorman": (("association", "Reported to drive workers between {house} and {unit} at night."),),
    },
    "INSS": {
        "landlord": (("company", "Director of two companies wound up in 2023 with £96,000 owed."),),
        "accountant": (("company", "Disqualification undertaking for five years, in force since June 2024."),),
    },
    "CH": {
        "nominee": (
            ("company", "Signature on the filings of {Garden_Supplies} and {Lettings} differs between years."),
        ),
        "organiser": (("company", "Person with significant control of {Haulage}; not named in its filings of 2025."),),
    },
    "FCA": {
        "accountant": (("finance", "Lends money without authorisation; two borrowers work at {Motors}."),),
    },
    "NCA": {
        "organiser": (
            ("association", "Reported as buyer of cultivation equipment, fetched from Bristol by {haulier}."),
        ),
        "courier": (("travel", "Contact of a transport group in the Netherlands, reported November 2025."),),
    },
    "SIA": {
        "doorman": (("licence", "Door supervisor licence revoked January 2024; still rostered by {Security}."),),
        "recruiter": (("licence", "Application as a director of {Security} refused in 2023."),),
    },
    "HSE": {
        "electrician": (("other", "Meter bypassed at {house}, made safe in May 2025; installer named by the tenant."),),
        "waste_carrier": (("other", "Prohibition notice at {yard} in July 2025: unguarded shredder."),),
    },
    "MHRA": {
        "shopkeeper": (
            ("other", "Parcel of 3,000 unlicensed pregabalin capsules addressed to {shop}, February 2025."),
        ),
    },
    "LA-MTYDFIL": {
        "landlord": (
            ("address", "Landlord of {house}; the tenant has not been seen and the windows are covered."),
            ("other", "Unlicensed house in multiple occupation; a child was recorded at the address in March 2025."),
        ),
        "organiser": (("address", "Pays the business rates of {unit} in the name of {Garden_Supplies}."),),
    },
    "FRS-SWALES": {
        "landlord": (
            ("address", "Fire at {house} in May 2025: overloaded wiring, heat lamps and ducting in the loft."),
        ),
        "nominee": (("address", "Prohibition notice for {unit}: no second exit, people sleeping inside."),),
        "electrician": (("other", "Named by {landlord} as the one who wired {house}."),),
    },
}


def stories(world: Population) -> dict[tuple[str, int], tuple[tuple[str, ...], ...]]:
    """By body and person's number: the details that a body holds about a member of the Lava group."""
    return {(body, person.number): details for body, person, details in _stories(world)}


def _stories(world: Population) -> Iterator[tuple[str, Person, tuple[tuple[str, ...], ...]]]:
    played = cast(world)
    names = {trade.replace(" ", "_"): company.name for trade, company in played.companies.items()}
    places = {use: f"{place.line}, {place.postcode}" for use, place in played.premises.items()}
    people = {role: f"{person.given} {person.family}" for role, person in played.members.items()}
    vans = {
        f"{role.removesuffix('_carrier')}_van": person.vehicles[-1].registration
        for role, person in played.members.items()
        if person.vehicles
    }
    known = {**names, **places, **people, **vans}
    for body, roles in _STORY.items():
        for role, lines in roles.items():
            yield body, played.members[role], tuple((kind, text.format(**known)) for kind, text in lines)
