"""The codes of an answer as people read them: pairs of code and words, for radios, lists and the page that checks."""

from collections.abc import Mapping

from app.parties.codes import CrimeType, LegalBasis
from app.referrals.codes import (
    Assessment,
    DeclineReason,
    FactKind,
    HandlingCode,
    HandlingCondition,
    OnwardDisclosure,
    SubjectWarning,
)
from app.referrals.states import Outcome
from app.web.words import plain

Choices = list[tuple[str, str]]

OUTCOMES: Mapping[str, str] = {
    Outcome.HIT: "Hit: we hold something about the subject",
    Outcome.NO_HIT: "No hit: we have searched and hold nothing",
    Outcome.DECLINED: "Declined: we do not answer this referral",
    Outcome.MORE_INFORMATION: "We need more information first",
}

SOURCES: Mapping[str, str] = {"1": "1 – reliable", "2": "2 – untested", "3": "3 – not reliable"}

ASSESSMENTS: Mapping[str, str] = {
    Assessment.A: "A – known directly to the source",
    Assessment.B: "B – known indirectly to the source, but corroborated",
    Assessment.C: "C – known indirectly to the source",
    Assessment.D: "D – not known",
    Assessment.E: "E – suspected to be false",
}

HANDLING: Mapping[str, str] = {
    HandlingCode.P: "P – lawful sharing permitted",
    HandlingCode.C: "C – lawful sharing permitted with conditions",
}

CONDITIONS: Mapping[str, str] = {
    HandlingCondition.A1: "A1 – covert development",
    HandlingCondition.A2: "A2 – covert use",
    HandlingCondition.A3: "A3 – overt use",
    HandlingCondition.S1: "S1 – delegated authority",
    HandlingCondition.S2: "S2 – consult the originator",
}

ONWARD: Mapping[str, str] = {
    OnwardDisclosure.PERMITTED: "Permitted",
    OnwardDisclosure.CONSENT_REQUIRED: "Only with our consent each time",
}

REASONS: Mapping[str, str] = {
    DeclineReason.OUTSIDE_REMIT: "It is outside our remit",
    DeclineReason.NO_LAWFUL_GATEWAY: "There is no lawful gateway",
    DeclineReason.POLICY: "Our policy does not allow it",
    DeclineReason.CAPACITY: "We have no capacity",
    DeclineReason.INSUFFICIENT_DETAIL: "It gives too little detail to search by",
    DeclineReason.CONFLICT_WITH_OWN_OPERATION: "It conflicts with an operation of our own",
}

LEGAL_BASES: Mapping[str, str] = {
    LegalBasis.COMMON_LAW_POLICING_PURPOSE: "Common law, policing purpose",
    LegalBasis.ATCSA_2001_S19: "Anti-terrorism, Crime and Security Act 2001, section 19",
    LegalBasis.CRIME_AND_COURTS_ACT_2013_S7: "Crime and Courts Act 2013, section 7",
    LegalBasis.IMMIGRATION_AND_ASYLUM_ACT_1999_S20: "Immigration and Asylum Act 1999, section 20",
    LegalBasis.IMMIGRATION_AND_ASYLUM_ACT_1999_S21: "Immigration and Asylum Act 1999, section 21",
    LegalBasis.ENTERPRISE_ACT_2002_PART_9: "Enterprise Act 2002, part 9",
    LegalBasis.FSMA_2000_S348: "Financial Services and Markets Act 2000, section 348",
    LegalBasis.GANGMASTERS_LICENSING_ACT_2004_S19: "Gangmasters (Licensing) Act 2004, section 19",
    LegalBasis.OFFENDER_MANAGEMENT_ACT_2007_S14: "Offender Management Act 2007, section 14",
    LegalBasis.CRIME_AND_DISORDER_ACT_1998_S115: "Crime and Disorder Act 1998, section 115",
    LegalBasis.SOCIAL_SECURITY_ADMINISTRATION_ACT_1992: "Social Security Administration Act 1992",
    LegalBasis.DATA_PROTECTION_ACT_2018_SCH2_PARA2: "Data Protection Act 2018, schedule 2, paragraph 2",
}

FACT_KINDS: Mapping[str, str] = {kind: plain(kind).capitalize() for kind in FactKind}
CRIME_TYPES: Mapping[str, str] = {kind: plain(kind).capitalize() for kind in CrimeType}
WARNINGS: Mapping[str, str] = {warning: plain(warning).capitalize() for warning in SubjectWarning}

WORDS: Mapping[str, Mapping[str, str]] = {
    "warning": WARNINGS,
    "crime": CRIME_TYPES,
    "source": SOURCES,
    "assessment": ASSESSMENTS,
    "handling": HANDLING,
    "condition": CONDITIONS,
    "basis": LEGAL_BASES,
    "outcome": OUTCOMES,
    "reason": REASONS,
    "onward": ONWARD,
    "fact": FACT_KINDS,
}
"""Every one of them by what it is, for templates."""


def pairs(words: Mapping[str, str], nothing: str = "") -> Choices:
    """As the macros take them; `nothing` is what an empty choice reads, if there is one."""
    empty = [("", nothing)] if nothing else []
    return empty + [(str(code), text) for code, text in words.items()]
