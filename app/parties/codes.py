"""The words of the parties, of their policies and of the routing matrix (domain.md, sections 4 and 5)."""

from enum import StrEnum


class PartyKind(StrEnum):
    """The kinds of party (domain.md, sections 2 and 5). A region's code is also its ROCU's."""

    REGION = "region"
    FORCE = "force"
    AGENCY = "agency"
    LOCAL_AUTHORITY = "local_authority"
    FIRE_SERVICE = "fire_service"
    PRIVATE = "private"
    NATIONAL = "national"


RECEIVING_KINDS: frozenset[PartyKind] = frozenset(
    {PartyKind.AGENCY, PartyKind.LOCAL_AUTHORITY, PartyKind.FIRE_SERVICE, PartyKind.PRIVATE}
)
"""The kinds that may be an addressee."""

REFERRING_KINDS: frozenset[PartyKind] = frozenset(PartyKind) - {PartyKind.PRIVATE, PartyKind.NATIONAL}
"""The kinds that may be an originator, where the reference data does not say otherwise for a party."""


class Channel(StrEnum):
    """How a party is told of a dispatch. Whatever the channel, every item is in its inbox."""

    INBOX = "inbox"
    PUSH = "push"
    EMAIL = "email"
    SIMULATED = "simulated"


class Priority(StrEnum):
    """How soon an answer is needed; the time that gives is the addressee's policy."""

    URGENT = "urgent"
    PRIORITY = "priority"
    ROUTINE = "routine"


class CrimeType(StrEnum):
    """The crime types of the report."""

    DRUG_TRAFFICKING = "drug_trafficking"
    HUMAN_TRAFFICKING = "human_trafficking"
    MODERN_SLAVERY = "modern_slavery"
    ORGANISED_IMMIGRATION_CRIME = "organised_immigration_crime"
    FRAUD = "fraud"
    MONEY_LAUNDERING = "money_laundering"
    COUNTERFEITING = "counterfeiting"
    ACQUISITIVE_CRIME = "acquisitive_crime"
    FIREARMS = "firearms"
    CYBER_CRIME = "cyber_crime"
    CHILD_SEXUAL_EXPLOITATION = "child_sexual_exploitation"
    TAX_EVASION = "tax_evasion"
    WASTE_CRIME = "waste_crime"
    FOOD_CRIME = "food_crime"
    MEDICINES_CRIME = "medicines_crime"
    BENEFIT_FRAUD = "benefit_fraud"


class LegalBasis(StrEnum):
    """The powers and gateways a referral, a dispatch or a response may rest on.

    A memorandum of understanding is not a gateway, and so is not here.
    """

    COMMON_LAW_POLICING_PURPOSE = "common_law_policing_purpose"
    ATCSA_2001_S19 = "atcsa_2001_s19"
    CRIME_AND_COURTS_ACT_2013_S7 = "crime_and_courts_act_2013_s7"
    IMMIGRATION_AND_ASYLUM_ACT_1999_S20 = "immigration_and_asylum_act_1999_s20"
    IMMIGRATION_AND_ASYLUM_ACT_1999_S21 = "immigration_and_asylum_act_1999_s21"
    ENTERPRISE_ACT_2002_PART_9 = "enterprise_act_2002_part_9"
    FSMA_2000_S348 = "fsma_2000_s348"
    GANGMASTERS_LICENSING_ACT_2004_S19 = "gangmasters_licensing_act_2004_s19"
    OFFENDER_MANAGEMENT_ACT_2007_S14 = "offender_management_act_2007_s14"
    CRIME_AND_DISORDER_ACT_1998_S115 = "crime_and_disorder_act_1998_s115"
    SOCIAL_SECURITY_ADMINISTRATION_ACT_1992 = "social_security_administration_act_1992"
    DATA_PROTECTION_ACT_2018_SCH2_PARA2 = "data_protection_act_2018_sch2_para2"


GATEWAYS: frozenset[LegalBasis] = frozenset(LegalBasis) - {
    LegalBasis.COMMON_LAW_POLICING_PURPOSE,  # the originator's own power
    LegalBasis.DATA_PROTECTION_ACT_2018_SCH2_PARA2,  # an exemption
}
"""What may be proposed as a gateway for a dispatch."""
