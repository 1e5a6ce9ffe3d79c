"""What came of a referral: who may record it, when, that nothing of it is lost, and where it shows."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from app.audit.record import Actor
from app.db import Database
from app.intake.outcome_views import OutcomePage
from app.retention import disposal, review
from app.retention.reference import rules
from app.retention.review import Decision
from app.retention.schedule import date_all
from tests.acts import Document, actions, dispatched, inbox, rows, slug
from tests.conftest import HIT, Cast, Workers, referral

LAVA: Document = {
    "acted_on": "2026-11-20",
    "disruption": "major",
    "arrests": 22,
    "charged": 16,
    "prohibition_orders": 10,
    "children_safeguarded": 1,
    "assets_frozen": "60000.00",
    "seizures": [{"kind": "plants", "quantity": 460, "value": "493000.00"}],
    "summary": "The day of action at Plot 9 went as planned.",
}


async def answered(cast: Cast, workers: Workers) -> tuple[httpx.AsyncClient, Document]:
    """A force and its referral, which HMRC has answered and EA has not."""
    force, [made] = await dispatched(cast, workers, "HMRC", "EA")
    hmrc = await cast.play("HMRC")
    [item] = await inbox(hmrc)
    assert (await hmrc.post(f"/v1/inbox/{item['id']}/response", json=HIT)).status_code == 201
    return force, (await force.get(f"/v1/referrals/{made['id']}")).json()


def dispatch_of(referral: Document, agency: str) -> str:
    """The id of an agency's dispatch."""
    return next(str(one["id"]) for one in referral["dispatches"] if one["agency"] == agency)


async def listed(client: httpx.AsyncClient, referral: Document) -> list[Document]:
    """The outcomes of a referral."""
    answer = await client.get(f"/v1/referrals/{referral['id']}/outcomes")
    assert answer.status_code == 200, answer.text
    OutcomePage.model_validate(answer.json(), extra="forbid")
    items: list[Document] = answer.json()["items"]
    return items


async def test_a_force_records_operation_lava_and_reads_it_again(cast: Cast, workers: Workers) -> None:
    force, made = await answered(cast, workers)
    body = {**LAVA, "useful": [dispatch_of(made, "HMRC")]}
    answer = await force.post(f"/v1/referrals/{made['id']}/outcome", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] == made["id"]
    [outcome] = await listed(force, made)
    assert {name: outcome[name] for name in body} == body
    assert outcome["useful_agencies"] == ["HMRC"]
    assert (outcome["replaces"], outcome["replaced_by"], outcome["adults_safeguarded"]) == (None, None, None)


async def test_it_shows_in_the_product_and_the_timeline(cast: Cast, workers: Workers) -> None:
    force, made = await answered(cast, workers)
    both: list[Document] = [{}, {"arrests": 3, "charged": None, "disruption": "minor", "seizures": []}]
    for changes in both:
        body = {name: value for name, value in {**LAVA, **changes}.items() if value is not None}
        assert (await force.post(f"/v1/referrals/{made['id']}/outcome", json=body)).status_code == 200
    product = (await force.get(f"/v1/referrals/{made['id']}/product")).json()
    assert len(product["outcomes"]) == 2
    totals = product["outcome_totals"]
    assert (totals["actions"], totals["arrests"], totals["charged"], totals["seized"]) == (2, 25, 16, "493000.00")
    assert totals["disruptions"] == {"major": 1, "minor": 1}
    events = (await force.get(f"/v1/referrals/{made['id']}/events")).json()["items"]
    [first, second] = [one for one in events if one["event"] == "outcome.recorded"]
    assert (first["party"], first["detail"]["arrests"], second["detail"]["disruption"]) == ("SWP", 22, "minor")
    assert "Plot 9" not in str(events)


async def test_a_correction_counts_in_the_place_of_what_it_corrects(cast: Cast, workers: Workers) -> None:
    force, made = await answered(cast, workers)
    path = f"/v1/referrals/{made['id']}/outcome"
    await force.post(path, json={**LAVA, "arrests": 220})
    [wrong] = await listed(force, made)
    assert (await force.post(path, json={**LAVA, "replaces": wrong["id"]})).status_code == 200
    before, after = await listed(force, made)
    assert (before["replaced_by"], after["replaces"]) == (after["id"], before["id"])
    product = (await force.get(f"/v1/referrals/{made['id']}/product")).json()
    assert (product["outcome_totals"]["arrests"], len(product["outcomes"])) == (22, 2)
    again = await force.post(path, json={**LAVA, "replaces": wrong["id"]})
    assert (again.status_code, again.json()["errors"][0]["pointer"]) == (422, "/replaces")


