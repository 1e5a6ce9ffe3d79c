"""Sending again is safe: one key and one meaning is one referral, whatever happens between client and commit."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.access.policy import Role
from app.db import Database
from tests import invariants
from tests.acts import change, rows, slug, submitted, table_counts
from tests.conftest import Cast, Workers, referral

KEY = {"Idempotency-Key": "SWP-2026-991"}
JSON = {"Content-Type": "application/json"}


async def referrals(database: Database) -> int:
    [row] = await rows(database, "SELECT count(*) AS number FROM referral")
    return int(row["number"])


async def test_the_same_key_and_body_give_the_same_referral_again(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    first = await force.post("/v1/referrals", json=referral(), headers=KEY)
    again = await force.post("/v1/referrals", json=referral(), headers=KEY)
    assert first.status_code == again.status_code == 201
    assert first.headers["location"] == again.headers["location"] == f"/v1/referrals/{first.json()['id']}"
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    assert await referrals(database) == 1


async def test_what_is_answered_at_once_is_what_is_read_afterwards(cast: Cast) -> None:
    force = await cast.play("SWP")
    made = await force.post("/v1/referrals", json=referral())
    assert (await force.get(made.headers["location"])).json() == made.json()


async def test_a_replay_shows_the_referral_as_it_is_now(cast: Cast, workers: Workers) -> None:
    force = await cast.play("SWP")
    await submitted(force, KEY)
    await workers.run()
    assert (await submitted(force, KEY))["state"] == "in_progress"


def _other_words() -> dict[str, bytes]:
    """The same meaning as the example, said otherwise."""
    body = referral()
    turned = {name: body[name] for name in reversed(body)}
    turned["subject"] = {name: body["subject"][name] for name in reversed(body["subject"])}
    spelt: dict[str, Any] = json.loads(json.dumps(body))
    spelt["ocg"]["morile_score"] = None
    spelt["contact"]["phone"] = None
    spelt["subject"]["name"] = None
    del spelt["handling"]["conditions"]
    points = json.dumps(body).replace('"score": 37', '"score": 37.0').replace('"source": 2', '"source": 2.0')
    powers = json.dumps(body).replace('"score": 37', '"score": 3.7e1').replace('"source": 2', '"source": 20e-1')
    return {
        "keys in another order": json.dumps(turned).encode(),
        "with spaces": json.dumps(body, indent=3).encode(),
        "without spaces": json.dumps(body, separators=(",", ":")).encode(),
        "escaped": json.dumps(body).replace("Quill", "\\u0051uill").encode(),
        "defaults spelt out, or left out": json.dumps(spelt).encode(),
        "numbers with a point": points.encode(),
        "numbers with a power": powers.encode(),
    }


OTHER_WORDS = _other_words()


@pytest.mark.parametrize("words", OTHER_WORDS)
async def test_it_is_the_meaning_that_counts(cast: Cast, database: Database, words: str) -> None:
    force = await cast.play("SWP")
    first = await force.post("/v1/referrals", content=json.dumps(referral()), headers={**KEY, **JSON})
    again = await force.post("/v1/referrals", content=OTHER_WORDS[words], headers={**KEY, **JSON})
    assert again.status_code == 201, again.text
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert await referrals(database) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": "Another."},
        {"client_reference": None},
        {"addressees": ["EA", "HMRC"]},
        {"crime_types": ["modern_slavery", "drug_trafficking"]},
        {"warnings": []},
    ],
)
async def test_another_meaning_under_the_same_key_is_refused(
    cast: Cast, database: Database, changes: dict[str, Any]
) -> None:
    force = await cast.play("SWP")
    await submitted(force, KEY)
    other = await force.post("/v1/referrals", json=referral(**changes), headers=KEY)
    assert other.status_code == 422
    assert slug(other) == "idempotency-key-reused"
    assert await referrals(database) == 1


async def test_a_key_belongs_to_its_party(cast: Cast, database: Database) -> None:
    """A stranger's same key is another key; a colleague's is the same."""
    owner, colleague, stranger = await cast.play("SWP"), await cast.play("SWP"), await cast.play("GWP")
    mine = await submitted(owner, KEY)
    assert (await submitted(colleague, KEY))["id"] == mine["id"]
    assert (await submitted(stranger, KEY))["id"] != mine["id"]
    assert (
        slug(await stranger.post("/v1/referrals", json=referral(purpose="x"), headers=KEY)) == "idempotency-key-reused"
    )
    assert await referrals(database) == 2


async def test_without_a_key_each_is_its_own(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    assert (await submitted(force))["id"] != (await submitted(force))["id"]
    assert await referrals(database) == 2


async def test_a_refused_body_does_not_use_its_key_up(cast: Cast) -> None:
    force = await cast.play("SWP")
    refused = await force.post("/v1/referrals", json=referral(priority="soon"), headers=KEY)
    assert refused.status_code == 422
    assert (await force.post("/v1/referrals", json=referral(addressees=["XX"]), headers=KEY)).status_code == 422
    await submitted(force, KEY)


async def test_only_a_hash_of_the_key_is_kept(cast: Cast, database: Database) -> None:
    await submitted(await cast.play("SWP"), KEY)
    [row] = await rows(database, "SELECT submission::text AS line FROM submission")
    assert KEY["Idempotency-Key"].encode().hex() not in row["line"]
    assert KEY["Idempotency-Key"] not in row["line"]


async def test_fifty_equal_posts_at_once_make_one_referral(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    answers = await asyncio.gather(*(force.post("/v1/referrals", json=referral(), headers=KEY) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert await referrals(database) == 1
    async with database.transaction() as connection:
        await invariants.check(connection)


async def test_posts_that_share_a_transaction_each_get_their_own_receipt(cast: Cast, database: Database) -> None:
    """Forces, keys, repetitions and conflicts at once: nobody gets another's answer."""
    swp, gwp = await cast.play("SWP"), await cast.play("GWP")

    async def post(number: int) -> tuple[int, Any]:
        client, owner = (swp, "SWP") if number % 2 else (gwp, "GWP")
        body = referral(purpose=f"Number {number}.", client_reference=f"{owner}/{number}")
        # Every tenth pair repeats an earlier key of its force: with the same meaning, or with another.
        headers = {"Idempotency-Key": f"key-{number % 80}"} if number % 3 else None
        return number, await client.post("/v1/referrals", json=body, headers=headers)

    found = await asyncio.gather(*(post(number) for number in range(120)))
    receipts = {}
    for number, answer in found:
        if answer.status_code == 201:
            body = answer.json()
            owner = "SWP" if number % 2 else "GWP"
            assert (body["originator"], body["purpose"]) == (owner, f"Number {number}.")
            receipts[UUID(body["id"])] = referral(purpose=f"Number {number}.", client_reference=f"{owner}/{number}")
        else:
            assert slug(answer) == "idempotency-key-reused"
    assert len(receipts) == await referrals(database)
    assert len(receipts) < 120
    async with database.transaction() as connection:
        await invariants.check(connection, receipts)
    [shared] = await rows(database, "SELECT count(DISTINCT created_at) AS transactions FROM referral")
    assert shared["transactions"] < len(receipts) / 2


