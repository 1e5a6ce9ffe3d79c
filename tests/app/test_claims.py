"""Several consumers of one agency: each item goes to one of them until its lease ends, and nobody else acts on it."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.db import Database
from tests.acts import NO_HIT, actions, change, dispatched, inbox, rows, slug
from tests.conftest import HIT, Cast, Workers

STALE = str(UUID(int=7))


async def claimed(agency: httpx.AsyncClient, **body: Any) -> list[dict[str, Any]]:
    answer = await agency.post("/v1/inbox/claims", json=body)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def end_leases(database: Database) -> None:
    await change(
        database, "UPDATE dispatch SET claim_expires_at = now() - interval '1 second' WHERE claim_id IS NOT NULL"
    )


async def seconds_left(database: Database, item: dict[str, Any]) -> float:
    """Of the lease of a claimed item, by the database's clock."""
    [row] = await rows(database, "SELECT now() AS now")
    left: timedelta = datetime.fromisoformat(item["lease_expires_at"]) - row["now"]
    return left.total_seconds()


async def test_consumers_get_different_items_and_all_of_them(cast: Cast, workers: Workers) -> None:
    await dispatched(cast, workers, "HMRC", count=12)
    consumers = [await cast.play("HMRC") for _ in range(4)]
    found = await asyncio.gather(*(claimed(consumer, limit=4) for consumer in consumers))
    ids = [item["id"] for items in found for item in items]
    assert len(ids) == len(set(ids))
    rest = [item["id"] for item in await claimed(consumers[0])]
    assert len(set(ids) | set(rest)) == len(ids) + len(rest) == 12
    assert await claimed(consumers[1]) == []


async def test_a_claim_takes_the_most_urgent_and_says_for_how_long(
    cast: Cast, workers: Workers, database: Database
) -> None:
    await dispatched(cast, workers, "HMRC", count=2)
    await dispatched(cast, workers, "HMRC", priority="urgent")
    agency = await cast.play("HMRC")
    [item] = await claimed(agency, limit=1, lease_seconds=60)
    assert item["priority"] == "urgent"
    assert item["state"] == "delivered"
    assert item["referral"]["subject"]["family_name"] == "Quill"
    assert 50 < await seconds_left(database, item) <= 60
    assert await actions(database, "disclosure") == ["dispatch.delivered"]
    rest = await claimed(agency)
    assert {one["claim_id"] for one in rest}.isdisjoint({item["claim_id"]})
    assert len({one["claim_id"] for one in rest}) == 1


@pytest.mark.parametrize("given", [{}, {"content": b""}, {"json": {}}, {"json": None}], ids=str)
async def test_a_claim_that_says_nothing_is_the_usual_one(
    cast: Cast, workers: Workers, database: Database, given: dict[str, Any]
) -> None:
    """Fifty items for five minutes, as if both were said."""
    await dispatched(cast, workers, "HMRC")
    agency, stranger = await cast.play("HMRC"), await cast.play("EA")
    assert (await stranger.post("/v1/inbox/claims", **given)).json()["items"] == []
    answer = await agency.post("/v1/inbox/claims", **given)
    assert answer.status_code == 200, answer.text
    [item] = answer.json()["items"]
    assert 290 < await seconds_left(database, item) <= 300
    assert await claimed(await cast.play("HMRC")) == [], "a colleague's consumer does not get it"


async def test_a_lease_may_be_as_short_as_a_second(cast: Cast, workers: Workers, database: Database) -> None:
    await dispatched(cast, workers, "HMRC")
    agency = await cast.play("HMRC")
    [item] = await claimed(agency, lease_seconds=1)
    assert await seconds_left(database, item) <= 1
    refused = await agency.post("/v1/inbox/claims", json={"lease_seconds": 0})
    assert (refused.status_code, slug(refused)) == (422, "invalid-body")


async def test_claimed_items_still_show(cast: Cast, workers: Workers) -> None:
    await dispatched(cast, workers, "HMRC", count=2)
    agency = await cast.play("HMRC")
    [item] = await claimed(agency, limit=1)
    first, _second = await inbox(agency)
    assert first["id"] == item["id"]


