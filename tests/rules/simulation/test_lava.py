"""Operation Lava: fourteen referrals to 22 bodies, each of which answers or visibly declines."""

from collections import Counter
from typing import Any

import pytest

from app.referrals.documents import SubmittedReferral, SubmittedResponse
from workers.simulation.bodies import Body
from workers.simulation.groups import ROLES
from workers.simulation.roster import SIMULATED
from workers.simulation.scenario import lava_referrals

SEED = 20151112


@pytest.fixture(scope="module")
def referrals() -> list[dict[str, Any]]:
    return lava_referrals(SEED)


@pytest.fixture(scope="module")
def answers(bodies: dict[str, Body], referrals: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (role, code): body.answer(f"{role}-{code}", referral)
        for role, referral in zip(ROLES, referrals, strict=True)
        for code, body in bodies.items()
    }


def test_the_fourteen_referrals_are_acceptable_and_name_all_22(referrals: list[dict[str, Any]]) -> None:
    assert len(referrals) == 14
    for referral in referrals:
        assert SubmittedReferral.model_validate(referral).addressees == sorted(SIMULATED)
    assert Counter(referral["priority"] for referral in referrals) == {"routine": 13, "urgent": 1}
    assert len({referral["client_reference"] for referral in referrals}) == 14


def test_all_22_answer_or_visibly_decline_each_of_them(answers: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert len(answers) == 14 * 22
    for answer in answers.values():
        SubmittedResponse.model_validate(answer)
        assert answer["outcome"] in {"hit", "no_hit", "declined"}
        assert answer["summary"]


def test_the_product_has_something_on_every_subject_and_from_most_bodies(
    answers: dict[tuple[str, str], dict[str, Any]],
) -> None:
    hits = [where for where, answer in answers.items() if answer["outcome"] == "hit"]
    assert {role for role, _ in hits} == set(ROLES)
    assert len({code for _, code in hits}) >= 18
    assert {fact["kind"] for where in hits for fact in answers[where]["facts"]} >= {
        "vehicle",
        "company",
        "address",
        "benefit",
        "tax",
        "custody",
        "licence",
        "travel",
        "association",
        "finance",
    }


@pytest.mark.parametrize(
    ("role", "code", "said"),
    [
        ("waste_carrier", "NRW", "Soil, foil ducting and plant roots tipped"),
        ("landlord", "FRS-SWALES", "overloaded wiring"),
        ("lieutenant", "DWP", "as without work while director of"),
        ("haulier", "DVSA", "load of compost and lamps"),
        ("shopkeeper", "NTS", "counterfeit tobacco"),
        ("gardener", "GLAA", "Possible victim"),
        ("courier", "BF", "Six returns by Dover"),
        ("nominee", "CH", "Signature on the filings"),
    ],
)
def test_what_a_body_knows_of_the_group_is_found_through_its_own_noise(
    answers: dict[tuple[str, str], dict[str, Any]], role: str, code: str, said: str
) -> None:
    assert any(said in fact["text"] for fact in answers[role, code]["facts"])


def test_a_victim_of_unknown_birth_date_is_searched_where_that_suffices(
    answers: dict[tuple[str, str], dict[str, Any]],
) -> None:
    assert answers["gardener", "DWP"]["decline_reason"] == "insufficient_detail"
    assert answers["gardener", "DVLA"]["outcome"] == "hit"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_another_seed_makes_another_operation_as_acceptable(seed: int) -> None:
    for referral in lava_referrals(seed):
        SubmittedReferral.model_validate(referral)
