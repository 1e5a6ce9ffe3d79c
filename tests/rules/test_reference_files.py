"""The reference files that come with the broker, and what a wrong one is told."""

import re
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.parties import reference as parties
from app.parties.codes import CrimeType, PartyKind
from app.parties.policy import Policy
from app.parties.release import ReferenceDataError, digest_of, read_release
from app.routing import reference as routing
from app.routing.matrix import Facts, decide

DIRECTORY = parties.load().directory()
MATRIX_FILE = routing.load()

FORCES = {
    "NERSOU": "CLP DUR NBP",
    "TITAN": "CHS CUM GMP LAN MER NWP",
    "ODYSSEY": "HUM NYP SYP WYP",
    "EMSOU": "DER LEI LIN NHP NOT",
    "WMROCU": "STA WAR WMC WMP",
    "ERSOU": "BED CAM ESX HRT KNT NFK SFK",
    "SEROCU": "HAM SRY SSX TVP",
    "ZEPHYR": "ASP DCP DOR GLO WIL",
    "TARIAN": "DPP GWP SWP",
    "LONDON": "MPS COLP BTP",
}
AGENCIES = (
    "HMRC DWP IE BF HMPPS HMPO EA NRW NTS DVSA DVLA GLAA INSS CH FCA NCA SIA GC NHSCFA MHRA NFCU HSE CC IPO "
    "LA-MTYDFIL FRS-SWALES SMARTWATER SAFERCASH"
)
DEMONSTRATION = (
    "HMRC DWP IE BF HMPPS HMPO NRW NTS DVSA DVLA GLAA INSS CH FCA NCA SIA HSE NHSCFA MHRA NFCU LA-MTYDFIL FRS-SWALES"
)


def parties_document() -> dict[str, Any]:
    return tomllib.loads(parties.FILE.read_text(encoding="utf-8"))


def matrix_document() -> dict[str, Any]:
    return tomllib.loads(routing.FILE.read_text(encoding="utf-8"))


def test_every_region_has_its_forces_and_no_others() -> None:
    found: dict[str, set[str]] = {region.code: set() for region in DIRECTORY.regions()}
    for force in DIRECTORY.forces():
        assert force.region is not None
        found[force.region].add(force.code)
    assert found == {region: set(forces.split()) for region, forces in FORCES.items()}


def test_every_agency_is_there_with_a_territory_and_what_it_bears_on() -> None:
    assert {agency.code for agency in DIRECTORY.agencies()} == set(AGENCIES.split())
    assert all(agency.territory and agency.bears_on for agency in DIRECTORY.agencies())


def test_the_twenty_two_of_the_demonstration_can_all_be_addressed() -> None:
    codes = DEMONSTRATION.split()
    assert len(codes) == 22
    assert all(DIRECTORY[code].receives for code in codes)


def test_gain_is_the_national_party_and_neither_refers_nor_receives() -> None:
    gain = DIRECTORY["GAIN"]
    assert (gain.kind, gain.can_refer, gain.receives) == (PartyKind.NATIONAL, False, False)


def test_forces_regions_and_agencies_may_refer_and_private_bodies_may_not() -> None:
    assert all(DIRECTORY[code].can_refer for code in ("SWP", "TARIAN", "HMRC"))
    assert not any(DIRECTORY[code].can_refer for code in ("SMARTWATER", "SAFERCASH"))


def test_welsh_forces_are_in_wales_and_the_rest_in_england() -> None:
    welsh = {force.code for force in DIRECTORY.forces() if force.nation == "WAL"}
    assert welsh == {"DPP", "GWP", "SWP", "NWP"}
    assert {force.code for force in DIRECTORY.forces() if force.nation is None} == {"BTP"}


def test_no_party_has_a_quota_and_only_private_bodies_need_a_release() -> None:
    assert all(party.policy.notices_per_day is None for party in DIRECTORY)
    assert all(party.policy.crime_types is None for party in DIRECTORY)
    assert {party.code for party in DIRECTORY if party.policy.needs_release} == {"SMARTWATER", "SAFERCASH"}


@pytest.mark.parametrize("force", sorted(force.code for force in DIRECTORY.forces()))
def test_every_crime_type_leads_every_force_to_some_agency(force: str) -> None:
    for crime_type in CrimeType:
        assert decide(Facts(force, [crime_type]), MATRIX_FILE.matrix(), DIRECTORY), crime_type


def test_every_agency_is_reached_by_a_rule_or_is_listed_as_named_only() -> None:
    reached = {rule.agency for rule in MATRIX_FILE.matrix().rules}
    assert reached | MATRIX_FILE.named_only == {agency.code for agency in DIRECTORY.agencies()}


def test_the_matrix_mentions_parties_that_exist_only() -> None:
    assert all(code in DIRECTORY for code in MATRIX_FILE.parties())


