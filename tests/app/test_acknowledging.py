"""Acknowledging items: one or several, again, after the end, and a cancellation."""

from uuid import UUID

import httpx
import pytest

from app.db import Database
from tests.acts import REASON, actions, change, dispatched, inbox, received, rows, slug
from tests.conftest import HIT, Cast, Workers


async def test_acknowledging_takes_an_item_out_of_the_list_and_its_state_finds_it_again(
    cast: Cast, workers: Workers, database: Database
) -> None:
    _force, agency, item = await received(cast, workers)
    before = (await agency.get(f"/v1/inbox/{item}")).json()
    first = await agency.post(f"/v1/inbox/{item}/acknowledgement")
    again = await agency.post(f"/v1/inbox/{item}/acknowledgement", json={})
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json() == {"id": item, "state": "acknowledged"}
    assert await inbox(agency) == []
    assert await inbox(agency, state="acknowledged") == [{**before, "state": "acknowledged"}]
    assert (await actions(database)).count("dispatch.acknowledged") == 1


async def test_a_cancelled_item_shows_until_its_cancellation_is_acknowledged(cast: Cast, workers: Workers) -> None:
    force, [made] = await dispatched(cast, workers, "HMRC")
    agency = await cast.play("HMRC")
    [item] = await inbox(agency)
    await force.post(f"/v1/referrals/{made['id']}/cancel", json=REASON)
    [cancelled] = await inbox(agency)
    assert cancelled == {**item, "state": "cancelled"}
    first = await agency.post(f"/v1/inbox/{item['id']}/acknowledgement")
    assert await inbox(agency) == []
    again = await agency.post(f"/v1/inbox/{item['id']}/acknowledgement")
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json() == {"id": item["id"], "state": "cancelled"}
    assert (await agency.get(f"/v1/inbox/{item['id']}")).json()["state"] == "cancelled"


async def test_several_are_acknowledged_at_once_each_for_itself(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, made = await dispatched(cast, workers, "HMRC", count=4)
    await dispatched(cast, workers, "EA")
    agency = await cast.play("HMRC")
    items = [item["id"] for item in await inbox(agency)]
    await agency.post(f"/v1/inbox/{items[1]}/acknowledgement")
    await force.post(f"/v1/referrals/{made[2]['id']}/cancel", json=REASON)
    await change(database, "UPDATE dispatch SET state = 'expired', closed_at = now() WHERE id = :id", id=UUID(items[3]))
    [strangers] = await rows(database, "SELECT id FROM dispatch WHERE agency = 'EA'")
    unknown = str(UUID(int=7))
    ids = [items[0], unknown, items[1], str(strangers["id"]), items[2], items[3], items[0]]
    answer = await agency.post("/v1/inbox/acknowledgements", json={"ids": ids})
    assert answer.status_code == 200
    told = [(one["id"], one["status"], one.get("state"), one.get("problem")) for one in answer.json()["items"]]
    acknowledged, cancelled = (200, "acknowledged", None), (200, "cancelled", None)
    assert told == [
        (items[0], *acknowledged),
        (unknown, 404, None, "not-found"),
        (items[1], *acknowledged),
        (str(strangers["id"]), 404, None, "not-found"),
        (items[2], *cancelled),
        (items[3], 410, None, "no-longer-open"),
        (items[0], *acknowledged),
    ]
    assert (await agency.post("/v1/inbox/acknowledgements", json={"ids": ids})).json() == answer.json()
    [row] = await rows(database, "SELECT state FROM dispatch WHERE agency = 'EA'")
    assert row["state"] == "queued"


async def acknowledgements(client: httpx.AsyncClient, ids: list[str]) -> list[tuple[int, str | None]]:
    """Status, and state or problem, of an acknowledgement of each alone; of all at once it is the same."""
    alone = [await client.post(f"/v1/inbox/{one}/acknowledgement") for one in ids]
    told = [(one.status_code, one.json()["state"] if one.is_success else slug(one)) for one in alone]
    several = (await client.post("/v1/inbox/acknowledgements", json={"ids": ids})).json()["items"]
    assert [(one["status"], one.get("state") or one["problem"]) for one in several] == told
    return told


async def test_an_acknowledgement_tells_the_state_as_it_is(cast: Cast, workers: Workers, database: Database) -> None:
    """Of what was answered or asked about without one, too; a stranger learns of none."""
    force, made = await dispatched(cast, workers, "HMRC", count=5)
    agency = await cast.play("HMRC")
    items = [item["id"] for item in await inbox(agency)]
    await agency.post(f"/v1/inbox/{items[1]}/response", json={"outcome": "more_information", "summary": "Which?"})
    await agency.post(f"/v1/inbox/{items[2]}/response", json=HIT)
    await agency.post(f"/v1/inbox/{items[3]}/response", json={"outcome": "declined", "decline_reason": "capacity"})
    await force.post(f"/v1/referrals/{made[4]['id']}/cancel", json=REASON)
    states = ["acknowledged", "query", "answered", "declined", "cancelled"]
    for client in (agency, await cast.play("HMRC"), agency):
        assert await acknowledgements(client, items) == [(200, state) for state in states]
    assert await acknowledgements(await cast.play("EA"), items) == [(404, "not-found")] * 5
    shown = [(await agency.get(f"/v1/inbox/{item}")).json()["state"] for item in items]
    assert shown == states
    assert (await actions(database)).count("dispatch.acknowledged") == 1


@pytest.mark.parametrize("end", ["expired", "undeliverable"])
async def test_what_was_acknowledged_in_time_stays_so_after_the_end(
    cast: Cast, workers: Workers, database: Database, end: str
) -> None:
    """A client whose answer was lost may repeat it; what was never acknowledged is 410, as a stranger's is 404."""
    await dispatched(cast, workers, "HMRC", count=2)
    agency = await cast.play("HMRC")
    items = [item["id"] for item in await inbox(agency)]
    assert (await agency.post(f"/v1/inbox/{items[0]}/acknowledgement")).json()["state"] == "acknowledged"
    await change(database, "UPDATE dispatch SET state = :end, closed_at = now()", end=end)
    before = await actions(database)
    for client in (agency, await cast.play("HMRC")):
        assert await acknowledgements(client, items) == [(200, end), (410, "no-longer-open")]
    assert await acknowledgements(await cast.play("EA"), items) == [(404, "not-found")] * 2
    assert await actions(database) == before
