"""Answers from an agency's web inbox, through HTTP with the database: drafts, checks, refusals."""

from collections.abc import Sequence
from typing import Any

import pytest

from app.db import Database
from tests.acts import QUESTION, rows
from tests.app.web_inbox import faults, hit, listed, opened, sent, written
from tests.browser import signed_in
from tests.conftest import HIT, Cast, Workers


async def test_a_hit_is_written_checked_and_sent_as_the_api_would_take_it(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, browser, id = await opened(cast, workers, database)
    form = hit(
        **{
            "fact-0-source": "2",
            "fact-0-assessment": "C",
            "fact-0-code": "C",
            "fact-0-conditions": ["A1", "S2"],
            "fact-1-kind": "employment",
            "fact-1-text": "Line one.\r\nLine two.",
            "onward_disclosure": "consent_required",
            "legal_basis": "atcsa_2001_s19",
            "contact": "The desk",
        }
    )
    page = await written(browser, id, form)
    for word in ("Keeper of a van", "CX14 ABC, a grey van.", "S2 – consult the originator", "Line two.", "The desk"):
        assert word in page.text, word
    assert await rows(database, "SELECT 1 FROM response") == []
    [draft] = await rows(database, "SELECT content FROM answer_draft")
    assert b"grey van" not in draft["content"]  # sealed

    answer = await sent(browser, id, form)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/my-inbox/{id}?sent=1")
    [referral] = (await force.get("/v1/referrals")).json()["items"]
    [told] = (await force.get(f"/v1/referrals/{referral['id']}/responses")).json()["items"]
    assert told["facts"] == [
        {
            "kind": "vehicle",
            "text": "CX14 ABC, a grey van.",
            "grading": {"source": 2, "assessment": "C"},
            "handling": {"code": "C", "conditions": ["A1", "S2"]},
        },
        {"kind": "employment", "text": "Line one.\nLine two."},
    ]
    assert told["onward_disclosure"] == "consent_required"
    assert referral["state"] == "completed"
    assert await rows(database, "SELECT 1 FROM answer_draft") == []
    done = (await browser.get(answer.headers["location"])).text
    assert "It was sent to the originator." in done
    assert "The first answer stands" in done
    assert "CX14 ABC, a grey van." in done
    assert await listed(browser) == []
    assert len(await listed(browser, show="answered")) == 1


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        ({"outcome": "hit"}, ["summary", "source", "assessment", "code"]),
        (hit(code="C"), ["conditions"]),
        (hit(conditions=["A1"]), ["conditions"]),
        (hit(source="4"), ["source"]),
        (hit(summary="", **{"fact-0-text": "  ", "fact-0-kind": ""}), ["fact-0-kind", "fact-0-text"]),
        (hit(**{"fact-0-code": "C"}), ["fact-0-conditions"]),
        (hit(**{"fact-0-assessment": "A"}), ["fact-0-source"]),
        (hit(contact="x" * 201), ["contact"]),
        (hit(legal_basis="a_memorandum"), ["legal_basis"]),
        ({"outcome": "declined"}, ["decline_reason"]),
        ({"outcome": "declined", "decline_reason": "because"}, ["decline_reason"]),
        ({"outcome": "more_information", "summary": " "}, ["summary"]),
        ({"outcome": "no_hit", "summary": "x" * 10_001}, ["summary"]),
    ],
)
async def test_what_the_rules_refuse_is_said_beside_its_field(
    cast: Cast, workers: Workers, database: Database, form: dict[str, Any], fields: Sequence[str]
) -> None:
    _, browser, id = await opened(cast, workers, database)
    page = await browser.post(f"/my-inbox/{id}/answer", data=form)
    assert list(faults(page)) == list(fields)
    assert "Error: " in page.text
    assert await rows(database, "SELECT 1 FROM answer_draft") == []
    if form.get("summary", "").strip():
        assert form["summary"] in page.text  # nothing has to be written twice


async def test_facts_are_added_and_removed_without_scripts_and_a_draft_is_kept(
    cast: Cast, workers: Workers, database: Database
) -> None:
    _, browser, id = await opened(cast, workers, database)
    added = await browser.post(f"/my-inbox/{id}/answer", data=hit(do="add"))
    assert added.headers["location"] == f"/my-inbox/{id}/answer?outcome=hit#fact-1"
    page = (await browser.get(added.headers["location"])).text
    assert "CX14 ABC, a grey van." in page
    assert 'name="fact-1-text"' in page
    removed = await browser.post(f"/my-inbox/{id}/answer", data=hit(do="remove-0"))
    page = (await browser.get(removed.headers["location"])).text
    assert 'name="fact-0-text"' not in page
    later = await browser.post(f"/my-inbox/{id}/answer", data={"outcome": "hit", "summary": "Unfinished", "do": "save"})
    assert later.headers["location"] == f"/my-inbox/{id}"
    colleague = await signed_in(cast, "HMRC")
    assert "Go on with your answer" in (await colleague.get(f"/my-inbox/{id}")).text
    assert "Unfinished" in (await colleague.get(f"/my-inbox/{id}/answer?outcome=hit")).text


