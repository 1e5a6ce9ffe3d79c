"""The demonstration counts what happened, leaves nothing out, and ends in time whenever it is played."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from workers.simulation.bodies import Body
from workers.simulation.demonstration import SPEED
from workers.simulation.demonstration.comparison import Played, comparison
from workers.simulation.demonstration.picture import draw
from workers.simulation.demonstration.report import full, short
from workers.simulation.demonstration.screen import Snapshot, line, table
from workers.simulation.demonstration.standing import all_final, missing, standings
from workers.simulation.roster import SIMULATED
from workers.simulation.scenario import lava_referrals

SEED = 20151112
SENT = datetime(2026, 11, 16, 9, tzinfo=UTC)
AGENCIES = ["CH", "DVLA", "HMRC"]
RETRY_SECONDS = 5


def dispatch(agency: str, state: str, outcome: str | None = None, after: float | None = None) -> dict[str, Any]:
    answered = None if after is None else (SENT + timedelta(seconds=after)).isoformat()
    delivered = None if state == "queued" else (SENT + timedelta(seconds=1)).isoformat()
    return {"agency": agency, "state": state, "outcome": outcome, "answered_at": answered, "delivered_at": delivered}


def referral(*dispatches: dict[str, Any]) -> dict[str, Any]:
    return {"created_at": SENT.isoformat(), "dispatches": list(dispatches)}


ANSWERED = referral(
    dispatch("CH", "answered", "hit", 2),
    dispatch("DVLA", "answered", "no_hit", 4),
    dispatch("HMRC", "declined", "declined", 8),
)
UNDER_WAY = referral(dispatch("CH", "answered", "hit", 6), dispatch("DVLA", "queued"), dispatch("HMRC", "acknowledged"))


def snapshot(*referrals: dict[str, Any]) -> Snapshot:
    queues = {"DVLA": {"name": "Driver and Vehicle Licensing Agency", "last_seen_at": SENT.isoformat()}}
    at = SENT + timedelta(seconds=10)
    return Snapshot(standings(referrals, AGENCIES), queues, 3 * len(referrals), 10.0, at)


def drawn(what: RenderableType, width: int = 80) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def test_each_body_stands_as_its_dispatches_do() -> None:
    companies_house, dvla, _ = standings([ANSWERED, UNDER_WAY], AGENCIES)
    assert (companies_house.words, companies_house.median, companies_house.settled) == ({"hit": 2}, 4.0, 2)
    assert companies_house.last_at == SENT + timedelta(seconds=6)
    assert (dvla.words, dvla.settled, dvla.last_word) == ({"no_hit": 1, "queued": 1}, 1, "no_hit")


def test_a_body_that_nothing_was_dispatched_to_is_seen_and_missed() -> None:
    assert [one.agency for one in standings([], AGENCIES)] == AGENCIES
    told = missing([referral(dispatch("CH", "answered", "hit", 2))], AGENCIES, 1)
    assert told == [f"{agency} answered or declined 0 of 1 (nothing dispatched)" for agency in ("DVLA", "HMRC")]


def test_it_succeeds_only_when_every_body_answered_or_declined_everything() -> None:
    assert missing([ANSWERED], AGENCIES, 1) == []
    undeliverable = referral(*ANSWERED["dispatches"][:2], dispatch("HMRC", "undeliverable"))
    assert missing([undeliverable], AGENCIES, 1) == ["HMRC answered or declined 0 of 1 (1 undeliverable)"]
    assert missing([ANSWERED, UNDER_WAY], AGENCIES, 2) == [
        "DVLA answered or declined 1 of 2 (1 queued)",
        "HMRC answered or declined 1 of 2 (1 acknowledged)",
    ]


@pytest.mark.parametrize(
    ("referrals", "final"), [([ANSWERED], True), ([ANSWERED, UNDER_WAY], False), ([ANSWERED, referral()], False)]
)
def test_it_waits_until_every_dispatch_is_made_and_final(referrals: list[dict[str, Any]], final: bool) -> None:
    assert all_final(referrals) is final


@pytest.mark.parametrize("width", [80, 116])
def test_no_code_and_no_number_is_cut_off_at_the_width_of_a_terminal(width: int) -> None:
    lots = [ANSWERED] * 14
    names = {agency: {"name": "A long name " * 9} for agency in SIMULATED}
    shown = Snapshot(standings(lots, SIMULATED), names, 308, 12.3, SENT + timedelta(seconds=99))
    lines = drawn(table(shown, width), width).splitlines()
    heading, body = lines[0], next(line for line in lines if line.startswith("HMRC"))
    assert heading.split() == "Body Queued Seen Ackn. Hit No hit Decl. Undel. Median Last word".split()
    assert body.split()[-5:] == ["s", "declined", "91", "s", "ago"]
    assert all(any(line.startswith(f"{agency} ") for line in lines) for agency in SIMULATED)


def test_a_small_terminal_shows_who_still_has_most_to_do() -> None:
    told = drawn(table(snapshot(ANSWERED, UNDER_WAY), 80, rows=3))
    assert "CH" in told
    assert "… and" not in told
    told = drawn(table(snapshot(ANSWERED, UNDER_WAY), 80, rows=2))
    assert "DVLA" in told
    assert "… and 2 more" in told


def test_a_line_for_a_pipe_tells_how_far_it_is() -> None:
    told = line(snapshot(ANSWERED, UNDER_WAY))
    assert told == (
        " 10.0 s  4 of 6 answers in, 1 of 3 bodies done: queued 1 · acknowledged 1 · hit 2 · no hit 1 · declined 1"
    )


PRODUCT: dict[str, Any] = {
    "reference": "GAIN-2026-000001",
    "marking": "OFFICIAL-SENSITIVE",
    "handling": {"code": "C", "conditions": ["A1", "S2"]},
    "originator": "SWP",
    "created_at": SENT.isoformat(),
    "priority": "routine",
    "warnings": ["violent"],
    "subject": {"kind": "person", "family_name": "Quill", "given_names": "Rhys", "date_of_birth": "1984-03-07"},
    "ocg": {"reference": "SWP-0142"},
    "why": {
        "criterion": "mapped_ocg",
        "crime_types": ["fraud"],
        "purpose": "Before a day of action.",
        "information_sought": None,
        "legal_basis": "common_law_policing_purpose",
    },
    "totals": {
        "asked": 5,
        "answered": 3,
        "hits": 2,
        "no_hits": 1,
        "declined": 1,
        "decline_reasons": {"outside_remit": 1},
        "undeliverable": 0,
        "expired": 0,
        "cancelled": 0,
        "outstanding": 1,
        "facts": 3,
    },
    "consent_required_from": ["HMRC"],
    "findings": [
        {
            "kind": "vehicle",
            "facts": [
                {"agency": agency, "text": text, "grading": grading, "handling": handling, "onward_disclosure": onward}
                for agency, text, grading, handling, onward in (
                    (
                        "DVLA",
                        "A grey van.",
                        {"source": 1, "assessment": "A"},
                        {"code": "P", "conditions": []},
                        "permitted",
                    ),
                    ("DVSA", "A red car.", {"source": 1, "assessment": "B"}, {"code": "P", "conditions": []}, None),
                    (
                        "HMRC",
                        "A grey van.",
                        {"source": 2, "assessment": "C"},
                        {"code": "C", "conditions": ["A1", "S2"]},
                        "consent_required",
                    ),
                )
            ],
        }
    ],
    "answers": [
        {"agency": "DVLA", "outcome": "hit", "answered_at": SENT.isoformat(), "legal_basis": None, "summary": "Match."},
        {"agency": "CH", "outcome": "no_hit", "answered_at": SENT.isoformat(), "legal_basis": None, "summary": None},
    ],
    "declined": [{"agency": "NFCU", "reason": "outside_remit", "summary": "Not ours."}],
    "outstanding": [
        {"agency": "NCA", "state": "query", "due_at": SENT.isoformat(), "overdue": False, "question": "Which one?"}
    ],
    "unanswered": [{"agency": "SIA", "state": "expired"}],
}


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_printed_product_leaves_nothing_out(width: int) -> None:
    told = " ".join(drawn(full(PRODUCT), width).replace("│", " ").split())
    for words in (
        "Quill, Rhys",
        "OFFICIAL-SENSITIVE",
        "handling C (A1, S2)",
        "violent",
        "5 asked · 3 answered: 2 hit, 1 no hit · 1 declined (outside remit 1) · 1 outstanding · 3 facts",
        "Ask before passing on what comes from: HMRC",
        "A grey van. DVLA 1A P · HMRC 2C C (A1, S2) ⚑ A red car. DVSA 1B P",
        "Match.",
        "CH 09:00:00",
        "NFCU: outside remit. Not ours.",
        "NCA: query, due 16 November 2026 09:00 UTC. Which one?",
        "SIA: expired",
    ):
        assert words in told


def test_an_associate_is_told_in_short() -> None:
    told = drawn(short([PRODUCT]))
    assert "Quill, Rhys · GAIN-2026-000001 · 2 hit, 1 no hit, 1 declined" in told
    assert "3 facts: vehicle 3 · ⚑ HMRC" in told


def test_the_comparison_says_what_was_counted_and_measured() -> None:
    events = [{"event": "referral.accepted", "party": "SWP"}, {"event": "dispatch.released", "party": "TARIAN"}]
    told = drawn(comparison(Played([ANSWERED], [PRODUCT], events, [0.02], "TARIAN", 25_000, 8.04)), 120)
    rows = {row[0]: row[1:] for row in (re.split(r" {2,}", line) for line in told.splitlines())}
    assert rows["Requests to write and send"][0] == "3 = 1 × 3"
    assert rows["Replies to match with their request"][0] == "3"
    assert rows["Facts to mark ‘consent first’"][0] == "1"
    assert rows["Messages through the co-ordinator’s hands"][:2] == ["6", "1"]
    assert rows["From submission to a body’s answer"][:2] == ["4.0 s", "8.0 s"]
    assert "25,000 times faster than life" in told


def test_the_picture_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "images" / "demonstration.svg"
    draw(file, snapshot(ANSWERED), comparison(Played([ANSWERED], [PRODUCT], [], [0.02], "TARIAN", 25_000, 8.04)))
    drawn_ = file.read_text(encoding="utf-8")
    assert "url(" not in drawn_.replace("url(#", "")
    assert drawn_.count("http") == drawn_.count("http://www.w3.org/2000/svg") + drawn_.count(
        "https://www.textualize.io"
    )


def test_whenever_it_is_played_the_last_answer_comes_within_half_a_minute(bodies: dict[str, Body]) -> None:
    """Office hours, weekends and places in the queue differ by the hour of the week; one outage is met by a retry."""
    asked = [(f"GAIN-2026-{number:06d}", one["priority"]) for number, one in enumerate(lava_referrals(SEED), start=1)]
    slowest = max(
        body.answers_after(f"{reference}-{code}", reference, priority, SENT + timedelta(hours=hours))
        for hours in range(0, 7 * 24, 4)
        for reference, priority in asked
        for code, body in bodies.items()
    )
    assert slowest.total_seconds() / SPEED + RETRY_SECONDS < 30
