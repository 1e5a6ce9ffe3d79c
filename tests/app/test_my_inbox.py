"""An agency's web inbox, through HTTP with the database: list, item, answers, several no-hits, and who sees nothing."""

import re
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from app.access.policy import Role
from app.db import Database
from tests.acts import QUESTION, actions, change, dispatched, eventually, inbox, rows
from tests.browser import signed_in
from tests.conftest import HIT, Cast, Workers

SAID = ("Quill", "CX14 ABC", "Heol y Mynydd", "SWP-0142", "current employer")
"""What a referral says that only an opened item may show."""


async def listed(browser: httpx.AsyncClient, **query: str) -> list[str]:
    """The references on a page of the list, in order."""
    page = await browser.get("/my-inbox", params=query)
    assert page.status_code == 200, page.text
    return re.findall(r'<a class="govuk-link" href="/my-inbox/[0-9a-f-]{36}">(GAIN-[0-9-]+)</a>', page.text)


async def ids(database: Database, agency: str = "HMRC") -> dict[str, str]:
    """The ids of an agency's items by reference."""
    found = await rows(
        database,
        "SELECT reference, dispatch.id FROM dispatch JOIN referral ON referral.id = referral_id WHERE agency = :agency",
        agency=agency,
    )
    return {row["reference"]: str(row["id"]) for row in found}


async def opened(cast: Cast, workers: Workers, database: Database) -> tuple[httpx.AsyncClient, httpx.AsyncClient, str]:
    """A force, HMRC's browser, and the id of the one item that it has opened."""
    force, [made] = await dispatched(cast, workers, "HMRC")
    browser = await signed_in(cast, "HMRC")
    id = (await ids(database))[made["reference"]]
    assert (await browser.get(f"/my-inbox/{id}")).status_code == 200
    return force, browser, id


def hit(**changes: Any) -> dict[str, Any]:
    """The form of a hit."""
    return {
        "outcome": "hit",
        "summary": "Keeper of a van since March 2024.",
        "fact-0-kind": "vehicle",
        "fact-0-text": "CX14 ABC, a grey van.",
        "source": "1",
        "assessment": "A",
        "code": "P",
        **changes,
    }


async def written(browser: httpx.AsyncClient, id: str, form: dict[str, Any]) -> httpx.Response:
    """The page to check, of an answer just written."""
    answer = await browser.post(f"/my-inbox/{id}/answer", data=form)
    assert (answer.status_code, answer.headers.get("location")) == (303, f"/my-inbox/{id}/answer/check"), answer.text
    return await browser.get(answer.headers["location"])


async def sent(browser: httpx.AsyncClient, id: str, form: dict[str, Any]) -> httpx.Response:
    """What sending this answer comes to."""
    page = await written(browser, id, form)
    version = re.search(r'name="version" value="(\d+)"', page.text)
    assert version, page.text
    return await browser.post(f"/my-inbox/{id}/answer/check", data={"version": version[1]})


def faults(page: httpx.Response) -> dict[str, str]:
    """The errors of a form: by the field that each leads to. Each stands beside its field too."""
    assert page.status_code == 422, page.text
    found = dict(re.findall(r'<li>\s*<a href="#([^"]+)">([^<]+)</a>', page.text))
    for field, words in found.items():
        assert f'id="{field}"' in page.text, field
        assert page.text.count(words) >= 2, words
    return found


async def test_the_list_shows_the_oldest_due_first_and_nothing_of_what_a_referral_says(
    cast: Cast, workers: Workers, database: Database
) -> None:
    _, made = await dispatched(cast, workers, "HMRC", count=3)
    first, second, third = [one["reference"] for one in made]
    await change(
        database,
        "UPDATE dispatch SET due_at = due_at - interval '90 days' FROM referral"
        " WHERE referral.id = referral_id AND reference = :reference",
        reference=third,
    )
    browser = await signed_in(cast, "HMRC")
    assert await listed(browser) == [third, first, second]
    page = await browser.get("/my-inbox")
    assert "overdue" in page.text
    assert not [word for word in (*SAID, "rug trafficking") if word in page.text]
    assert await actions(database, "disclosure") == []
    assert {row["state"] for row in await rows(database, "SELECT state FROM dispatch")} == {"queued"}
    # What an API poll does not hold either: the list has not read the inbox.
    assert len(await inbox(await cast.play("HMRC"))) == 3