@pytest.fixture
async def refusing(database: Database) -> None:
    """A database that refuses one kind of referral, at the statement."""
    await change(
        database,
        "ALTER TABLE referral ADD CONSTRAINT poison CHECK (NOT 'food_crime' = ANY(crime_types)) NOT VALID",
    )


@pytest.mark.usefixtures("refusing")
async def test_one_failing_post_does_not_fail_its_neighbours(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    poison = referral(purpose="poison", crime_types=["food_crime"])
    bodies = [poison if number in (7, 8, 20) else referral(purpose=f"Number {number}.") for number in range(30)]
    answers = await asyncio.gather(
        *(
            force.post("/v1/referrals", json=body, headers={"Idempotency-Key": f"key-{number}"})
            for number, body in enumerate(bodies)
        )
    )
    statuses = [answer.status_code for answer in answers]
    assert [number for number, status in enumerate(statuses) if status != 201] == [7, 8, 20]
    assert [answer.json()["purpose"] for answer in answers if answer.status_code == 201] == [
        body["purpose"] for body in bodies if body["purpose"] != "poison"
    ]
    for number in (7, 8, 20):
        assert slug(answers[number]) == "internal"
        assert "poison" not in answers[number].text
    assert await referrals(database) == 27
    # Nothing of a failed one is left behind: its key is free once the cause is gone.
    await change(database, "ALTER TABLE referral DROP CONSTRAINT poison")
    again = await force.post("/v1/referrals", json=bodies[7], headers={"Idempotency-Key": "key-7"})
    assert again.status_code == 201
    assert "idempotent-replayed" not in again.headers


async def test_where_the_commit_fails_there_is_no_201(cast: Cast, database: Database) -> None:
    """A check that speaks only at the commit: an answer sent before it would be a lie."""
    await change(
        database,
        """CREATE FUNCTION fail_at_commit() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'integrity_constraint_violation'; END $$""",
    )
    await change(
        database,
        "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON referral DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION fail_at_commit()",
    )
    force = await cast.play("SWP")
    answers = await asyncio.gather(*(force.post("/v1/referrals", json=referral(), headers=KEY) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {500}
    assert all("location" not in answer.headers for answer in answers)
    assert await referrals(database) == 0
    await change(database, "DROP TRIGGER at_commit ON referral")
    assert (await submitted(force, KEY))["state"] == "accepted"


@pytest.mark.parametrize("call", ["cancel", "acknowledgement", "response", "inbox", "item"])
async def test_no_other_call_answers_before_its_commit_either(
    cast: Cast, workers: Workers, database: Database, call: str
) -> None:
    force, agency = await cast.play("SWP"), await cast.play("HMRC")
    made = await submitted(force)
    await workers.run()
    [row] = await rows(database, "SELECT id FROM dispatch WHERE agency = 'HMRC'")
    await change(
        database,
        """CREATE FUNCTION fail_at_commit() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'integrity_constraint_violation'; END $$""",
    )
    await change(
        database,
        "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON audit_event DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION fail_at_commit()",
    )
    async with database.transaction() as connection:
        before = await table_counts(connection, ["referral", "dispatch", "response", "audit_event"])
    item = f"/v1/inbox/{row['id']}"
    answer = await {
        "cancel": lambda: force.post(f"/v1/referrals/{made['id']}/cancel", json={"reason": "no longer needed"}),
        "acknowledgement": lambda: agency.post(f"{item}/acknowledgement"),
        "response": lambda: agency.post(f"{item}/response", json={"outcome": "no_hit"}),
        "inbox": lambda: agency.get("/v1/inbox"),
        "item": lambda: agency.get(item),
    }[call]()
    assert answer.status_code >= 500
    assert "Quill" not in answer.text
    async with database.transaction() as connection:
        assert await table_counts(connection, list(before)) == before
    [row] = await rows(database, "SELECT state FROM dispatch WHERE agency = 'HMRC'")
    assert row["state"] == "queued"


async def test_a_key_whose_first_request_is_not_done_yet_is_told_so(cast: Cast, database: Database) -> None:
    """Its twin holds the key in a transaction of another process, and does not come to its end."""
    force = await cast.play("SWP")
    await submitted(force, KEY)
    [row] = await rows(database, "SELECT party, key, sameness, referral_id FROM submission")
    await change(database, "DELETE FROM submission")
    async with database.engine.connect() as twin:
        await twin.execute(text("INSERT INTO submission VALUES (:party, :key, :sameness, :referral_id)"), row)
        waiting, free = await asyncio.gather(
            force.post("/v1/referrals", json=referral(), headers=KEY), force.post("/v1/referrals", json=referral())
        )
        assert waiting.status_code == 409
        assert slug(waiting) == "idempotency-in-flight"
        assert waiting.headers["retry-after"]
        assert free.status_code == 201
        await twin.commit()
    assert (await submitted(force, KEY))["id"] == str(row["referral_id"])


async def test_an_agency_and_its_originators_key_are_one_party(cast: Cast) -> None:
    first = await submitted(await cast.play("HMRC", Role.ORIGINATOR), KEY, addressees=["DWP"])
    again = await submitted(await cast.play("HMRC", Role.ORIGINATOR), KEY, addressees=["DWP"])
    assert first["id"] == again["id"]
