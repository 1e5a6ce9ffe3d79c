"""What an agency says: the first answer stands, the same again is the same, and every refusal has its order."""

# ruff: noqa: S608  names of tables and columns cannot be parameters; none comes from outside

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest

from app.access.policy import Role
from app.db import Database
from tests import invariants
from tests.acts import (
    NO_HIT,
    QUESTION,
    REASON,
    actions,
    change,
    dispatched,
    inbox,
    received,
    referral_of,
    rows,
    slug,
)
from tests.conftest import HIT, Cast, Workers

DECLINED = {"outcome": "declined", "decline_reason": "capacity"}
STATE_OF = {"hit": "answered", "no_hit": "answered", "declined": "declined", "more_information": "query"}


async def respond(agency: httpx.AsyncClient, item: str, body: dict[str, Any]) -> httpx.Response:
    return await agency.post(f"/v1/inbox/{item}/response", json=body)


async def flags(database: Database) -> list[tuple[str, str | None]]:
    """The kept responses: outcome and flag."""
    found = await rows(database, "SELECT outcome, flag FROM response ORDER BY recorded_at, id")
    return [(row["outcome"], row["flag"]) for row in found]


@pytest.mark.parametrize("body", [HIT, NO_HIT, DECLINED], ids=lambda body: body["outcome"])
async def test_an_answer_ends_the_dispatch_and_reaches_the_originator(
    cast: Cast, workers: Workers, database: Database, body: dict[str, Any]
) -> None:
    force, agency, item = await received(cast, workers)
    answered = await respond(agency, item, body)
    assert answered.status_code == 201
    receipt = answered.json()
    state = STATE_OF[body["outcome"]]
    assert {**receipt, "id": None} == {"id": None, "dispatch_id": item, "outcome": body["outcome"], "state": state}
    tracked = await referral_of(force, item, database)
    assert tracked["state"] == "completed"
    [dispatch] = tracked["dispatches"]
    assert (dispatch["state"], dispatch["outcome"]) == (state, body["outcome"])
    assert dispatch["answered_at"]
    [response] = (await force.get(f"/v1/referrals/{tracked['id']}/responses")).json()["items"]
    assert (response["id"], response["dispatch_id"], response["agency"]) == (receipt["id"], item, "HMRC")
    assert {name: response[name] for name in body if name not in ("facts", "handling")} == {
        name: value for name, value in body.items() if name not in ("facts", "handling")
    }
    assert await inbox(agency) == []


async def test_the_same_answer_again_is_the_same_receipt(cast: Cast, workers: Workers, database: Database) -> None:
    _force, agency, item = await received(cast, workers)
    first = await respond(agency, item, HIT)
    for body in (
        HIT,
        {**HIT, "handling": {"code": "P", "conditions": []}},
        {**HIT, "contact": None, "legal_basis": None},
    ):
        again = await respond(agency, item, body)
        assert again.status_code == 200, again.text
        assert again.json() == first.json()
    assert await flags(database) == [("hit", None)]
    assert (await actions(database)).count("response.recorded") == 1


async def test_alone_and_in_a_batch_the_same_answer_is_the_same(
    cast: Cast, workers: Workers, database: Database
) -> None:
    _force, agency, item = await received(cast, workers)
    first = await respond(agency, item, HIT)
    batch = await agency.post("/v1/inbox/responses", json={"items": [{"id": item, **HIT}]})
    expected = {"id": item, "status": 200, "state": "answered", "response_id": first.json()["id"]}
    assert batch.json() == {"items": [expected], "next": None}
    assert await flags(database) == [("hit", None)]


