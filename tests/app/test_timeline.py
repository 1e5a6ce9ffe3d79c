"""A timeline shows each reader its own part: the force, its region, the nation; nothing to anybody else."""

import json

import httpx
import pytest
from sqlalchemy import text

from app.access.policy import Relation, Role
from app.access.principal import behalf_of
from app.db import Behalf, Database
from app.referrals.timeline import shown_to
from tests.acts import NO_HIT, Document, dispatched, inbox
from tests.app.people import signed_in as person_signed_in
from tests.browser import signed_in
from tests.conftest import Cast, Workers

HIDDEN = (
    *("dispatch.assigned", "responses.read", "product.read", "product.combined", "referral.read", "consents.read"),
    *("referral.timeline_read", "retention.due", "something.new"),
)
EVERYTHING = sorted({*shown_to(Relation.ALL), *HIDDEN})
ALL_DETAIL = {"to": "0190-account", "outcome": "hit", "agencies": ["EA"], "ids": ["x"], "purpose": "investigation"}

_WRITE = text("""
    INSERT INTO audit_event (operation, action, party, actor, referral_id, detail)
    VALUES (:operation, :action, 'GAIN', 'test', CAST(:id AS uuid), CAST(:detail AS jsonb))
""")


async def happened(database: Database, referral_id: str) -> None:
    """Once each, all that can be logged of a referral, with more in its detail than there is to tell."""
    async with database.transaction() as connection:
        for action in EVERYTHING:
            # An operation that hid nothing by itself.
            given = {"operation": "disclosure", "action": action, "id": referral_id, "detail": json.dumps(ALL_DETAIL)}
            await connection.execute(_WRITE, given)


async def timeline(client: httpx.AsyncClient, referral_id: str) -> list[Document]:
    """The events, as this client sees them."""
    answer = await client.get(f"/v1/referrals/{referral_id}/events")
    assert answer.status_code == 200, answer.text
    items: list[Document] = answer.json()["items"]
    return items


@pytest.mark.parametrize(
    ("party", "role", "relation"),
    [
        ("SWP", Role.ORIGINATOR, Relation.OWN),
        ("TARIAN", Role.COORDINATOR, Relation.REGION),
        ("GAIN", Role.NATIONAL, Relation.ALL),
    ],
)
async def test_each_sees_the_events_and_fields_that_are_its_own(
    cast: Cast, workers: Workers, database: Database, party: str, role: Role, relation: Relation
) -> None:
    """Through the API; and the database itself shows no others, of any party's."""
    _, [made] = await dispatched(cast, workers, "HMRC")
    await happened(database, made["id"])
    found = await timeline(await cast.play(party, role), made["id"])
    assert {one["event"] for one in found} == shown_to(relation).keys()
    for one in found:
        assert (one["detail"] or {}).keys() <= shown_to(relation)[one["event"]], one
        assert "account" not in str(one)
    async with database.transaction(behalf_of(role, [party])) as connection:
        seen = await connection.scalars(text("SELECT DISTINCT action FROM audit_event"))
        assert set(seen) == shown_to(relation).keys()


@pytest.mark.parametrize(
    ("party", "role"), [("GWP", Role.ORIGINATOR), ("TITAN", Role.COORDINATOR), ("HMRC", Role.ORIGINATOR)]
)
async def test_a_stranger_sees_none(cast: Cast, workers: Workers, database: Database, party: str, role: Role) -> None:
    _, [made] = await dispatched(cast, workers, "HMRC")
    await happened(database, made["id"])
    answer = await (await cast.play(party, role)).get(f"/v1/referrals/{made['id']}/events")
    assert answer.status_code == 404
    async with database.transaction(behalf_of(role, [party])) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM audit_event")) == 0
    assert (await (await cast.play("HMRC")).get(f"/v1/referrals/{made['id']}/events")).status_code == 403


async def test_who_covers_a_region_sees_its_timeline_as_its_own_co_ordinator_does(
    cast: Cast, workers: Workers, database: Database
) -> None:
    _, [made] = await dispatched(cast, workers, "HMRC")
    await happened(database, made["id"])
    async with database.transaction(Behalf("gain_as_covering", ("NERSOU", "TARIAN"))) as connection:
        seen = await connection.scalars(text("SELECT DISTINCT action FROM audit_event"))
        assert set(seen) == shown_to(Relation.REGION).keys()


async def test_a_force_is_not_told_who_of_an_agency_has_its_item_nor_of_a_second_answer_nor_who_read(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """All of it done through the doors; its co-ordinator sees what is a co-ordinator's."""
    force, [made] = await dispatched(cast, workers, "HMRC", "EA")
    agency, region = await cast.play("HMRC"), await cast.play("TARIAN")
    [item] = await inbox(agency)
    browser, person = await person_signed_in(cast, database, "HMRC", username="dana@hmrc.example")
    given = await browser.post(f"/my-inbox/{item['id']}/colleague", data={"colleague": person.id})
    assert given.status_code == 303, given.text
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=NO_HIT)).status_code == 201
    differs = {"outcome": "declined", "decline_reason": "capacity"}
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=differs)).status_code == 409
    path = f"/v1/referrals/{made['id']}"
    held = await region.post(f"{path}/legal-hold", json={"reason": "A claim is before the court."})
    assert held.status_code == 200, held.text
    assert (await region.get(f"{path}/product")).status_code == 200
    logged = {"dispatch.assigned", "response.conflict", "referral.legal_hold_set", "product.read"}
    async with database.transaction() as connection:
        kept = set(await connection.scalars(text("SELECT action FROM audit_event")))
    assert logged <= kept
    own, overseen = await timeline(force, made["id"]), await timeline(region, made["id"])
    assert not logged & {one["event"] for one in own}
    assert logged & {one["event"] for one in overseen} == {"response.conflict", "referral.legal_hold_set"}
    assert person.id not in str([own, overseen])
    pages = [
        (await (await signed_in(cast, "SWP", Role.ORIGINATOR)).get(f"/my-referrals/{made['id']}")).text,
        (await (await signed_in(cast, "TARIAN", Role.COORDINATOR)).get(f"/referrals/{made['id']}")).text,
    ]
    assert ["Bodies to ask were chosen" in page or "Sent out" in page for page in pages] == [True, True]
    for words in ("Put on legal hold", "Answered again, differently"):
        assert [words in page for page in pages] == [False, True], words
    for words in ("otherwise than before", "product was read", "Product read", "ssigned"):
        assert not [page for page in pages if words in page], words