@pytest.mark.parametrize("call", ["acknowledgement", "response"])
@pytest.mark.parametrize(
    ("lease", "given", "status"),
    [
        ("lives", "own", 200),
        ("lives", "other", 409),
        ("lives", "none", 409),
        ("ended", "own", 409),
        ("ended", "other", 409),
        ("ended", "none", 200),
        ("never", "other", 409),
        ("never", "none", 200),
    ],
)
async def test_who_may_act_on_an_item(
    cast: Cast, workers: Workers, database: Database, call: str, lease: str, given: str, status: int
) -> None:
    """The holder while its lease lives, and everybody where nobody else's does."""
    await dispatched(cast, workers, "HMRC")
    agency = await cast.play("HMRC")
    if lease == "never":
        [item] = await inbox(agency)
    else:
        [item] = await claimed(agency)
    if lease == "ended":
        await end_leases(database)
    claim = {"own": item.get("claim_id"), "other": STALE, "none": None}[given]
    body = {"claim_id": claim} | (NO_HIT if call == "response" else {})
    answer = await agency.post(f"/v1/inbox/{item['id']}/{call}", json=body)
    assert answer.status_code == (201 if (call, status) == ("response", 200) else status), answer.text
    if status == 409:
        assert slug(answer) == "claim-stale"
        [row] = await rows(database, "SELECT state FROM dispatch")
        assert row["state"] == "delivered"
        assert await rows(database, "SELECT 1 FROM response") == []


async def test_what_a_dead_consumer_held_goes_to_the_next(cast: Cast, workers: Workers, database: Database) -> None:
    await dispatched(cast, workers, "HMRC")
    first, second = await cast.play("HMRC"), await cast.play("HMRC")
    [old] = await claimed(first)
    assert await claimed(second) == []
    await end_leases(database)
    [new] = await claimed(second)
    assert new["id"] == old["id"]
    assert new["claim_id"] != old["claim_id"]
    path = f"/v1/inbox/{old['id']}/response"
    assert slug(await first.post(path, json={**HIT, "claim_id": old["claim_id"]})) == "claim-stale"
    assert (await second.post(path, json={**HIT, "claim_id": new["claim_id"]})).status_code == 201
    again = await first.post(path, json={**HIT, "claim_id": old["claim_id"]})
    assert again.status_code == 200, "the same answer, though its giver was overtaken"
    assert await actions(database, "disclosure") == ["dispatch.delivered"]


async def test_in_a_batch_each_item_has_its_own_claim(cast: Cast, workers: Workers) -> None:
    await dispatched(cast, workers, "HMRC", count=3)
    agency = await cast.play("HMRC")
    [first] = await claimed(agency, limit=1)
    [second] = await claimed(agency, limit=1)
    third = next(one for one in await inbox(agency) if one["id"] not in (first["id"], second["id"]))
    body = [
        {"id": first["id"], **NO_HIT, "claim_id": first["claim_id"]},
        {"id": second["id"], **NO_HIT, "claim_id": first["claim_id"]},
        {"id": third["id"], **NO_HIT},
    ]
    told = (await agency.post("/v1/inbox/responses", json={"items": body})).json()["items"]
    assert [(one["status"], one.get("problem")) for one in told] == [(201, None), (409, "claim-stale"), (201, None)]
    ids = [first["id"], second["id"], third["id"]]
    held = {"ids": ids, "claim_id": second["claim_id"]}
    told = (await agency.post("/v1/inbox/acknowledgements", json=held)).json()["items"]
    assert [one["status"] for one in told] == [200, 200, 200]


async def test_an_acknowledged_item_is_not_claimed(cast: Cast, workers: Workers) -> None:
    await dispatched(cast, workers, "HMRC")
    agency = await cast.play("HMRC")
    [item] = await inbox(agency)
    await agency.post(f"/v1/inbox/{item['id']}/acknowledgement")
    assert await claimed(agency) == []


async def test_another_agencys_claim_is_no_claim(cast: Cast, workers: Workers) -> None:
    await dispatched(cast, workers, "HMRC", "EA")
    [mine] = await claimed(await cast.play("HMRC"))
    other = await cast.play("EA")
    [theirs] = await claimed(other)
    body = {**NO_HIT, "claim_id": mine["claim_id"]}
    assert slug(await other.post(f"/v1/inbox/{theirs['id']}/response", json=body)) == "claim-stale"
    assert (await other.post(f"/v1/inbox/{mine['id']}/response", json=body)).status_code == 404