async def test_the_same_key_records_it_once(cast: Cast, workers: Workers, database: Database) -> None:
    force, made = await answered(cast, workers)
    path, headers = f"/v1/referrals/{made['id']}/outcome", {"Idempotency-Key": "lava-1"}
    first = await force.post(path, json=LAVA, headers=headers)
    again = await force.post(path, json=LAVA, headers=headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.headers["idempotent-replayed"] == "true"
    other = await force.post(path, json={**LAVA, "arrests": 1}, headers=headers)
    assert slug(other) == "idempotency-key-reused"
    assert len(await listed(force, made)) == 1
    assert (await actions(database, "collection")).count("outcome.recorded") == 1


async def test_only_answers_to_this_referral_can_have_contributed(cast: Cast, workers: Workers) -> None:
    force, made = await answered(cast, workers)
    _, [other] = await dispatched(cast, workers, "DVLA")
    other = (await force.get(f"/v1/referrals/{other['id']}")).json()
    useful = [dispatch_of(made, "HMRC"), dispatch_of(made, "EA"), dispatch_of(other, "DVLA"), made["id"]]
    answer = await force.post(f"/v1/referrals/{made['id']}/outcome", json={**LAVA, "useful": useful})
    assert answer.status_code == 422
    faults = answer.json()["errors"]
    assert [fault["pointer"] for fault in faults] == ["/useful/1", "/useful/2", "/useful/3"]
    assert len({fault["detail"] for fault in faults}) == 1  # what is another's is told as what is not there
    assert await listed(force, made) == []


@pytest.mark.parametrize("ended", ["cancelled", "rejected", "held", "accepted"])
async def test_a_referral_that_asks_nobody_has_no_outcome(cast: Cast, workers: Workers, ended: str) -> None:
    force, coordinator = await cast.play("SWP"), await cast.play("TARIAN")
    if ended == "accepted":
        made = (await force.post("/v1/referrals", json=referral())).json()
    else:
        force, made = await answered(cast, workers)
        verb = {"cancelled": "cancel", "rejected": "reject", "held": "hold"}[ended]
        client = force if ended == "cancelled" else coordinator
        done = await client.post(f"/v1/referrals/{made['id']}/{verb}", json={"reason": "Not to go on."})
        assert done.status_code == 200, done.text
    answer = await force.post(f"/v1/referrals/{made['id']}/outcome", json=LAVA)
    assert (answer.status_code, slug(answer)) == (409, "state-conflict")


async def test_a_completed_referral_takes_its_outcome(cast: Cast, workers: Workers) -> None:
    force, [made] = await dispatched(cast, workers, "HMRC")
    hmrc = await cast.play("HMRC")
    [item] = await inbox(hmrc)
    await hmrc.post(f"/v1/inbox/{item['id']}/response", json=HIT)
    before = (await force.get(f"/v1/referrals/{made['id']}")).json()
    assert before["state"] == "completed"
    after = await force.post(f"/v1/referrals/{made['id']}/outcome", json=LAVA)
    # Its retention runs from when it was closed, which this does not move.
    assert (after.status_code, after.json()["updated_at"]) == (200, before["updated_at"])


@pytest.mark.parametrize(
    ("party", "status"), [("SWP", 200), ("GWP", 404), ("TARIAN", 200), ("TITAN", 404), ("GAIN", 200), ("HMRC", 403)]
)
async def test_the_originator_and_its_co_ordinators_read_it_and_nobody_else(
    cast: Cast, workers: Workers, party: str, status: int
) -> None:
    force, made = await answered(cast, workers)
    await force.post(f"/v1/referrals/{made['id']}/outcome", json=LAVA)
    reader = await cast.play(party)
    assert (await reader.get(f"/v1/referrals/{made['id']}/outcomes")).status_code == status
    recorded = await reader.post(f"/v1/referrals/{made['id']}/outcome", json=LAVA)
    assert recorded.status_code == (200 if party == "SWP" else 404 if party == "GWP" else 403)


async def test_what_was_written_is_sealed_and_the_figures_can_be_added_up(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, made = await answered(cast, workers)
    await force.post(f"/v1/referrals/{made['id']}/outcome", json={**LAVA, "useful": [dispatch_of(made, "HMRC")]})
    [row] = await rows(database, "SELECT * FROM referral_outcome")
    assert b"Plot 9" not in bytes(row["sealed_summary"])
    assert (row["originator"], row["region"], row["arrests"]) == ("SWP", "TARIAN", 22)
    assert (row["seized_pence"], row["assets_frozen_pence"]) == (49_300_000, 6_000_000)
    useful: Any = await rows(database, "SELECT agency, count(*) AS answers FROM useful_answer GROUP BY agency")
    assert useful == [{"agency": "HMRC", "answers": 1}]


async def test_disposal_takes_what_was_written_and_the_pair_and_leaves_the_figures(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, [made] = await dispatched(cast, workers, "HMRC")
    await (await cast.play("GMP")).post("/v1/referrals", json=referral())
    await workers.run()
    hmrc = await cast.play("HMRC")
    [item] = [one for one in await inbox(hmrc) if one["referral"]["id"] == made["id"]]
    await hmrc.post(f"/v1/inbox/{item['id']}/response", json=HIT)
    await force.post(f"/v1/referrals/{made['id']}/outcome", json=LAVA)
    assert len(await rows(database, "SELECT 1 FROM duplicate")) == 1
    await date_all(database, rules())
    operator = Actor("GAIN", "operator tests")
    async with database.transaction() as connection:
        goes = Decision(None, early=True, reason="No further use.")
        await review.decide(connection, operator, rules(), UUID(made["id"]), goes)
    assert await disposal.dispose_all(database, operator) == 1
    assert await rows(database, "SELECT arrests, sealed_summary FROM referral_outcome") == [
        {"arrests": 22, "sealed_summary": None}
    ]
    assert await rows(database, "SELECT 1 FROM duplicate") == []
    for path in ("outcomes", "product", "duplicates"):
        assert slug(await force.get(f"/v1/referrals/{made['id']}/{path}")) == "disposed"
    assert slug(await force.post(f"/v1/referrals/{made['id']}/outcome", json=LAVA)) == "disposed"
