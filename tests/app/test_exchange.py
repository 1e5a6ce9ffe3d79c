"""What an agency asks about an item and is replied: how much of it there is, and what that takes of a page."""

import pytest

from app.db import Database
from app.inbox import items
from app.referrals.lifecycle import MOST_QUESTIONS
from tests import invariants
from tests.acts import QUESTION, Document, dispatched, inbox, received, referral_of, rows, slug
from tests.browser import signed_in
from tests.conftest import HIT, Cast, Workers

LONG = {**QUESTION, "summary": "Which? " * 1_400}


def questions(item: str, count: int) -> list[Document]:
    """Different ones, as a batch has them."""
    return [{"id": item, **QUESTION, "summary": f"Which of {number}?"} for number in range(count)]


async def test_a_page_and_a_claim_end_before_what_was_said_is_too_many_bytes(
    cast: Cast, workers: Workers, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three documents fit; beside the first stand two questions and a reply, all as long as they may be."""
    force, made = await dispatched(cast, workers, "HMRC", count=3)
    agency = await cast.play("HMRC")
    ids = [item["id"] for item in await inbox(agency)]
    asked = {"items": [{"id": ids[0], **LONG}, {"id": ids[0], **LONG, "summary": "And since when? " * 600}]}
    assert (await agency.post("/v1/inbox/responses", json=asked)).status_code == 200
    reply = {"dispatch_id": ids[0], "text": "The second. " * 160}
    assert (await force.post(f"/v1/referrals/{made[0]['id']}/messages", json=reply)).status_code == 200
    [sizes] = await rows(database, "SELECT sum(octet_length(content)) AS documents FROM referral")
    monkeypatch.setattr(items, "PAGE_BYTES", sizes["documents"])

    first = (await agency.get("/v1/inbox")).json()
    assert [item["id"] for item in first["items"]] == ids[:1]
    assert len(first["items"][0]["messages"]) == 3
    following = await inbox(agency, cursor=first["next"])
    assert [item["id"] for item in following] == ids[1:]
    claimed = [(await agency.post("/v1/inbox/claims", json={})).json()["items"] for _ in range(2)]
    assert [[item["id"] for item in batch] for batch in claimed] == [ids[:1], ids[1:]]
    async with database.transaction() as connection:
        await invariants.check(connection)


async def test_of_one_item_only_so_much_is_asked(cast: Cast, workers: Workers, database: Database) -> None:
    """Refused is not kept; a repetition and the answer are taken all the same."""
    force, agency, item = await received(cast, workers)
    referral_id = (await referral_of(force, item, database))["id"]
    body = {"items": questions(item, MOST_QUESTIONS + 1)}
    told = (await agency.post("/v1/inbox/responses", json=body)).json()["items"]
    assert [one["status"] for one in told] == [201] * MOST_QUESTIONS + [409]
    assert told[-1]["problem"] == "too-many-questions"
    one_more = await agency.post(f"/v1/inbox/{item}/response", json=QUESTION)
    assert (one_more.status_code, slug(one_more)) == (409, "too-many-questions")
    assert "Answer it, or speak to the originator" in one_more.json()["detail"]
    again = {key: value for key, value in questions(item, 1)[0].items() if key != "id"}
    assert (await agency.post(f"/v1/inbox/{item}/response", json=again)).status_code == 200
    reply = {"dispatch_id": item, "text": "The second."}
    assert (await force.post(f"/v1/referrals/{referral_id}/messages", json=reply)).status_code == 200
    assert (await agency.post(f"/v1/inbox/{item}/response", json=QUESTION)).status_code == 409
    assert len((await inbox(agency))[0]["messages"]) == MOST_QUESTIONS + 1
    assert (await agency.post(f"/v1/inbox/{item}/response", json=HIT)).status_code == 201


async def test_who_asks_too_much_on_the_page_is_told_in_words_and_keeps_the_draft(
    cast: Cast, workers: Workers, database: Database
) -> None:
    _force, agency, item = await received(cast, workers)
    await agency.post("/v1/inbox/responses", json={"items": questions(item, MOST_QUESTIONS)})
    browser = await signed_in(cast, "HMRC")
    assert (await browser.post(f"/my-inbox/{item}/answer", data=QUESTION)).status_code == 303
    answer = await browser.post(f"/my-inbox/{item}/answer/check", data={"version": "1"})
    assert answer.status_code == 409
    assert f"{MOST_QUESTIONS} questions were asked about this item" in answer.text
    assert QUESTION["summary"] in (await browser.get(f"/my-inbox/{item}/answer/check")).text
