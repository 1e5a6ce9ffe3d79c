"""Two forces, one subject: both regions' co-ordinators are told so much as they may know, and nobody else anything."""

import asyncio
from typing import Any

import httpx
import pytest

from app.db import Database
from app.intake.duplicates import OwnDuplicates
from app.status.duplicates import DuplicatePage, DuplicateView
from tests.acts import Document, change, inbox, rows, slug, submitted
from tests.browser import signed_in
from tests.conftest import Cast, Workers

SUBJECT: Document = {
    "kind": "person",
    "family_name": "O’Brien-Nuñez",
    "given_names": "Mair",
    "date_of_birth": "1979-05-01",
    "identifiers": [{"type": "phone", "value": "07700 900123"}],
}
BY_NAME = {**SUBJECT, "family_name": "OBRIEN NUNEZ", "identifiers": []}
BY_PHONE = {"kind": "vehicle", "name": "A van", "identifiers": [{"type": "phone", "value": "+44 7700 900123"}]}
OTHER = {**SUBJECT, "given_names": "Nia", "identifiers": [{"type": "phone", "value": "07700 900999"}]}


async def refers(cast: Cast, party: str, subject: Document = SUBJECT, **changes: Any) -> Document:
    """A party's referral about a subject, just accepted."""
    return await submitted(await cast.play(party), subject=subject, addressees=["HMRC"], **changes)


async def seen_by(cast: Cast, party: str, **query: Any) -> list[Document]:
    """The possible duplicates that a party sees."""
    answer = await (await cast.play(party)).get("/v1/duplicates", params=query)
    assert answer.status_code == 200, answer.text
    DuplicatePage.model_validate(answer.json(), extra="forbid")
    items: list[Document] = answer.json()["items"]
    return items


def references(found: Document) -> list[str]:
    return [one["reference"] for one in found["referrals"]]


@pytest.mark.parametrize(
    ("subject", "kinds"), [(SUBJECT, ["identifier", "person"]), (BY_NAME, ["person"]), (BY_PHONE, ["identifier"])]
)
async def test_both_regions_see_that_two_forces_look_at_one_subject(
    cast: Cast, workers: Workers, subject: Document, kinds: list[str]
) -> None:
    welsh = await refers(cast, "SWP")
    await workers.run()
    english = await refers(cast, "GMP", subject)
    await refers(cast, "KNT", OTHER)
    await workers.run()
    for party, own in (("TARIAN", welsh), ("TITAN", english)):
        [found] = await seen_by(cast, party)
        assert found["matched_on"] == kinds
        assert references(found) == [welsh["reference"], english["reference"]]
        assert [(one["originator"], one["region"]) for one in found["referrals"]] == [
            ("SWP", "TARIAN"),
            ("GMP", "TITAN"),
        ]
        assert [one["id"] for one in found["referrals"] if one["id"]] == [own["id"]]
        assert set(found["referrals"][0]) == {"id", "reference", "originator", "region", "created_at"}
    assert await seen_by(cast, "ERSOU") == []
    [whole] = await seen_by(cast, "GAIN")
    assert [one["id"] for one in whole["referrals"]] == [welsh["id"], english["id"]]


async def test_no_force_and_no_agency_hears_of_it(cast: Cast, workers: Workers) -> None:
    welsh, english = await refers(cast, "SWP"), await refers(cast, "GMP")
    await workers.run()
    assert len(await seen_by(cast, "GAIN")) == 1
    for party, own, other in (("SWP", welsh, english), ("GMP", english, welsh)):
        force = await cast.play(party)
        assert (await force.get("/v1/duplicates")).status_code == 403
        assert (await force.get(f"/v1/referrals/{own['id']}/duplicates")).json()["items"] == []
        for path in ("", "/events", "/product", "/responses"):
            text = (await force.get(f"/v1/referrals/{own['id']}{path}")).text
            assert other["reference"] not in text
            assert other["id"] not in text
            assert "duplicate" not in text
    hmrc = await cast.play("HMRC")
    assert (await hmrc.get("/v1/duplicates")).status_code == 403
    assert "duplicate" not in str(await inbox(hmrc))


