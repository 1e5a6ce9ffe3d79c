"""Who is asked, and why."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.parties import reference as parties
from app.parties.codes import CrimeType, LegalBasis
from app.parties.policy import Policy
from app.parties.records import Directory, UnknownParty
from app.routing import reference as routing
from app.routing.matrix import Facts, Gateway, Matrix, Rule, decide, propose_gateway

DIRECTORY = parties.load().directory()
MATRIX = routing.load().matrix()

originators = st.sampled_from([party.code for party in DIRECTORY if party.can_refer])
crime_types = st.lists(st.sampled_from([str(crime_type) for crime_type in CrimeType]), min_size=1, unique=True)
addressees = st.lists(st.sampled_from([party.code for party in DIRECTORY.agencies()]), min_size=1)


def chosen(originator: str, *crime_types: str) -> set[str]:
    return {choice.agency for choice in decide(Facts(originator, crime_types), MATRIX, DIRECTORY)}


def with_policy(code: str, policy: Policy) -> Directory:
    return Directory(replace(party, policy=policy) if party.code == code else party for party in DIRECTORY)


def test_waste_crime_in_wales_goes_to_natural_resources_wales_with_the_reason_in_words() -> None:
    choices = {choice.agency: choice for choice in decide(Facts("SWP", ["waste_crime"]), MATRIX, DIRECTORY)}
    assert "EA" not in choices
    assert choices["NRW"].rule == "waste-crime-wales"
    assert choices["NRW"].release == MATRIX.release
    assert choices["NRW"].reason == "waste crime in Wales is regulated by Natural Resources Wales"


def test_waste_crime_in_england_goes_to_the_environment_agency() -> None:
    assert {"EA", "NRW"} & chosen("KNT", "waste_crime") == {"EA"}


def test_north_wales_is_welsh_although_its_region_is_in_the_north_west() -> None:
    assert {"EA", "NRW"} & chosen("NWP", "waste_crime") == {"NRW"}
    assert {"EA", "NRW"} & chosen("TITAN", "waste_crime") == {"EA", "NRW"}


def test_a_force_of_no_one_nation_reaches_the_regulators_of_both() -> None:
    assert {"EA", "NRW"} <= chosen("BTP", "waste_crime")


def test_a_local_body_is_chosen_for_its_own_ground_and_its_region_only() -> None:
    assert "LA-MTYDFIL" in chosen("SWP", "modern_slavery")
    assert "LA-MTYDFIL" in chosen("TARIAN", "modern_slavery")
    assert "LA-MTYDFIL" not in chosen("GWP", "modern_slavery")
    assert "LA-MTYDFIL" not in chosen("NCA", "modern_slavery")


def test_a_referral_with_several_crime_types_asks_an_agency_once_and_names_them_all() -> None:
    facts = Facts("SWP", ["modern_slavery", "drug_trafficking"])
    (hmrc,) = [choice for choice in decide(facts, MATRIX, DIRECTORY) if choice.agency == "HMRC"]
    assert hmrc.rule == "drugs-undeclared-income"
    assert hmrc.reason.endswith("; also for modern slavery")


def test_the_order_of_crime_types_changes_nothing() -> None:
    one = decide(Facts("SWP", ["modern_slavery", "drug_trafficking"]), MATRIX, DIRECTORY)
    other = decide(Facts("SWP", ["drug_trafficking", "modern_slavery"]), MATRIX, DIRECTORY)
    assert one == other


@given(originators, crime_types)
def test_whatever_the_matrix_chooses_fits_territory_and_crime_type(originator: str, wanted: list[str]) -> None:
    choices = decide(Facts(originator, wanted), MATRIX, DIRECTORY)
    rules = {rule.rule: rule for rule in MATRIX.rules}
    agencies = [choice.agency for choice in choices]
    assert len(agencies) == len(set(agencies))
    assert originator not in agencies
    for choice in choices:
        assert rules[choice.rule].agency == choice.agency
        assert rules[choice.rule].crime_type in wanted
        assert DIRECTORY[choice.agency].territory & DIRECTORY.ground(originator)


@given(originators, crime_types, addressees)
def test_named_addressees_are_asked_and_nobody_else(originator: str, wanted: list[str], named: list[str]) -> None:
    choices = decide(Facts(originator, wanted, named), MATRIX, DIRECTORY)
    assert [choice.agency for choice in choices] == [code for code in dict.fromkeys(named) if code != originator]
    assert {(choice.rule, choice.reason) for choice in choices} <= {("named", "named by the originator")}


def test_a_policy_keeps_the_matrix_from_choosing_but_never_refuses_a_named_addressee() -> None:
    directory = with_policy("DVLA", Policy(crime_types=frozenset({CrimeType.FIREARMS}), notices_per_day=1))
    by_matrix = decide(Facts("SWP", ["drug_trafficking"]), MATRIX, directory)
    named = decide(Facts("SWP", ["drug_trafficking"], ["DVLA"]), MATRIX, directory)
    assert "DVLA" not in {choice.agency for choice in by_matrix}
    assert [(choice.agency, choice.needs_release) for choice in named] == [("DVLA", False)]


def test_only_the_private_bodys_dispatch_waits_for_release() -> None:
    choices = decide(Facts("SWP", ["acquisitive_crime"], ["HMRC", "SMARTWATER"]), MATRIX, DIRECTORY)
    assert [(choice.agency, choice.needs_release) for choice in choices] == [("HMRC", False), ("SMARTWATER", True)]


def test_a_release_rule_holds_the_matrixs_choice_too() -> None:
    directory = with_policy("NCA", Policy(needs_release=True))
    held = [choice.agency for choice in decide(Facts("SWP", ["firearms"]), MATRIX, directory) if choice.needs_release]
    assert held == ["NCA"]


def test_an_unknown_party_is_said_so_by_its_code() -> None:
    with pytest.raises(UnknownParty, match="XYZ"):
        decide(Facts("SWP", ["fraud"], ["XYZ"]), MATRIX, DIRECTORY)


@pytest.mark.parametrize(
    ("sender", "recipient", "basis"),
    [
        ("SWP", "NCA", LegalBasis.CRIME_AND_COURTS_ACT_2013_S7),
        ("NCA", "HMRC", LegalBasis.CRIME_AND_COURTS_ACT_2013_S7),
        ("HMRC", "SWP", LegalBasis.ATCSA_2001_S19),
        ("HMRC", "TARIAN", LegalBasis.ATCSA_2001_S19),
        ("SWP", "HMRC", None),
        ("SWP", "HMPPS", LegalBasis.OFFENDER_MANAGEMENT_ACT_2007_S14),
        ("SWP", "LA-MTYDFIL", LegalBasis.CRIME_AND_DISORDER_ACT_1998_S115),
        ("SWP", "GLAA", LegalBasis.GANGMASTERS_LICENSING_ACT_2004_S19),
        ("SWP", "DVLA", None),
        ("SWP", "SMARTWATER", None),
    ],
)
def test_a_gateway_is_proposed_by_sender_and_recipient(sender: str, recipient: str, basis: str | None) -> None:
    assert propose_gateway(DIRECTORY[sender], DIRECTORY[recipient], MATRIX.gateways) == basis


def test_a_dispatch_carries_the_gateway_of_its_own_direction() -> None:
    (choice,) = decide(Facts("SWP", ["fraud"], ["NCA"]), MATRIX, DIRECTORY)
    assert choice.gateway == "crime_and_courts_act_2013_s7"


def test_the_first_gateway_that_fits_is_proposed() -> None:
    gateways = (Gateway("force", "*", "first"), Gateway("*", "HMRC", "second"))
    assert propose_gateway(DIRECTORY["SWP"], DIRECTORY["HMRC"], gateways) == "first"
    assert propose_gateway(DIRECTORY["NCA"], DIRECTORY["HMRC"], gateways) == "second"


def test_without_a_rule_for_the_crime_type_nobody_is_asked() -> None:
    matrix = Matrix(release=7, rules=(Rule("a", "fraud", "FCA", "because"),), gateways=())
    assert decide(Facts("SWP", ["firearms"]), matrix, DIRECTORY) == []