async def test_opening_an_item_delivers_it_once_and_shows_it_whole(
    cast: Cast, workers: Workers, database: Database
) -> None:
    _, browser, id = await opened(cast, workers, database)
    assert await actions(database, "disclosure") == ["dispatch.delivered"]
    page = (await browser.get(f"/my-inbox/{id}")).text
    assert await actions(database, "disclosure") == ["dispatch.delivered"]
    assert (await actions(database, "consultation"))[-1] == "inbox.read"
    for word in (
        *("Rhys Alun Quill", "Rhys Quille", "1984-03-07", "Plot 9, Heol y Mynydd, CF48 1AA", "Vehicle registration"),
        *("CX14 ABC", "SWP-0142", "band 4b", "score 37", "day of action", "current employer", "Example", "Violent"),
        *("Intelligence desk, desk@example.invalid", "OFFICIAL-SENSITIVE", "2 – untested", "B – known indirectly"),
        *("P – lawful sharing permitted", "Common law, policing purpose", "Mapped ocg", "Drug trafficking"),
    ):
        assert word in page, word
    assert "SWP/2026/991" not in page  # the originator's own reference
    assert "EA</" not in page
    assert "drug trafficking" in (await browser.get("/my-inbox")).text.lower()


async def test_a_reminder_shows_in_the_list_and_on_the_item_while_it_is_open(
    cast: Cast, workers: Workers, database: Database
) -> None:
    _, browser, id = await opened(cast, workers, database)
    pages = ("/my-inbox", f"/my-inbox/{id}")
    for page in pages:
        assert "Reminded" not in (await browser.get(page)).text
    coordinator = await cast.play("TARIAN")
    assert (await coordinator.post(f"/v1/dispatches/{id}/chase")).status_code == 200
    [row] = await rows(database, "SELECT to_char(chased_at, 'YYYY-MM-DD\"T\"HH24:MI') AS at FROM dispatch")
    for page in pages:
        assert re.search(rf'Reminded on <time datetime="{row["at"]}', (await browser.get(page)).text), page
    assert (await (await cast.play("HMRC")).post(f"/v1/inbox/{id}/response", json=HIT)).status_code == 201
    for page in ("/my-inbox?show=answered", f"/my-inbox/{id}"):
        assert "Reminded" not in (await browser.get(page)).text


async def test_an_item_is_acknowledged(cast: Cast, workers: Workers, database: Database) -> None:
    _, browser, id = await opened(cast, workers, database)
    for _ in range(2):
        answer = await browser.post(f"/my-inbox/{id}/acknowledgement")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/my-inbox/{id}")
    assert (await actions(database)).count("dispatch.acknowledged") == 1
    assert "Acknowledged" in (await browser.get(f"/my-inbox/{id}")).text


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