async def test_a_pair_is_found_once_however_many_workers_send_them_out(
    cast: Cast, workers: Workers, database: Database
) -> None:
    for party in ("SWP", "GMP", "KNT"):
        await refers(cast, party)
    await asyncio.gather(*(workers.run() for _ in range(4)))
    await workers.run()
    assert len(await seen_by(cast, "GAIN")) == 3
    found = await rows(
        database,
        "SELECT referral_id, party, operation, detail FROM audit_event WHERE action = 'duplicate.found' ORDER BY id",
    )
    assert len(found) == 3
    assert {one["operation"] for one in found} == {"combination"}
    assert {one["referral_id"] for one in found} == {None}  # else it stood in an originator's timeline
    assert all(len(one["detail"]["ids"]) == 2 for one in found)


async def test_only_what_is_open_or_lately_completed_counts(cast: Cast, workers: Workers, database: Database) -> None:
    force = await cast.play("SWP")
    cancelled = await refers(cast, "SWP")
    await workers.run()
    await force.post(f"/v1/referrals/{cancelled['id']}/cancel", json={"reason": "Not to go on."})
    recent, old = await refers(cast, "NWP"), await refers(cast, "GWP")
    await workers.run()
    hmrc = await cast.play("HMRC")
    for item in await inbox(hmrc):
        await hmrc.post(f"/v1/inbox/{item['id']}/response", json={"outcome": "no_hit"})
    await change(database, "DELETE FROM duplicate")
    await change(
        database,
        "UPDATE referral SET updated_at = now() - interval '91 days' WHERE reference = :old",
        old=old["reference"],
    )
    new = await refers(cast, "MPS")
    await workers.run()
    assert [references(one) for one in await seen_by(cast, "GAIN")] == [[recent["reference"], new["reference"]]]


async def test_a_force_is_told_of_its_own_earlier_referrals(cast: Cast, workers: Workers, database: Database) -> None:
    earlier, later = await refers(cast, "SWP"), await refers(cast, "SWP", BY_NAME)
    await refers(cast, "GWP")
    await workers.run()
    force = await cast.play("SWP")
    answer = await force.get(f"/v1/referrals/{later['id']}/duplicates")
    OwnDuplicates.model_validate(answer.json(), extra="forbid")
    [item] = answer.json()["items"]
    assert (item["id"], item["matched_on"]) == (earlier["id"], ["person"])
    assert (await (await cast.play("GWP")).get(f"/v1/referrals/{later['id']}/duplicates")).status_code == 404
    assert (await (await cast.play("TARIAN")).get(f"/v1/referrals/{later['id']}/duplicates")).status_code == 403
    logged = await rows(database, "SELECT operation, party FROM audit_event WHERE action = 'duplicates.own_read'")
    assert logged == [{"operation": "combination", "party": "SWP"}]


async def one_pair(cast: Cast, workers: Workers) -> tuple[httpx.AsyncClient, httpx.AsyncClient, Document]:
    """The co-ordinators of both regions, and the pair they see."""
    await refers(cast, "SWP")
    await refers(cast, "GMP")
    await workers.run()
    [found] = await seen_by(cast, "TARIAN")
    return await cast.play("TARIAN"), await cast.play("TITAN"), found


async def test_one_co_ordinator_decides_for_both_and_keeps_its_reason_to_its_region(
    cast: Cast, workers: Workers, database: Database
) -> None:
    welsh, english, found = await one_pair(cast, workers)
    ruling = {"decision": "same", "reason": "Mair is known to us both."}
    answer = await welsh.post(f"/v1/duplicates/{found['id']}/settle", json=ruling)
    assert answer.status_code == 200, answer.text
    DuplicateView.model_validate(answer.json(), extra="forbid")
    assert (answer.json()["decision"], answer.json()["decided_by"]) == ("same", "TARIAN")
    assert answer.json()["reason"] == ruling["reason"]
    for party, reason in (("TARIAN", ruling["reason"]), ("TITAN", None), ("GAIN", ruling["reason"])):
        assert await seen_by(cast, party) == []
        [settled] = await seen_by(cast, party, state="settled")
        assert (settled["decision"], settled["reason"]) == ("same", reason)
    again = await english.post(f"/v1/duplicates/{found['id']}/settle", json=ruling)
    assert (again.status_code, again.json()["reason"]) == (200, None)
    other = await english.post(f"/v1/duplicates/{found['id']}/settle", json={**ruling, "decision": "different"})
    assert (other.status_code, slug(other)) == (409, "state-conflict")
    [row] = await rows(database, "SELECT sealed_reason FROM duplicate")
    assert b"Mair" not in bytes(row["sealed_reason"])
    assert len(await rows(database, "SELECT 1 FROM audit_event WHERE action = 'duplicate.settled'")) == 1