def test_a_reason_is_a_sentence_that_can_be_shown() -> None:
    for rule in MATRIX_FILE.matrix().rules:
        assert re.fullmatch(r"[A-Za-z][A-Za-z ,'-]+[a-z]|.*[A-Z]{3,}", rule.reason), rule.rule


@pytest.mark.parametrize(
    ("kind", "code", "change", "complaint"),
    [
        ("force", "SWP", {"region": "NOWHERE"}, "SWP: unknown region NOWHERE"),
        ("force", "SWP", {"region": None}, "SWP: a force needs a region"),
        ("force", "SWP", {"nation": "MARS"}, "SWP: unknown nation MARS"),
        ("agency", "EA", {"territory": ["ENGLAND"]}, "EA: unknown territory ENGLAND"),
        ("agency", "EA", {"territory": []}, "EA: an addressee needs a territory"),
        ("agency", "EA", {"channel": "pigeon"}, "parties.agency.EA.channel"),
        ("agency", "EA", {"policy": {"crime_types": ["littering"]}}, "parties.agency.EA.policy.crime_types"),
        ("agency", "EA", {"policy": {"working_days": [0]}}, "parties.agency.EA.policy.working_days"),
        ("agency", "EA", {"policy": {"quota": 3}}, "parties.agency.EA.policy.quota"),
        ("agency", "EA", {"colour": "green"}, "parties.agency.EA.colour"),
        ("agency", "SWP", {"name": "Twice", "territory": ["GB"]}, "listed under two kinds: SWP"),
    ],
)
def test_a_wrong_party_gets_one_line_that_names_it(
    kind: str, code: str, change: dict[str, Any], complaint: str
) -> None:
    document = parties_document()
    document["parties"][kind][code] = {**document["parties"][kind].get(code, {}), **change}
    with pytest.raises(ReferenceDataError) as raised:
        parties.parse(document)
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("part", "value", "complaint"),
    [
        ("rules", {"x": {"crime_type": "littering", "agency": "EA", "reason": "r"}}, "rules.x.crime_type"),
        ("rules", {"named": {"crime_type": "fraud", "agency": "EA", "reason": "r"}}, "cannot be called 'named'"),
        ("rules", {"x": {"crime_type": "fraud", "agency": "SAFERCASH", "reason": "r"}}, "SAFERCASH"),
        ("rules", {"X!": {"crime_type": "fraud", "agency": "EA", "reason": "r"}}, "rules.X!"),
        (
            "gateways",
            [{"sender": "*", "recipient": "*", "legal_basis": "data_protection_act_2018_sch2_para2"}],
            "is no gateway",
        ),
        ("gateways", [{"sender": "*", "recipient": "*", "legal_basis": "handshake"}], "gateways.0.legal_basis"),
        ("version", 0, "version"),
    ],
)
def test_a_wrong_matrix_gets_one_line_that_names_the_fault(part: str, value: Any, complaint: str) -> None:
    with pytest.raises(ReferenceDataError) as raised:
        routing.parse({**matrix_document(), part: value})
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_toml_is_said_so(tmp_path: Any) -> None:
    path = tmp_path / "parties.toml"
    path.write_text("version = ", encoding="utf-8")
    with pytest.raises(ReferenceDataError, match=r"parties\.toml is not TOML"):
        read_release(path)


def test_a_comment_does_not_make_another_release_and_a_changed_name_does(tmp_path: Any) -> None:
    text = parties.FILE.read_text(encoding="utf-8")
    (tmp_path / "same.toml").write_text("# a note\n" + text, encoding="utf-8")
    (tmp_path / "other.toml").write_text(text.replace("Gwent Police", "Heddlu Gwent"), encoding="utf-8")
    digest = parties.load().digest
    assert read_release(tmp_path / "same.toml")["digest"] == digest
    assert read_release(tmp_path / "other.toml")["digest"] != digest


@given(st.dictionaries(st.text(), st.integers() | st.lists(st.text()), max_size=6))
def test_the_digest_does_not_depend_on_the_order_of_a_file(document: dict[str, Any]) -> None:
    assert digest_of(dict(reversed(document.items()))) == digest_of(document)


policies = st.builds(
    Policy,
    crime_types=st.none() | st.frozensets(st.sampled_from(CrimeType)),
    notices_per_day=st.none() | st.integers(1, 1000),
    working_days=st.frozensets(st.integers(1, 7), min_size=1),
    needs_release=st.booleans(),
)


@given(policies)
def test_a_policy_comes_back_from_its_document_unchanged(policy: Policy) -> None:
    document = policy.model_dump(mode="json")
    assert Policy.model_validate(document) == policy
    assert document["working_days"] == sorted(document["working_days"])