async def test_what_was_cancelled_unopened_is_not_disclosed_but_acknowledged(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, [made] = await dispatched(cast, workers, "HMRC")
    assert (await force.post(f"/v1/referrals/{made['id']}/cancel", json={"reason": "Over."})).status_code == 200
    browser = await signed_in(cast, "HMRC")
    assert await listed(browser) == [made["reference"]]
    id = (await ids(database))[made["reference"]]
    page = (await browser.get(f"/my-inbox/{id}")).text
    assert "nothing of it is disclosed" in page
    assert not [word for word in SAID if word in page]
    await browser.post(f"/my-inbox/{id}/acknowledgement")
    assert await listed(browser) == []
    assert (await actions(database)).count("dispatch.cancellation_seen") == 1


async def test_several_no_hits_are_confirmed_and_each_is_told_for_itself(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, made = await dispatched(cast, workers, "HMRC", count=4)
    items = await ids(database)
    one, two, three, unopened = (items[referral["reference"]] for referral in made)
    browser = await signed_in(cast, "HMRC")
    for id in (one, two, three):
        await browser.get(f"/my-inbox/{id}")
    page = (await browser.get("/my-inbox")).text
    assert page.count('type="checkbox"') == 3  # nobody has searched for what nobody has opened
    nothing = await browser.get("/my-inbox/no-hits")
    assert list(faults(nothing)) == ["ticks"]

    ticked = {"id": [one, two, three, unopened]}
    confirm = await browser.get("/my-inbox/no-hits", params=ticked)
    assert "these 3 items" in confirm.text
    assert await rows(database, "SELECT 1 FROM response") == []
    # Meanwhile one is answered otherwise, and another cancelled.
    assert (await (await cast.play("HMRC")).post(f"/v1/inbox/{two}/response", json=HIT)).status_code == 201
    assert (await force.post(f"/v1/referrals/{made[2]['id']}/cancel", json={"reason": "Over."})).status_code == 200
    sent_all = await browser.post("/my-inbox/no-hits", data={"id": [one, two, three]})
    assert sent_all.status_code == 303
    for _ in range(2):  # it can be opened again
        told = (await browser.get(sent_all.headers["location"])).text
        assert "1 of 3 recorded as no hit" in told
        assert "a different answer stands" in told
        assert "the item is cancelled" in told
    assert set(await listed(browser)) == {made[2]["reference"], made[3]["reference"]}


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


async def test_the_list_goes_on_page_by_page_without_a_gap(
    cast: Cast, workers: Workers, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.inbox.web_inbox.listing.PAGE", 2)
    _, made = await dispatched(cast, workers, "HMRC", count=5)
    browser = await signed_in(cast, "HMRC")
    address: str | None = "/my-inbox"
    found: list[str] = []
    while address:
        page = await browser.get(address)
        found += re.findall(r'href="/my-inbox/[0-9a-f-]{36}">(GAIN-[0-9-]+)</a>', page.text)
        following = re.search(r'href="([^"]+)" rel="next"', page.text)
        address = following[1].replace("&amp;", "&") if following else None
    assert found == [one["reference"] for one in made]
    assert (await browser.get("/my-inbox?cursor=nonsense")).status_code == 400


async def test_a_stranger_sees_nothing_of_it_and_an_originator_has_no_such_page(
    cast: Cast, workers: Workers, database: Database
) -> None:
    _, _, id = await opened(cast, workers, database)
    stranger = await signed_in(cast, "EA")
    assert await listed(stranger) == []
    for method, path in (
        ("GET", ""),
        ("GET", "/answer?outcome=hit"),
        ("GET", "/answer/check"),
        ("POST", "/answer"),
        ("POST", "/answer/check"),
        ("POST", "/acknowledgement"),
        ("POST", "/colleague"),
    ):
        answer = await stranger.request(method, f"/my-inbox/{id}{path}", data=hit() if method == "POST" else None)
        assert answer.status_code == 404, (method, path, answer.status_code)
    assert (await stranger.post("/my-inbox/no-hits", data={"id": id})).headers["location"] == "/my-inbox"
    assert "0 of 0" in (await stranger.get("/my-inbox/no-hits/results", params={"id": id})).text
    assert await rows(database, "SELECT 1 FROM response UNION ALL SELECT 1 FROM answer_draft") == []
    originator = await signed_in(cast, "SWP", Role.ORIGINATOR)
    for path in ("/my-inbox", f"/my-inbox/{id}", f"/my-inbox/{id}/answer"):
        assert (await originator.get(path)).status_code == 403
    assert (await cast.client({}).get("/my-inbox")).headers["location"] == "/sign-in?then=/my-inbox"


async def test_a_form_from_elsewhere_does_nothing(cast: Cast, workers: Workers, database: Database) -> None:
    _, browser, id = await opened(cast, workers, database)
    elsewhere = cast.client({"Origin": "http://elsewhere.test", "Cookie": f"gain={browser.cookies['gain']}"})
    assert (await elsewhere.post(f"/my-inbox/{id}/acknowledgement")).status_code == 403
    assert "dispatch.acknowledged" not in await actions(database)


async def test_who_opens_a_page_has_been_heard_of(cast: Cast, workers: Workers, database: Database) -> None:
    await opened(cast, workers, database)
    overseer = await cast.play("TARIAN")

    async def heard() -> bool:
        [queue] = [one for one in (await overseer.get("/v1/queues")).json()["items"] if one["agency"] == "HMRC"]
        return queue["last_seen_at"] is not None

    await eventually(heard)