async def test_the_same_key_decides_once(cast: Cast, workers: Workers) -> None:
    welsh, _, found = await one_pair(cast, workers)
    path, key = f"/v1/duplicates/{found['id']}/settle", {"Idempotency-Key": "settle-1"}
    ruling = {"decision": "different", "reason": "A namesake."}
    first = await welsh.post(path, json=ruling, headers=key)
    again = await welsh.post(path, json=ruling, headers=key)
    assert (first.status_code, again.status_code, again.headers["idempotent-replayed"]) == (200, 200, "true")
    assert slug(await welsh.post(path, json={**ruling, "decision": "same"}, headers=key)) == "idempotency-key-reused"


@pytest.mark.parametrize(("party", "status"), [("ERSOU", 404), ("SWP", 403), ("HMRC", 403), ("GAIN", 200)])
async def test_nobody_else_decides(cast: Cast, workers: Workers, party: str, status: int) -> None:
    _, _, found = await one_pair(cast, workers)
    client = await cast.play(party)
    answer = await client.post(f"/v1/duplicates/{found['id']}/settle", json={"decision": "same", "reason": "So it is."})
    assert answer.status_code == status


async def test_a_list_of_many_is_read_page_by_page(cast: Cast, workers: Workers) -> None:
    await refers(cast, "SWP")
    for party in ("GMP", "KNT", "MPS"):
        await refers(cast, party)
        await workers.run()
    client, pages, cursor = await cast.play("TARIAN"), [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        answer = (await client.get("/v1/duplicates", params=query)).json()
        pages.append([one["id"] for one in answer["items"]])
        if (cursor := answer["next"]) is None:
            break
    assert [len(one) for one in pages] == [2, 1]
    assert len({id for one in pages for id in one}) == 3
    foreign = await (await cast.play("TITAN")).get("/v1/duplicates", params={"cursor": "bad"})
    assert slug(foreign) == "bad-cursor"


async def test_it_stands_among_what_needs_both_co_ordinators(cast: Cast, workers: Workers) -> None:
    welsh, english = await refers(cast, "SWP"), await refers(cast, "GMP")
    await workers.run()
    for party, own, other in (("TARIAN", welsh, english), ("TITAN", english, welsh)):
        page = (await (await signed_in(cast, party)).get("/")).text
        assert "may be about one subject" in page
        assert own["reference"] in page
        assert other["reference"] in page
        assert str(other["id"]) not in page
    assert "may be about one subject" not in (await (await signed_in(cast, "ERSOU")).get("/")).text


async def test_one_subject_in_a_whole_file_is_found_and_makes_no_thousands_of_pairs(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """A telephone that all of a force's file shares: another force's one stands before it, a third's after."""
    before = await refers(cast, "GMP")
    await workers.run()
    force = await cast.play("SWP")
    await asyncio.gather(*(submitted(force, subject=BY_PHONE, addressees=["HMRC"]) for _ in range(60)))
    await workers.run()
    counted = "SELECT count(*) AS pairs FROM duplicate WHERE earlier = :id OR later = :id"
    assert await rows(database, counted, id=before["id"]) == [{"pairs": 20}]
    after = await refers(cast, "KNT", BY_PHONE)
    await workers.run()
    [found] = await rows(database, counted, id=after["id"])
    assert 20 <= found["pairs"] <= 25
