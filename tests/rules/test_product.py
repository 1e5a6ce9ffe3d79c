"""The consolidated product: nothing said is missing, every body is accounted for, what needs consent is marked."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from app.intake.product_views import ProductView
from app.reporting.product import consolidate
from tests.conftest import referral as submitted

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SENT = NOW - timedelta(days=3)
HIT: dict[str, Any] = {
    "outcome": "hit",
    "summary": "Match.",
    "facts": [{"kind": "vehicle", "text": "CX14 ABC, a grey van."}, {"kind": "person", "text": "Recorded as R Quill."}],
    "grading": {"source": 1, "assessment": "B"},
    "handling": {"code": "P", "conditions": []},
    "onward_disclosure": "permitted",
    "legal_basis": "atcsa_2001_s19",
}
UNDER_CONSENT: dict[str, Any] = {
    **HIT,
    "facts": [
        {"kind": "vehicle", "text": "A second van.", "grading": {"source": 1, "assessment": "A"}},
        {"kind": "tax", "text": "No return filed.", "handling": {"code": "C", "conditions": ["A1", "S2"]}},
    ],
    "onward_disclosure": "consent_required",
}
NO_HIT: dict[str, Any] = {"outcome": "no_hit", "summary": "No record."}
DECLINED: dict[str, Any] = {"outcome": "declined", "decline_reason": "outside_remit", "summary": "Not ours."}
QUESTION: dict[str, Any] = {"outcome": "more_information", "summary": "Which of the two?"}
STATES = {"hit": "answered", "no_hit": "answered", "declined": "declined", "more_information": "query"}


class Case:
    """One referral and what the bodies said, as the queries give them."""

    def __init__(self) -> None:
        self.dispatches: list[dict[str, Any]] = []
        self.responses: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []

    def asks(self, agency: str, state: str = "queued", round_: int = 1, due: timedelta = timedelta(days=7)) -> UUID:
        id_ = UUID(int=len(self.dispatches) + 1)
        self.dispatches.append(
            {
                "id": id_,
                "agency": agency,
                "round": round_,
                "state": state,
                "outcome": None,
                "due_at": SENT + due,
                "delivered_at": SENT,
                "acknowledged_at": None,
            }
        )
        return id_

    def hears(self, agency: str, said: dict[str, Any], round_: int = 1) -> None:
        id_ = self.asks(agency, STATES[said["outcome"]], round_)
        if said is not QUESTION:
            self.dispatches[-1]["outcome"] = said["outcome"]
        number = len(self.responses) + 1
        self.responses.append(
            {"id": UUID(int=900 + number), "dispatch_id": id_, "agency": agency, "recorded_at": SENT, **said}
        )

    def product(self) -> dict[str, Any]:
        referral = {
            "id": UUID(int=500),
            "reference": "GAIN-2026-000001",
            "originator": "SWP",
            "state": "in_progress",
            "created_at": SENT,
            "respond_by": SENT + timedelta(days=14),
            **submitted(),
            "dispatches": self.dispatches,
        }
        made = consolidate(referral, self.responses, NOW, asked=self.asked)
        shown = orjson.loads(orjson.dumps(made, default=str))
        ProductView.model_validate(shown, extra="forbid")
        return made


def test_every_body_is_accounted_for_once() -> None:
    case = Case()
    for agency, said in {"HMRC": UNDER_CONSENT, "DVLA": HIT, "CH": NO_HIT, "NFCU": DECLINED, "IE": QUESTION}.items():
        case.hears(agency, said)
    for agency, state in {"NCA": "queued", "SIA": "held", "BF": "expired", "FCA": "undeliverable"}.items():
        case.asks(agency, state)
    totals = case.product()["totals"]
    assert totals == {
        "asked": 9,
        "answered": 3,
        "hits": 2,
        "no_hits": 1,
        "declined": 1,
        "decline_reasons": {"outside_remit": 1},
        "undeliverable": 1,
        "expired": 1,
        "cancelled": 0,
        "outstanding": 3,
        "facts": 4,
    }


def test_what_is_known_is_grouped_by_kind_with_the_best_graded_first() -> None:
    case = Case()
    case.hears("DVLA", HIT)
    case.hears("HMRC", UNDER_CONSENT)
    findings = case.product()["findings"]
    assert [(group["kind"], group["agencies"]) for group in findings] == [
        ("person", ["DVLA"]),
        ("vehicle", ["DVLA", "HMRC"]),
        ("tax", ["HMRC"]),
    ]
    assert [fact["text"] for fact in findings[1]["facts"]] == ["A second van.", "CX14 ABC, a grey van."]


def test_a_fact_keeps_its_own_grading_and_handling_and_else_takes_those_of_its_answer() -> None:
    case = Case()
    case.hears("HMRC", UNDER_CONSENT)
    facts = {fact["text"]: fact for group in case.product()["findings"] for fact in group["facts"]}
    assert facts["A second van."]["grading"] == {"source": 1, "assessment": "A"}
    assert facts["A second van."]["handling"] == {"code": "P", "conditions": []}
    assert facts["No return filed."]["grading"] == {"source": 1, "assessment": "B"}
    assert facts["No return filed."]["handling"] == {"code": "C", "conditions": ["A1", "S2"]}


def test_the_product_as_a_whole_carries_every_condition_of_what_is_in_it() -> None:
    case = Case()
    case.hears("DVLA", HIT)
    assert case.product()["handling"] == {"code": "P", "conditions": []}
    case.hears("HMRC", UNDER_CONSENT)
    assert case.product()["handling"] == {"code": "C", "conditions": ["A1", "S2"]}


def test_what_needs_consent_is_marked_on_the_product_and_on_every_fact() -> None:
    case = Case()
    case.hears("DVLA", HIT)
    case.hears("HMRC", UNDER_CONSENT)
    made = case.product()
    assert made["consent_required_from"] == ["HMRC"]
    marked = {fact["agency"]: fact["onward_disclosure"] for group in made["findings"] for fact in group["facts"]}
    assert marked == {"DVLA": "permitted", "HMRC": "consent_required"}


def test_the_consents_given_stand_beside_what_is_needed_and_no_other_that_was_asked_for() -> None:
    case = Case()
    case.hears("HMRC", UNDER_CONSENT)
    asked = {"agency": "HMRC", "round": 1, "recipient": "GMP", "recipient_outside": None, "settled_at": SENT}
    for state in ("asked", "given", "refused", "withdrawn"):
        case.asked.append({**asked, "state": state, "conditions": f"{state}, and no more."})
    made = case.product()
    assert made["consent_required_from"] == ["HMRC"]
    [given] = made["consents_given"]
    assert (given["recipient"], given["conditions"], given["given_at"]) == ("GMP", "given, and no more.", SENT)


def test_a_hit_that_says_all_in_its_summary_is_not_lost() -> None:
    case = Case()
    case.hears("DVLA", {**HIT, "facts": [], "summary": "Keeper of a van."})
    [group] = case.product()["findings"]
    assert (group["kind"], group["facts"][0]["text"]) == ("other", "Keeper of a van.")


def test_who_declined_says_why() -> None:
    case = Case()
    case.hears("NFCU", DECLINED)
    [declined] = case.product()["declined"]
    assert (declined["agency"], declined["reason"], declined["summary"]) == ("NFCU", "outside_remit", "Not ours.")


def test_who_is_outstanding_is_told_by_when_it_is_due_with_its_question() -> None:
    case = Case()
    case.asks("NCA", due=timedelta(days=7))
    case.asks("BF", "delivered", due=timedelta(days=1))
    case.hears("IE", QUESTION)
    outstanding = case.product()["outstanding"]
    told = [(one["agency"], one["overdue"], one["question"]) for one in outstanding]
    assert told == [("BF", True, None), ("IE", False, "Which of the two?"), ("NCA", False, None)]


def test_a_body_asked_again_counts_once_and_what_it_said_before_stays() -> None:
    case = Case()
    case.hears("DVLA", HIT)
    case.asks("DVLA", round_=2)
    made = case.product()
    assert (made["totals"]["asked"], made["totals"]["outstanding"], made["totals"]["hits"]) == (1, 1, 0)
    assert {fact["round"] for group in made["findings"] for fact in group["facts"]} == {1}


def test_an_answer_that_comes_between_the_two_reads_waits_for_the_next_product() -> None:
    case = Case()
    case.hears("DVLA", HIT)
    case.dispatches[0] |= {"state": "delivered", "outcome": None}
    case.responses.append({**case.responses[0], "id": UUID(int=999), "dispatch_id": UUID(int=998)})
    made = case.product()
    assert (made["findings"], made["totals"]["outstanding"]) == ([], 1)
