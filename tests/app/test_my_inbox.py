"""An agency's web inbox, through HTTP with the database: list, item, several no-hits, and who sees nothing."""

import re

import pytest

from app.access.policy import Role
from app.db import Database
from tests.acts import actions, change, dispatched, eventually, inbox, rows
from tests.app.web_inbox import SAID, faults, hit, ids, listed, opened
from tests.browser import signed_in
from tests.conftest import HIT, Cast, Workers


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
