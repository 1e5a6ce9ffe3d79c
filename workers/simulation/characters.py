"""The characters of the 22 bodies: how fast each is, what it declines, how it grades, when it is out of order."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Character:
    """One body's ways.

    `median_hours` and `spread` are the log-normal latency in its working time; `automatic` bodies work round the clock.
    `remit` and `gateway` list the crime types it takes, and those its powers let it answer about (empty: all);
    `wants_birth`: it searches for nobody without a date of birth or one of its own identifiers; `groups_only`: its
    policy is to answer about mapped groups. `quota` is how many routine referrals it takes up a working day. `busy`,
    `own_operation`, `outage` and `malformed` are shares (0 to 1) of dispatches. `threshold` is a score of 0 to 100.
    """

    code: str
    name: str
    median_hours: float
    legal_basis: str
    spread: float = 0.5
    automatic: bool = False
    remit: frozenset[str] = frozenset()
    gateway: frozenset[str] = frozenset()
    wants_birth: bool = False
    groups_only: bool = False
    threshold: float = 75.0
    source: int = 1
    assessment: str = "B"
    conditions: tuple[str, ...] = ()
    consent: bool = False
    quota: int = 60
    busy: float = 0.0
    own_operation: float = 0.0
    outage: float = 0.03
    malformed: float = 0.01


_EXEMPTION = "data_protection_act_2018_sch2_para2"
_IMMIGRATION = "immigration_and_asylum_act_1999_s21"
_LOCAL = "crime_and_disorder_act_1998_s115"

CHARACTERS: Mapping[str, Character] = MappingProxyType(
    {
        character.code: character
        for character in (
            Character(
                "HMRC",
                "HM Revenue and Customs",
                24,
                "atcsa_2001_s19",
                consent=True,
                conditions=("A2", "S2"),
                quota=40,
                busy=0.01,
            ),
            Character(
                "DWP",
                "Department for Work and Pensions",
                20,
                "social_security_administration_act_1992",
                consent=True,
                wants_birth=True,
                conditions=("A2",),
                quota=40,
            ),
            Character("IE", "Immigration Enforcement", 12, _IMMIGRATION, source=2, threshold=72, busy=0.03),
            Character("BF", "Border Force", 6, _IMMIGRATION, automatic=True),
            Character(
                "HMPPS",
                "HM Prison and Probation Service",
                10,
                "offender_management_act_2007_s14",
                wants_birth=True,
                conditions=("A1",),
            ),
            Character("HMPO", "HM Passport Office", 14, _EXEMPTION, wants_birth=True, quota=30),
            Character("NRW", "Natural Resources Wales", 14, _EXEMPTION, threshold=72, source=2),
            Character("NTS", "National Trading Standards", 18, "enterprise_act_2002_part_9", source=2, assessment="C"),
            Character("DVSA", "Driver and Vehicle Standards Agency", 7, _EXEMPTION),
            Character(
                "DVLA",
                "Driver and Vehicle Licensing Agency",
                0.1,
                _EXEMPTION,
                automatic=True,
                assessment="A",
                quota=5000,
            ),
            Character(
                "GLAA",
                "Gangmasters and Labour Abuse Authority",
                14,
                "gangmasters_licensing_act_2004_s19",
                remit=frozenset(
                    "modern_slavery human_trafficking organised_immigration_crime benefit_fraud waste_crime".split()
                ),
                source=2,
                threshold=72,
                conditions=("A1", "S2"),
                busy=0.03,
            ),
            Character("INSS", "Insolvency Service", 14, _EXEMPTION, assessment="A"),
            Character(
                "CH", "Companies House", 0.05, _EXEMPTION, automatic=True, assessment="A", quota=5000, malformed=0.005
            ),
            Character(
                "FCA",
                "Financial Conduct Authority",
                22,
                "fsma_2000_s348",
                gateway=frozenset({"fraud", "money_laundering", "cyber_crime", "benefit_fraud"}),
                consent=True,
                conditions=("S2",),
                quota=30,
            ),
            Character(
                "NCA",
                "National Crime Agency",
                8,
                "crime_and_courts_act_2013_s7",
                automatic=True,
                source=2,
                assessment="C",
                conditions=("A1", "S2"),
                own_operation=0.05,
            ),
            Character("SIA", "Security Industry Authority", 5, _EXEMPTION, assessment="A"),
            Character("HSE", "Health and Safety Executive", 18, _EXEMPTION, threshold=72, malformed=0.02),
            Character(
                "NHSCFA",
                "NHS Counter Fraud Authority",
                18,
                _EXEMPTION,
                remit=frozenset({"fraud", "medicines_crime", "benefit_fraud", "counterfeiting"}),
                wants_birth=True,
            ),
            Character(
                "MHRA",
                "Medicines and Healthcare products Regulatory Agency",
                12,
                _EXEMPTION,
                remit=frozenset({"medicines_crime", "counterfeiting", "drug_trafficking"}),
            ),
            Character(
                "NFCU",
                "National Food Crime Unit",
                6,
                _EXEMPTION,
                remit=frozenset({"food_crime", "fraud", "modern_slavery"}),
            ),
            Character(
                "LA-MTYDFIL", "Merthyr Tydfil County Borough Council", 16, _LOCAL, source=2, quota=25, outage=0.06
            ),
            Character(
                "FRS-SWALES",
                "South Wales Fire and Rescue Service",
                8,
                _LOCAL,
                threshold=72,
                groups_only=True,
                malformed=0.02,
            ),
        )
    }
)
"""By code."""