async def test_who_writes_reads_and_forgets_a_draft_of_an_answer_is_logged_and_no_part_of_the_timeline(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, browser, id = await opened(cast, workers, database)
    await browser.post(f"/my-inbox/{id}/answer", data=hit(do="save"))
    colleague = await signed_in(cast, "HMRC")
    await colleague.get(f"/my-inbox/{id}/answer?outcome=hit")
    await sent(colleague, id, hit(summary="Two vans."))
    query = "SELECT operation, action, actor, detail FROM audit_event WHERE action LIKE 'answer_draft%' ORDER BY id"
    logged = await rows(database, query)
    assert [(row["operation"], row["action"]) for row in logged] == [
        ("collection", "answer_draft.begun"),
        ("consultation", "answer_draft.read"),
        ("alteration", "answer_draft.saved"),
        ("consultation", "answer_draft.read"),
        ("consultation", "answer_draft.read"),
        ("erasure", "answer_draft.dropped"),
    ]
    assert all(row["detail"] == {"dispatch": id} for row in logged)
    assert len({row["actor"] for row in logged[1:]} - {logged[0]["actor"]}) == 1
    [referral] = (await force.get("/v1/referrals")).json()["items"]
    assert "answer_draft" not in (await force.get(f"/v1/referrals/{referral['id']}/events")).text


async def test_a_draft_that_a_colleague_changed_is_checked_anew_before_it_is_sent(
    cast: Cast, workers: Workers, database: Database
) -> None:
    _, browser, id = await opened(cast, workers, database)
    await written(browser, id, hit())
    await written(await signed_in(cast, "HMRC"), id, hit(summary="Two vans."))
    answer = await browser.post(f"/my-inbox/{id}/answer/check", data={"version": "1"})
    assert list(faults(answer)) == ["version"]
    assert "Two vans." in answer.text
    assert await rows(database, "SELECT 1 FROM response") == []


async def test_a_question_stops_the_clock_and_its_answer_comes_back_as_a_message(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, browser, id = await opened(cast, workers, database)
    answer = await sent(browser, id, {"outcome": "more_information", "summary": QUESTION["summary"]})
    assert answer.headers["location"] == f"/my-inbox/{id}?sent=1"
    page = (await browser.get(f"/my-inbox/{id}")).text
    assert "The clock stands" in page
    assert QUESTION["summary"] in page
    [found] = await rows(database, "SELECT referral_id FROM dispatch")
    body = {"dispatch_id": id, "text": "The second one."}
    assert (await force.post(f"/v1/referrals/{found['referral_id']}/messages", json=body)).status_code == 200
    page = (await browser.get(f"/my-inbox/{id}")).text
    assert "The second one." in page
    assert "Answer or ask" in page


async def test_the_second_different_answer_is_told_in_words_and_kept(
    cast: Cast, workers: Workers, database: Database
) -> None:
    _, browser, id = await opened(cast, workers, database)
    await written(browser, id, {"outcome": "declined", "decline_reason": "capacity"})
    # Meanwhile a colleague's system answers.
    assert (await (await cast.play("HMRC")).post(f"/v1/inbox/{id}/response", json=HIT)).status_code == 201
    answer = await browser.post(f"/my-inbox/{id}/answer/check", data={"version": "1"})
    assert answer.status_code == 409
    assert "The first answer stands" in answer.text
    page = (await browser.get(f"/my-inbox/{id}")).text
    assert "Kept as evidence only" in page
    assert [row["flag"] for row in await rows(database, "SELECT flag FROM response ORDER BY recorded_at")] == [
        None,
        "conflict",
    ]
    again = await browser.get(f"/my-inbox/{id}/answer?outcome=hit")
    assert again.status_code == 410
    assert "no longer open" in again.text


async def test_an_answer_after_the_end_is_told_in_words_and_kept_as_late(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, browser, id = await opened(cast, workers, database)
    await written(browser, id, hit())
    [found] = await rows(database, "SELECT referral_id FROM dispatch")
    cancelled = await force.post(f"/v1/referrals/{found['referral_id']}/cancel", json={"reason": "Over."})
    assert cancelled.status_code == 200
    answer = await browser.post(f"/my-inbox/{id}/answer/check", data={"version": "1"})
    assert answer.status_code == 410
    assert "kept as late evidence" in answer.text
    page = (await browser.get(f"/my-inbox/{id}")).text
    assert "This item was cancelled." in page
    assert "Kept as late evidence only" in page
    seen = await browser.post(f"/my-inbox/{id}/acknowledgement")
    assert seen.headers["location"] == "/my-inbox"
    assert await listed(browser) == []
    assert len(await listed(browser, show="cancelled")) == 1


async def test_an_item_that_a_system_has_claimed_is_not_answered_over_its_head(
    cast: Cast, workers: Workers, database: Database
) -> None:
    _, browser, id = await opened(cast, workers, database)
    claimed = await (await cast.play("HMRC")).post("/v1/inbox/claims", json={})
    assert len(claimed.json()["items"]) == 1
    assert "has claimed this item" in (await browser.get(f"/my-inbox/{id}")).text
    answer = await sent(browser, id, hit())
    assert answer.status_code == 409
    assert "your draft is kept" in answer.text
    assert len(await rows(database, "SELECT 1 FROM answer_draft")) == 1
    assert (await browser.post(f"/my-inbox/{id}/acknowledgement")).status_code == 409
