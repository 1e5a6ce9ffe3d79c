"""The characters: every answer fits the contract, the same question gets the same answer, nothing breaks them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.referrals.documents import SubmittedReferral, SubmittedResponse
from workers.simulation.bodies import Body
from workers.simulation.characters import CHARACTERS, Character
from workers.simulation.groups import population
from workers.simulation.registers import build
from workers.simulation.scenario import random_referrals
from workers.simulation.timing import LONGEST, answers_after, real_seconds_left

MONDAY_MORNING = datetime(2026, 11, 23, 10, tzinfo=UTC)
FRIDAY_EVENING = datetime(2026, 11, 27, 16, 50, tzinfo=UTC)


@pytest.fixture(scope="module")
def referrals(bodies: dict[str, Body]) -> list[dict[str, Any]]:
    return random_referrals(20151112, 150)


def test_referrals_for_load_are_acceptable_and_of_every_kind(referrals: list[dict[str, Any]]) -> None:
    kinds = {SubmittedReferral.model_validate(referral).subject.kind for referral in referrals}
    assert kinds == {"person", "organisation", "premises", "vehicle"}


def test_every_answer_of_every_body_fits_the_contract(bodies: dict[str, Body], referrals: list[dict[str, Any]]) -> None:
    outcomes = {
        (code, SubmittedResponse.model_validate(body.answer(f"{code}-{number}", referral)).outcome.value)
        for number, referral in enumerate(referrals)
        for code, body in bodies.items()
    }
    assert {(code, "no_hit") for code in bodies} <= outcomes
    assert len({code for code, outcome in outcomes if outcome == "hit"}) >= 18
    assert {code for code, outcome in outcomes if outcome == "declined"} >= {"NFCU", "FCA", "GLAA", "FRS-SWALES"}


def test_the_widest_register_hits_most_and_the_narrowest_hardly_ever(
    bodies: dict[str, Body], referrals: list[dict[str, Any]]
) -> None:
    def hits(code: str) -> int:
        return sum(bodies[code].answer(str(n), asked)["outcome"] == "hit" for n, asked in enumerate(referrals))

    assert hits("DVLA") > hits("HMRC") > hits("DWP") > hits("NFCU")


def test_asking_again_after_a_kill_gives_the_same_answer_at_the_same_time(
    bodies: dict[str, Body], referrals: list[dict[str, Any]]
) -> None:
    reborn = Body("HMRC", build(population(20151112), "HMRC"), 20151112)
    for number, referral in enumerate(referrals):
        when = (str(number), "GAIN-2026-000007", "routine", MONDAY_MORNING)
        assert reborn.answer(str(number), referral) == bodies["HMRC"].answer(str(number), referral)
        assert reborn.answers_after(*when) == bodies["HMRC"].answers_after(*when)


@pytest.mark.parametrize(
    ("code", "change", "reason"),
    [
        ("NFCU", {"crime_types": ["firearms"]}, "outside_remit"),
        ("FCA", {"crime_types": ["waste_crime"]}, "no_lawful_gateway"),
        ("FRS-SWALES", {"ocg": None}, "policy"),
        ("DWP", {"subject": {"kind": "person", "family_name": "Smith", "given_names": "Ann"}}, "insufficient_detail"),
    ],
)
def test_a_body_declines_what_its_character_does_not_take(
    bodies: dict[str, Body], code: str, change: dict[str, Any], reason: str
) -> None:
    referral = {"subject": {"kind": "person", "family_name": "Smith", "date_of_birth": "1980-01-01"}, "ocg": {}}
    answer = bodies[code].answer("d", {**referral, "crime_types": ["fraud", "modern_slavery"], **change})
    assert (answer["outcome"], answer["decline_reason"]) == ("declined", reason)


def test_now_and_then_a_body_works_on_it_itself_or_has_no_capacity(
    bodies: dict[str, Body], referrals: list[dict[str, Any]]
) -> None:
    reasons = {
        body.answer(str(number), referrals[0])["decline_reason"]
        for body in (bodies["NCA"], bodies["HMRC"], bodies["IE"])
        for number in range(300)
        if body.answer(str(number), referrals[0])["outcome"] == "declined"
    }
    assert {"conflict_with_own_operation", "capacity"} <= reasons


def test_only_a_first_hand_over_fails(bodies: dict[str, Body]) -> None:
    body = bodies["LA-MTYDFIL"]
    first = [body.failing(str(number), 1) for number in range(2_000)]
    assert 80 < first.count("outage") < 170
    assert first.count("malformed") > 5
    assert {body.failing(str(number), 2) for number in range(2_000)} == {None}


def test_a_malformed_reply_is_never_an_answer(bodies: dict[str, Body]) -> None:
    replies = [bodies["HSE"].malformed(str(number)) for number in range(50)]
    assert any(isinstance(reply, list) for reply in replies)
    for reply in replies:
        with pytest.raises(ValidationError):
            SubmittedResponse.model_validate(reply)


@pytest.mark.parametrize("start", [MONDAY_MORNING, FRIDAY_EVENING])
@pytest.mark.parametrize("character", CHARACTERS.values(), ids=CHARACTERS)
def test_at_the_default_speed_every_answer_comes_within_half_a_minute(character: Character, start: datetime) -> None:
    for number in range(300):
        life = answers_after(character, 1, str(number), f"GAIN-2026-{number % 14:06d}", "routine", start)
        assert timedelta(0) < life <= LONGEST
        assert real_seconds_left(life, start, start, 20_000) < 30


def _median(code: str, priority: str, start: datetime = MONDAY_MORNING) -> timedelta:
    times = [answers_after(CHARACTERS[code], 1, str(n), "GAIN-2026-000001", priority, start) for n in range(401)]
    return sorted(times)[200]


def test_hmrc_takes_days_and_dvla_minutes() -> None:
    assert timedelta(days=2) < _median("HMRC", "routine") < timedelta(days=5)
    assert _median("DVLA", "routine") < timedelta(minutes=10)


def test_an_urgent_referral_is_answered_in_hours_at_any_time() -> None:
    assert _median("HMRC", "urgent", FRIDAY_EVENING) < timedelta(hours=4)
    assert _median("HMRC", "priority") < _median("HMRC", "routine")


def test_nobody_answers_by_night_or_on_a_weekend_where_the_desk_is_closed() -> None:
    answered = [
        FRIDAY_EVENING + answers_after(CHARACTERS["SIA"], 1, str(n), "GAIN-2026-000001", "routine", FRIDAY_EVENING)
        for n in range(200)
    ]
    assert all(moment.weekday() < 5 and 9 <= moment.hour <= 17 for moment in answered)


def test_what_exceeds_the_quota_waits_for_another_day() -> None:
    character = CHARACTERS["LA-MTYDFIL"]
    first, later = (
        answers_after(character, 1, "d", f"GAIN-2026-{number:06d}", "routine", MONDAY_MORNING) for number in (1, 30)
    )
    assert later - first >= timedelta(hours=16)


def test_speed_divides_life_time_and_zero_is_instant() -> None:
    day, later = timedelta(days=1), MONDAY_MORNING + timedelta(seconds=4)
    assert real_seconds_left(day, MONDAY_MORNING, MONDAY_MORNING, 1) == 86_400
    assert real_seconds_left(day, MONDAY_MORNING, later, 8_640) == 6
    assert real_seconds_left(day, MONDAY_MORNING, MONDAY_MORNING, 0) == 0


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60) | st.just("A" * 10_000),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_texts = st.text(max_size=200) | st.just("\ud800" * 200) | st.sampled_from(["Smith", "O'Neill", "é" * 200, " "])
_identifier = st.fixed_dictionaries({"type": _texts, "value": _texts}) | _anything
_subjects = _anything | st.fixed_dictionaries(
    {"kind": st.sampled_from(["person", "organisation", "premises", "vehicle"])},
    optional={
        "family_name": _texts | _anything,
        "given_names": _texts | _anything,
        "name": _texts,
        "date_of_birth": st.dates().map(str) | _texts | st.sampled_from(["0001-01-01", "9999-12-31", "2000-02-29"]),
        "aliases": st.lists(st.fixed_dictionaries({"family_name": _texts}), max_size=60) | _anything,
        "addresses": st.lists(st.fixed_dictionaries({"lines": st.lists(_texts), "postcode": _texts})) | _anything,
        "identifiers": st.lists(_identifier, max_size=60) | _anything,
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(subject=_subjects, crimes=_anything, ocg=_anything)
def test_no_subject_however_hostile_breaks_a_body(bodies: dict[str, Body], subject: Any, crimes: Any, ocg: Any) -> None:
    for code in ("DVLA", "CH", "DWP", "FRS-SWALES", "NCA"):
        answer = bodies[code].answer("d", {"subject": subject, "crime_types": crimes, "ocg": ocg})
        SubmittedResponse.model_validate(answer)