async def test_an_answer_given_in_a_batch_is_read_under_its_own_id(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, agency, item = await received(cast, workers)
    batch = await agency.post("/v1/inbox/responses", json={"items": [{"id": item, **HIT}]})
    [told] = batch.json()["items"]
    tracked = await referral_of(force, item, database)
    [response] = (await force.get(f"/v1/referrals/{tracked['id']}/responses")).json()["items"]
    assert response["id"] == told["response_id"] != item
    assert response["dispatch_id"] == item
    assert (await respond(agency, item, HIT)).status_code == 200


async def test_a_second_different_answer_is_refused_and_kept_as_evidence(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, agency, item = await received(cast, workers)
    await respond(agency, item, NO_HIT)
    for body in (HIT, DECLINED, HIT):
        second = await respond(agency, item, body)
        assert second.status_code == 409
        assert slug(second) == "already-answered"
    assert await flags(database) == [("no_hit", None), ("hit", "conflict"), ("declined", "conflict")]
    assert (await respond(agency, item, NO_HIT)).status_code == 200
    tracked = await referral_of(force, item, database)
    assert tracked["dispatches"][0]["outcome"] == "no_hit"
    shown = (await force.get(f"/v1/referrals/{tracked['id']}/responses")).json()["items"]
    assert [response["outcome"] for response in shown] == ["no_hit"]
    assert "flag" not in shown[0]
    for overseer in (await cast.play("TARIAN"), await cast.play("GAIN", Role.NATIONAL)):
        evidence = (await overseer.get(f"/v1/referrals/{tracked['id']}/responses")).json()["items"]
        assert [(one["outcome"], one["flag"]) for one in evidence] == await flags(database)
        assert evidence[1]["summary"] == HIT["summary"]
    stranger = await cast.play("TITAN")
    assert (await stranger.get(f"/v1/referrals/{tracked['id']}/responses")).status_code == 404
    async with database.transaction() as connection:
        await invariants.check(connection)


async def test_an_answer_after_the_cancellation_is_refused_and_kept_as_late(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, agency, item = await received(cast, workers)
    tracked = await referral_of(force, item, database)
    await force.post(f"/v1/referrals/{tracked['id']}/cancel", json=REASON)
    for body in (HIT, HIT, NO_HIT):
        late = await respond(agency, item, body)
        assert late.status_code == 410
        assert slug(late) == "no-longer-open"
    assert await flags(database) == [("hit", "late"), ("no_hit", "late")]
    tracked = await referral_of(force, item, database)
    assert (tracked["state"], tracked["dispatches"][0]["state"]) == ("cancelled", "cancelled")
    assert tracked["dispatches"][0]["outcome"] is None
    assert (await force.get(f"/v1/referrals/{tracked['id']}/responses")).json()["items"] == []
    coordinator = await cast.play("TARIAN")
    evidence = (await coordinator.get(f"/v1/referrals/{tracked['id']}/responses")).json()["items"]
    assert [(one["outcome"], one["flag"]) for one in evidence] == [("hit", "late"), ("no_hit", "late")]


async def test_refusals_come_in_order_whose_then_state_then_content(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """A stranger to a cancelled item learns nothing; to its addressee the state is told before the content."""
    force, agency, item = await received(cast, workers)
    stranger = await cast.play("EA")
    await respond(agency, item, QUESTION)
    tracked = await referral_of(force, item, database)
    await force.post(f"/v1/referrals/{tracked['id']}/cancel", json=REASON)
    assert (await respond(stranger, item, QUESTION)).status_code == 404
    assert (await respond(agency, item, QUESTION)).status_code == 410, "though the same is kept already"
    assert (await respond(agency, item, {**HIT, "claim_id": str(UUID(int=1))})).status_code == 410
    _other_force, other_agency, other = await received(cast, workers, "NCA")
    await respond(other_agency, other, HIT)
    assert (await respond(other_agency, other, {**NO_HIT, "claim_id": str(UUID(int=1))})).status_code == 409
    assert (await respond(stranger, other, NO_HIT)).status_code == 404


async def test_an_expired_item_takes_no_answer(cast: Cast, workers: Workers, database: Database) -> None:
    _force, agency, item = await received(cast, workers)
    await change(database, "UPDATE dispatch SET state = 'expired', closed_at = now()")
    assert (await respond(agency, item, HIT)).status_code == 410
    assert slug(await agency.post(f"/v1/inbox/{item}/acknowledgement")) == "no-longer-open"
    assert await flags(database) == [("hit", "late")]


async def test_no_acknowledgement_is_needed_first(cast: Cast, workers: Workers, database: Database) -> None:
    await dispatched(cast, workers, "HMRC")
    [row] = await rows(database, "SELECT id FROM dispatch")
    assert (await respond(await cast.play("HMRC"), str(row["id"]), NO_HIT)).status_code == 201


async def test_a_question_stops_the_clock_and_ends_nothing(cast: Cast, workers: Workers, database: Database) -> None:
    force, agency, item = await received(cast, workers)
    asked = await respond(agency, item, QUESTION)
    assert asked.status_code == 201
    assert asked.json()["state"] == "query"
    tracked = await referral_of(force, item, database)
    assert (tracked["state"], tracked["dispatches"][0]["state"]) == ("in_progress", "query")
    assert tracked["dispatches"][0]["outcome"] is None
    assert await inbox(agency) == []
    [waiting] = await inbox(agency, state="query")
    assert [(message["from"], message["text"]) for message in waiting["messages"]] == [("HMRC", QUESTION["summary"])]
    await change(database, "UPDATE dispatch SET due_at = now() - interval '1 day'")
    queues = {one["agency"]: one for one in (await (await cast.play("TARIAN")).get("/v1/queues")).json()["items"]}
    assert (queues["HMRC"]["query"], queues["HMRC"]["overdue"]) == (1, 0)
    [response] = (await force.get(f"/v1/referrals/{tracked['id']}/responses")).json()["items"]
    assert (response["outcome"], response["summary"]) == ("more_information", QUESTION["summary"])


async def test_the_same_question_again_is_told_where_the_item_stands_now(cast: Cast, workers: Workers) -> None:
    """Answered meanwhile: the repetition changes nothing and says so."""
    _force, agency, item = await received(cast, workers)
    assert (await respond(agency, item, QUESTION)).status_code == 201
    assert (await respond(agency, item, {**QUESTION, "summary": "And since when?"})).status_code == 201
    assert (await respond(agency, item, HIT)).status_code == 201
    again = await respond(agency, item, QUESTION)
    assert again.status_code == 200
    assert again.json()["state"] == "answered"
    assert (await respond(agency, item, {**QUESTION, "summary": "A third."})).status_code == 409


async def test_a_question_asked_again_after_the_reply_is_a_new_one(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """The clock stands again, and the force sees that it was asked; before the reply it was a repetition."""
    force, agency, item = await received(cast, workers)
    referral_id = (await referral_of(force, item, database))["id"]
    for _ in range(2):
        assert (await respond(agency, item, QUESTION)).status_code == 201
        again = await respond(agency, item, QUESTION)
        assert (again.status_code, again.json()["state"]) == (200, "query")
        message = {"dispatch_id": item, "text": "The first."}
        assert (await force.post(f"/v1/referrals/{referral_id}/messages", json=message)).status_code == 200
        [row] = await rows(database, "SELECT state, queried_at FROM dispatch")
        assert (row["state"], row["queried_at"]) == ("delivered", None)
    [returned] = await inbox(agency)
    assert [one["from"] for one in returned["messages"]] == ["HMRC", "SWP"] * 2
    assert (await respond(agency, item, HIT)).status_code == 201
    again = await respond(agency, item, QUESTION)
    assert (again.status_code, again.json()["state"]) == (200, "answered"), "nothing is asked any more"
    assert (await respond(agency, item, {**QUESTION, "summary": "Another."})).status_code == 409


async def test_a_message_that_answers_no_question_is_refused_for_nobody_would_be_told_of_it(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, agency, item = await received(cast, workers)
    path = f"/v1/referrals/{(await referral_of(force, item, database))['id']}/messages"
    message, key = {"dispatch_id": item, "text": "The first."}, {"Idempotency-Key": "the-reply"}

    async def refused() -> None:
        answer = await force.post(path, json=message)
        assert (answer.status_code, slug(answer)) == (409, "state-conflict")
        assert "No question is open here" in answer.json()["detail"]

    await refused()
    await agency.post(f"/v1/inbox/{item}/acknowledgement")
    await refused()
    assert (await respond(agency, item, QUESTION)).status_code == 201
    first = await force.post(path, json=message, headers=key)
    assert first.status_code == 200
    await refused()
    again = await force.post(path, json=message, headers=key)
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await actions(database)).count("message.sent") == 1
    assert len(await rows(database, "SELECT id FROM message")) == 1


async def test_several_are_answered_at_once_each_for_itself(cast: Cast, workers: Workers, database: Database) -> None:
    force, made = await dispatched(cast, workers, "HMRC", count=5)
    await dispatched(cast, workers, "EA")
    agency = await cast.play("HMRC")
    items = [item["id"] for item in await inbox(agency)]
    await respond(agency, items[1], NO_HIT)
    await force.post(f"/v1/referrals/{made[2]['id']}/cancel", json=REASON)
    [strangers] = await rows(database, "SELECT id FROM dispatch WHERE agency = 'EA'")
    body = [
        {"id": items[0], **HIT},
        {"id": items[1], **NO_HIT},
        {"id": items[1], **HIT},
        {"id": items[2], **HIT},
        {"id": str(strangers["id"]), **HIT},
        {"id": str(UUID(int=7)), **HIT},
        {"id": items[3], **QUESTION},
        {"id": items[3], **DECLINED},
        {"id": items[3], **HIT},
        {"id": items[0], **HIT},
    ]
    answer = await agency.post("/v1/inbox/responses", json={"items": body})
    assert answer.status_code == 200
    told = answer.json()["items"]
    assert [one["id"] for one in told] == [item["id"] for item in body]
    assert [one["status"] for one in told] == [201, 200, 409, 410, 404, 404, 201, 201, 409, 200]
    assert [one.get("problem") for one in told] == [
        None, None, "already-answered", "no-longer-open", "not-found",
        "not-found", None, None, "already-answered", None,
    ]  # fmt: skip
    assert told[0]["response_id"] == told[9]["response_id"]
    states = {one["id"]: one["state"] for one in await inbox(agency, state="declined")}
    assert states == {items[3]: "declined"}
    [row] = await rows(database, "SELECT state FROM dispatch WHERE agency = 'EA'")
    assert row["state"] == "queued"
    async with database.transaction() as connection:
        await invariants.check(connection)


async def test_a_bad_answer_among_several_costs_the_others_nothing(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """It is told in its place what is wrong, whoever's the item is: as alone, before it is looked for."""
    await dispatched(cast, workers, "HMRC", count=3)
    await dispatched(cast, workers, "EA")
    agency = await cast.play("HMRC")
    items = [item["id"] for item in await inbox(agency)]
    [strangers] = [str(row["id"]) for row in await rows(database, "SELECT id FROM dispatch WHERE agency = 'EA'")]
    body = [
        {"id": items[0], **HIT},
        {"id": items[1], "outcome": "Quillfeather", "grading": {"source": "Quillfeather", "assessment": "B"}},
        {"id": strangers, **NO_HIT, "Quillfeather": 1},
        {"id": strangers, **NO_HIT},
        {"id": items[2], "outcome": "declined"},
        {"id": items[2], **DECLINED},
        {"id": items[1], **NO_HIT},
    ]
    answer = await agency.post("/v1/inbox/responses", json={"items": body})
    assert answer.status_code == 200
    assert "Quillfeather" not in answer.text
    told = answer.json()["items"]
    assert [one["id"] for one in told] == [item["id"] for item in body]
    bad, good = "invalid-body", None
    assert [(one["status"], one.get("problem")) for one in told] == [
        (201, good), (422, bad), (422, bad), (404, "not-found"), (422, bad), (201, good), (201, good),
    ]  # fmt: skip
    pointers = [[fault["pointer"] for fault in one.get("errors", [])] for one in told]
    assert pointers == [[], ["/items/1/outcome", "/items/1/grading/source"], ["/items/2"], [], ["/items/4"], [], []]
    assert all(set(fault) == {"pointer", "detail"} for one in told for fault in one.get("errors", []))
    kept = sorted((row["outcome"], row["flag"]) for row in await rows(database, "SELECT outcome, flag FROM response"))
    assert kept == [("declined", None), ("hit", None), ("no_hit", None)]
    alone = await respond(await cast.play("EA"), items[0], {"outcome": "declined"})
    assert alone.status_code == 422, "alone, too, what is bad is so whoever sends it"


async def test_of_nothing_but_bad_answers_none_is_recorded(cast: Cast, workers: Workers, database: Database) -> None:
    _force, agency, item = await received(cast, workers)
    before = await actions(database)
    body = {"items": [{"id": item, "outcome": "hit"}, {"id": item}]}
    told = (await agency.post("/v1/inbox/responses", json=body)).json()["items"]
    assert [one["status"] for one in told] == [422, 422]
    assert (await flags(database), await actions(database)) == ([], before)


async def test_five_hundred_are_answered_in_one_call(cast: Cast, workers: Workers, database: Database) -> None:
    """The contract's most. Its items are made in the database, as an older version left them, with nothing sealed."""
    await dispatched(cast, workers, "HMRC")
    for table, own in (("referral", "id, reference, content, sealed"), ("dispatch", "id, referral_id, number")):
        [columns] = await rows(
            database,
            "SELECT string_agg(column_name, ', ') AS names FROM information_schema.columns "
            "WHERE table_name = :table AND NOT column_name = ANY(string_to_array(:own, ', '))",
            table=table,
            own=own,
        )
        ids = {
            "referral": "CAST(md5('r' || n) AS uuid), 'GAIN-' || n, '{}', false",
            "dispatch": "CAST(md5('d' || n) AS uuid), CAST(md5('r' || n) AS uuid)",
        }[table]
        own = own.removesuffix(", number")
        await change(
            database,
            f"INSERT INTO {table} ({own}, {columns['names']}) SELECT {ids}, {columns['names']} "
            f"FROM {table}, generate_series(1, 499) AS n",
        )
    agency = await cast.play("HMRC")
    items = await inbox(agency, limit=500)
    assert len(items) == 500
    body = {"items": [{"id": item["id"], **NO_HIT} for item in items]}
    answer = await agency.post("/v1/inbox/responses", json=body)
    assert {one["status"] for one in answer.json()["items"]} == {201}
    [row] = await rows(database, "SELECT count(*) AS number FROM referral WHERE state = 'completed'")
    assert row["number"] == 500


async def test_of_many_different_answers_at_once_one_stands(cast: Cast, workers: Workers, database: Database) -> None:
    _force, agency, item = await received(cast, workers)
    bodies = [{**HIT, "summary": f"Version {number % 6}."} for number in range(30)]
    answers = await asyncio.gather(*(respond(agency, item, body) for body in bodies))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 4 + [201] + [409] * 25
    kept = await flags(database)
    assert sorted(kept, key=str) == [("hit", "conflict")] * 5 + [("hit", None)]
    async with database.transaction() as connection:
        await invariants.check(connection)


async def test_a_referral_is_completed_by_the_last_of_its_answers_once(
    cast: Cast, workers: Workers, database: Database
) -> None:
    agencies = ["HMRC", "EA", "DWP", "NCA", "DVLA", "GLAA"]
    force, [made] = await dispatched(cast, workers, *agencies)
    found = await rows(database, "SELECT id, agency FROM dispatch")
    clients = {agency: await cast.play(agency) for agency in agencies}
    await asyncio.gather(*(respond(clients[row["agency"]], str(row["id"]), NO_HIT) for row in found))
    assert (await force.get(f"/v1/referrals/{made['id']}")).json()["state"] == "completed"
    assert (await actions(database)).count("referral.completed") == 1
    async with database.transaction() as connection:
        await invariants.check(connection)
