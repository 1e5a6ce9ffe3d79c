"""The codes of the domain: what a referral and a response may say. One enumeration per word of domain knowledge."""

from enum import IntEnum, StrEnum

from app.parties.codes import Priority


class SubjectKind(StrEnum):
    """What a referral can be about."""

    PERSON = "person"
    ORGANISATION = "organisation"
    PREMISES = "premises"
    VEHICLE = "vehicle"


class IdentifierType(StrEnum):
    """Numbers and addresses by which a body finds a subject."""

    NATIONAL_INSURANCE_NUMBER = "national_insurance_number"
    PASSPORT = "passport"
    DRIVING_LICENCE = "driving_licence"
    PNC_ID = "pnc_id"
    VEHICLE_REGISTRATION = "vehicle_registration"
    COMPANY_NUMBER = "company_number"
    UNIQUE_TAXPAYER_REFERENCE = "unique_taxpayer_reference"
    PHONE = "phone"
    EMAIL = "email"
    BANK_ACCOUNT = "bank_account"


class Criterion(StrEnum):
    """Why a referral may be made (Yorkshire and Humber ROCU)."""

    MAPPED_OCG = "mapped_ocg"
    HIGH_RISK_INDIVIDUAL = "high_risk_individual"
    VULNERABILITY = "vulnerability"
    TASKED_OPERATION = "tasked_operation"


class PriorityRank(IntEnum):
    """The order of every queue: the lowest first."""

    URGENT = 0
    PRIORITY = 1
    ROUTINE = 2


class SubjectWarning(StrEnum):
    """What an officer or an agency must know before acting."""

    VIOLENT = "violent"
    FIREARMS = "firearms"
    DO_NOT_ALERT_SUBJECT = "do_not_alert_subject"
    VULNERABLE = "vulnerable"
    SELF_HARM = "self_harm"


class Marking(StrEnum):
    """The protective markings this system takes (Government Security Classifications)."""

    OFFICIAL = "OFFICIAL"
    OFFICIAL_SENSITIVE = "OFFICIAL-SENSITIVE"


class Assessment(StrEnum):
    """Intelligence assessment (3x5x2)."""

    A = "A"  # known directly to the source
    B = "B"  # known indirectly but corroborated
    C = "C"  # known indirectly
    D = "D"  # not known
    E = "E"  # suspected to be false


class HandlingCode(StrEnum):
    """Handling code (3x5x2)."""

    P = "P"  # lawful sharing permitted
    C = "C"  # lawful sharing permitted with conditions


class HandlingCondition(StrEnum):
    """Conditions of handling code C."""

    A1 = "A1"  # covert development
    A2 = "A2"  # covert use
    A3 = "A3"  # overt use
    S1 = "S1"  # delegated authority
    S2 = "S2"  # consult originator


class FactKind(StrEnum):
    """What a fact in an answer is about."""

    PERSON = "person"
    ADDRESS = "address"
    VEHICLE = "vehicle"
    EMPLOYMENT = "employment"
    COMPANY = "company"
    BENEFIT = "benefit"
    TAX = "tax"
    TRAVEL = "travel"
    CUSTODY = "custody"
    LICENCE = "licence"
    ASSOCIATION = "association"
    FINANCE = "finance"
    OTHER = "other"


class DeclineReason(StrEnum):
    """Why an agency declines."""

    OUTSIDE_REMIT = "outside_remit"
    NO_LAWFUL_GATEWAY = "no_lawful_gateway"
    POLICY = "policy"
    CAPACITY = "capacity"
    INSUFFICIENT_DETAIL = "insufficient_detail"
    CONFLICT_WITH_OWN_OPERATION = "conflict_with_own_operation"


class OnwardDisclosure(StrEnum):
    """Whether an answer may go further. Consent gates every copy to another party or product."""

    PERMITTED = "permitted"
    CONSENT_REQUIRED = "consent_required"


def rank(priority: Priority) -> PriorityRank:
    """The queue order of a priority."""
    return PriorityRank[priority.name]


def priority_of(number: int) -> str:
    """The priority's word for a stored queue order."""
    return _PRIORITIES[number]


_PRIORITIES: dict[int, str] = {rank: Priority[rank.name].value for rank in PriorityRank}
