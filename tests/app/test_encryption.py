"""What identifies anybody is sealed in the database, opens for who may read it, and without its key for nobody."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from pydantic import SecretStr
from sqlalchemy import text
from starlette.routing import Route

from app.crypto import refusal
from app.crypto.rotation import BATCH, forget, usage, wrap_all
from app.crypto.sealing import Place
from app.crypto.vault import blind_index_of, data_keys
from app.db import Database
from app.logs import logger
from app.main import create_app
from app.referrals import seal_earlier as sealing
from app.referrals.reasons import reason_of
from app.referrals.same_subject import same_subject
from app.referrals.seal_earlier import seal_earlier
from app.settings import Settings
from app.wake import Nobody
from app.web import health
from tests import invariants
from tests.acts import QUESTION, change, dispatched, inbox, rows, submitted
from tests.conftest import HIT, RING, Cast, Workers, referral
from workers.adapters.contract import Adapter, Answered, Envelope, Result

CANARY = "Zzyxquill"
OTHER_RING = "another:" + "B" * 42 + "A"
WRONG_RING = RING.partition(":")[0] + ":" + "B" * 42 + "A"
BOTH_RINGS = f"{RING} *{OTHER_RING}"
MARKED = {
    "purpose": f"{CANARY} purpose",
    "information_sought": f"{CANARY} sought",
    "operation_name": CANARY,
    "client_reference": CANARY,
    "contact": {"name": f"{CANARY} desk", "email": f"{CANARY}@example.invalid"},
    "ocg": {"reference": CANARY},
    "subject": referral()["subject"]
    | {
        "family_name": CANARY,
        "addresses": [{"lines": [CANARY]}],
        "identifiers": [{"type": "passport", "value": CANARY}],
    },
}


def unavailable(answer: httpx.Response) -> None:
    """It is a 503 that says when to come again, and nothing else."""
    assert answer.status_code == 503, answer.text
    assert answer.json()["type"] == "/problems/unavailable"
    assert int(answer.headers["retry-after"]) > 1
    assert not any(word in answer.text for word in (CANARY, "Quill", "ring"))


@pytest.fixture(autouse=True)
def _tell_everything() -> Iterator[None]:
    """What one test made the log say is not held back from the next."""
    refusal._told.clear()
    yield
    refusal._told.clear()


@asynccontextmanager
async def gateway(configuration: Settings, ring: str) -> AsyncIterator[Cast]:
    """A gateway on the same database, with this key ring."""
    changed = configuration.model_copy(update={"key_ring": SecretStr(ring)})
    app, database = create_app(changed, Nobody()), Database(changed)
    async with app.router.lifespan_context(app):
        played = Cast(database, httpx.ASGITransport(app, raise_app_exceptions=False))
        yield played
        await played.close()
    await database.close()


async def everything(database: Database) -> str:
    """Every value of every row of every table."""
    tables = await rows(database, "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")
    found = []
    for table in tables:
        found += await rows(database, f"SELECT CAST(t AS text) AS row FROM {table['name']} AS t")  # noqa: S608
    plain = "\n".join(row["row"] for row in found)
    return plain.replace(CANARY.encode().hex(), CANARY)  # bytea is shown in hexadecimal digits


async def a_whole_exchange(cast: Cast, workers: Workers) -> tuple[httpx.AsyncClient, str]:
    """A referral with a question, a message, an answer, and reasons for whatever takes one; all of it marked."""
    force, [made] = await dispatched(cast, workers, "HMRC", "EA", "DVLA", **MARKED)
    coordinator, agency = await cast.play("TARIAN"), await cast.play("HMRC")
    [item] = await inbox(agency)
    asked = await agency.post(f"/v1/inbox/{item['id']}/response", json=QUESTION | {"summary": f"{CANARY} asks"})
    assert asked.status_code == 201
    message = {"dispatch_id": item["id"], "text": f"{CANARY} replies"}
    assert (await force.post(f"/v1/referrals/{made['id']}/messages", json=message)).status_code == 200
    hit = HIT | {"summary": f"{CANARY} answers", "contact": CANARY}
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=hit)).status_code == 201
    dispatches = (await force.get(f"/v1/referrals/{made['id']}")).json()["dispatches"]
    other = next(one["id"] for one in dispatches if one["agency"] == "EA")
    reason = {"reason": f"{CANARY} reason"}
    for path in (f"dispatches/{other}/cancel", f"referrals/{made['id']}/hold"):
        answer = await coordinator.post(f"/v1/{path}", json=reason)
        assert answer.status_code == 200, answer.text
    held = (await force.get(f"/v1/referrals/{made['id']}")).json()
    assert (held["state"], held["reason"]) == ("held", f"{CANARY} reason")
    assert (await coordinator.post(f"/v1/referrals/{made['id']}/release")).json()["reason"] is None
    cancelled = await force.post(f"/v1/referrals/{made['id']}/cancel", json=reason)
    assert cancelled.json()["reason"] == f"{CANARY} reason"
    return force, made["id"]


async def test_nothing_of_it_stands_in_the_database_and_all_of_it_is_read(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, key = await a_whole_exchange(cast, workers)
    assert CANARY not in await everything(database)
    read = (await force.get(f"/v1/referrals/{key}")).json()
    assert {name: read[name] for name in MARKED} == {**MARKED, "subject": MARKED["subject"]}
    product = (await force.get(f"/v1/referrals/{key}/product")).text
    assert f"{CANARY} answers" in product
    answers = (await force.get(f"/v1/referrals/{key}/responses")).json()["items"]
    assert [answer["summary"] for answer in answers] == [f"{CANARY} asks", f"{CANARY} answers"]
    agency = await cast.play("HMRC")
    item = (await agency.get(f"/v1/inbox/{answers[0]['dispatch_id']}")).json()
    assert [message["text"] for message in item["messages"]] == [f"{CANARY} asks", f"{CANARY} replies"]
    async with database.transaction() as connection:
        await invariants.check(connection)


async def test_the_search_sees_what_lies_open(cast: Cast, database: Database) -> None:
    """A search that finds nothing anywhere would prove nothing."""
    await submitted(await cast.play("SWP"))
    for statement in (
        "UPDATE referral SET created_by = 'Zzyxquill'",
        "UPDATE referral SET content = convert_to('a Zzyxquill b', 'UTF8')",
    ):
        assert CANARY not in await everything(database)
        await change(database, statement)
        assert CANARY in await everything(database)
        await change(database, "UPDATE referral SET created_by = ''")


async def test_a_referral_nobody_is_to_be_asked_about_says_so(cast: Cast, workers: Workers, database: Database) -> None:
    await change(database, "DELETE FROM routing_rule")
    force = await cast.play("SWP")
    made = await submitted(force, addressees=None)
    await workers.run()
    read = (await force.get(f"/v1/referrals/{made['id']}")).json()
    assert read["state"] == "held"
    assert read["reason"] == "No addressee was named and the routing matrix chooses none."


TAMPERED = {
    "moved from another referral": "UPDATE referral SET content = (SELECT content FROM referral WHERE id <> :id) "
    "WHERE id = :id",
    "moved with its data key": """
        WITH other AS (SELECT * FROM data_key WHERE referral_id <> :id),
        keyed AS (UPDATE data_key SET wrapped = other.wrapped FROM other WHERE data_key.referral_id = :id)
        UPDATE referral SET content = (SELECT content FROM referral WHERE id <> :id) WHERE id = :id
    """,
    "plain text put in": 'UPDATE referral SET content = \'{"purpose": "Zzyxquill"}\' WHERE id = :id',
    "changed": "UPDATE referral SET content = set_byte(content, 20, get_byte(content, 20) # 1) WHERE id = :id",
    "its data key deleted": "DELETE FROM data_key WHERE referral_id = :id",
    "its data key under an unknown ring key": "UPDATE data_key SET ring_key = 'nowhere' WHERE referral_id = :id",
}


@pytest.mark.parametrize("statement", TAMPERED.values(), ids=TAMPERED)
async def test_what_was_tampered_with_is_refused_and_never_shown(
    cast: Cast, workers: Workers, database: Database, statement: str
) -> None:
    force, [made, other] = await dispatched(cast, workers, "HMRC", count=2)
    await change(database, statement, id=UUID(made["id"]))
    agency = await cast.play("HMRC")
    for answer in (
        await force.get(f"/v1/referrals/{made['id']}"),
        await force.get("/v1/referrals"),
        await agency.get("/v1/inbox?limit=10"),
    ):
        unavailable(answer)
    assert (await force.get(f"/v1/referrals/{other['id']}")).status_code == 200
    # What could not be shown was not disclosed either.
    assert await rows(database, "SELECT id FROM dispatch WHERE delivered_at IS NOT NULL") == []


@pytest.mark.parametrize("ring", ["", OTHER_RING, WRONG_RING], ids=["missing", "lacks the key", "wrong"])
async def test_without_its_key_the_gateway_says_so_and_stores_nothing_it_cannot_read(
    cast: Cast,
    configuration: Settings,
    database: Database,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    ring: str,
) -> None:
    monkeypatch.setattr(health, "log", logger())  # not one that an earlier test's stderr was bound to
    made = await submitted(await cast.play("SWP"))
    async with gateway(configuration, ring) as other:
        force, probe = await other.play("SWP"), other.client({})
        capsys.readouterr()
        answers = [await force.get(f"/v1/referrals/{made['id']}") for _ in range(20)]
        for answer in answers:
            unavailable(answer)
        told = [line for line in capsys.readouterr().err.splitlines() if "content cannot be opened or sealed" in line]
        assert len(told) == 1
        ready = await probe.get("/health/ready")
        assert (ready.status_code, ready.json()["checks"]["keys"]) == (503, "away")
        assert ready.json()["checks"]["database"] == "ok"
        unavailable(await force.post("/v1/referrals", json=referral()))
    assert (await rows(database, "SELECT count(*) AS number FROM referral"))[0]["number"] == 1


async def test_with_its_keys_it_is_ready(cast: Cast) -> None:
    await submitted(await cast.play("SWP"))
    ready = await cast.client({}).get("/health/ready")
    assert ready.json()["checks"]["keys"] == "ok"


# What an older version stored


@asynccontextmanager
async def lying_open(database: Database) -> AsyncIterator[None]:
    """All that is there as an older version left it: open, with no data key and no index."""
    async with database.transaction() as connection:
        keys = await data_keys(
            connection, [row.id for row in await connection.execute(text("SELECT id FROM referral"))]
        )
        for table, referral_id in (("referral", "id"), ("response", "referral_id"), ("message", "referral_id")):
            found = await connection.execute(text(f"SELECT id, {referral_id} AS referral, content FROM {table}"))  # noqa: S608
            for row in found.all():
                plain = keys[row.referral].open(Place(table, "content", row.id), row.content)
                await connection.execute(
                    text(f"UPDATE {table} SET content = :plain, sealed = false WHERE id = :id"),  # noqa: S608
                    {"plain": plain, "id": row.id},
                )
        for table, column, referral_id in (("referral", "reason", "id"), ("dispatch", "ended_because", "referral_id")):
            found = await connection.execute(
                text(
                    f"SELECT id, {referral_id} AS referral, sealed_reason FROM {table} "  # noqa: S608
                    "WHERE sealed_reason IS NOT NULL"
                )
            )
            for row in found.all():
                reason = keys[row.referral].open(reason_of(table, row.id), row.sealed_reason).decode()
                await connection.execute(
                    text(f"UPDATE {table} SET {column} = :plain, sealed_reason = NULL WHERE id = :id"),  # noqa: S608
                    {"plain": reason, "id": row.id},
                )
        await connection.execute(text("DELETE FROM data_key"))
        await connection.execute(text("DELETE FROM subject_index"))
    yield


Shown = dict[str, Any]


async def shown(force: httpx.AsyncClient, key: str) -> Shown:
    return {path: (await force.get(f"/v1/referrals/{key}{path}")).json() for path in ("", "/responses")}


async def test_what_an_older_version_stored_is_read_and_then_sealed(
    cast: Cast, workers: Workers, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "BATCH", 2)
    force, key = await a_whole_exchange(cast, workers)
    for _ in range(4):
        await submitted(force, **MARKED)
    before, indexed = await shown(force, key), await rows(database, "SELECT * FROM subject_index ORDER BY 1, 2")
    async with lying_open(database):
        assert CANARY in await everything(database)
        assert await shown(force, key) == before

    ended = []

    def end(done: int) -> None:
        ended.append(done)
        if len(ended) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await seal_earlier(database, end)
    assert await shown(force, key) == before
    assert CANARY in await everything(database)
    rest = await seal_earlier(database, lambda done: None)
    assert rest == 5 + 2 + 1 + 1 - 4
    assert CANARY not in await everything(database)
    assert await shown(force, key) == before
    assert await rows(database, "SELECT * FROM subject_index ORDER BY 1, 2") == indexed
    assert await seal_earlier(database, lambda done: None) == 0
    async with database.transaction() as connection:
        await invariants.check(connection)


async def test_what_lies_open_can_still_be_answered(cast: Cast, workers: Workers, database: Database) -> None:
    """Before `gain migrate` is through: the answer is sealed, under the data key that the rest will get."""
    force, [made] = await dispatched(cast, workers, "HMRC")
    async with lying_open(database):
        agency = await cast.play("HMRC")
        [item] = await inbox(agency)
        await agency.post(f"/v1/inbox/{item['id']}/response", json=HIT | {"summary": CANARY})
    assert CANARY not in await everything(database)
    await seal_earlier(database, lambda done: None)
    [answer] = (await force.get(f"/v1/referrals/{made['id']}/responses")).json()["items"]
    assert answer["summary"] == CANARY


# Rotation


async def test_rotation_wraps_every_key_anew_while_referrals_come_in_and_goes_on_after_a_kill(
    cast: Cast,
    configuration: Settings,
    as_owner: Settings,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.crypto.rotation.BATCH", 3)
    force = await cast.play("SWP")
    made = [await submitted(force, purpose=f"Number {number}.") for number in range(8)]
    contents = await rows(database, "SELECT id, content FROM referral ORDER BY id")
    rotating = Database(as_owner.model_copy(update={"key_ring": SecretStr(BOTH_RINGS)}))

    def kill(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await wrap_all(rotating, "another", kill)
    async with database.transaction() as connection:
        used = await usage(connection)
    assert sorted(used.values()) == [3, 5]

    async with gateway(configuration, BOTH_RINGS) as other:
        newer = await other.play("SWP")

        async def submitting() -> None:
            for number in range(5):
                made.append(await submitted(newer, purpose=f"Number {8 + number}."))

        told: list[int] = []
        done, _ = await asyncio.gather(wrap_all(rotating, "another", told.append), submitting())
        assert (done, told) == (5, [3, 5])
        async with database.transaction() as connection:
            assert dict(await usage(connection)) == {"another": 13}
        for number, one in enumerate(made):
            assert (await newer.get(f"/v1/referrals/{one['id']}")).json()["purpose"] == f"Number {number}."
        assert await wrap_all(rotating, "another", told.append) == 0
        await rotating.close()
    # Content was not touched: only what wraps its keys.
    again = await rows(database, "SELECT id, content FROM referral ORDER BY id")
    assert again[:8] == contents
    assert BATCH > 3
    assert (await rows(database, "SELECT count(*) AS number FROM ring_key"))[0]["number"] == 2
    old = RING.partition(":")[0]
    async with database.transaction() as connection:
        assert await forget(connection, "another") == 13
        assert await forget(connection, old) == 0
    async with gateway(configuration, OTHER_RING) as without_the_old_key:
        read = await (await without_the_old_key.play("SWP")).get(f"/v1/referrals/{made[0]['id']}")
        assert read.status_code == 200


# The blind index


async def test_the_same_subject_is_found_by_name_and_birth_date_or_by_an_identifier(
    cast: Cast, database: Database
) -> None:
    force = await cast.play("SWP")
    first = UUID((await submitted(force))["id"])
    subject = referral()["subject"]
    by_name = UUID((await submitted(force, subject=subject | {"identifiers": [], "aliases": []}))["id"])
    by_vehicle = {"kind": "vehicle", "identifiers": [{"type": "vehicle_registration", "value": "cx14abc"}]}
    vehicle = UUID((await submitted(force, subject=by_vehicle))["id"])
    await submitted(force, subject=subject | {"given_names": "Rhodri", "aliases": [], "identifiers": []})
    async with database.transaction() as connection:
        digests = [blind.digest for blind in blind_index_of(connection).of(subject)]
        found = await same_subject(connection, digests, besides=first)
        assert found == {by_name: {"person"}, vehicle: {"identifier"}}
        assert set(await same_subject(connection, digests)) == {first, by_name, vehicle}


async def test_a_submission_that_is_repeated_is_indexed_once(cast: Cast, database: Database) -> None:
    force, key = await cast.play("SWP"), {"Idempotency-Key": "once"}
    await asyncio.gather(*(force.post("/v1/referrals", json=referral(), headers=key) for _ in range(6)))
    counted = "SELECT (SELECT count(*) FROM data_key) AS keys, (SELECT count(*) FROM subject_index) AS digests"
    assert await rows(database, counted) == [{"keys": 1, "digests": 3}]


# Workers


class _Instant(Adapter):
    """Answers at once that it knows nothing."""

    async def deliver(self, envelope: Envelope) -> Result:
        assert envelope.referral["purpose"]
        return Answered({"outcome": "no_hit"})


async def test_a_dispatch_that_cannot_be_opened_is_put_off_and_goes_out_when_it_can(
    cast: Cast, database: Database, run: Callable[[], Any]
) -> None:
    force = await cast.play("SWP")
    bad, good = [await submitted(force, addressees=["HMRC"]) for _ in range(2)]
    await change(database, "UPDATE data_key SET ring_key = 'away' WHERE referral_id = :id", id=UUID(bad["id"]))
    looked = "SELECT referral_id, state, failures, last_failure, delivered_at FROM dispatch"
    for _ in range(12):  # more often than a hand-over may fail
        await run()
        found = {row["referral_id"]: row for row in await rows(database, looked)}
        waiting = found[UUID(bad["id"])]
        assert (waiting["state"], waiting["failures"], waiting["delivered_at"]) == ("queued", 0, None)
        assert waiting["last_failure"] == "its content cannot be opened"
        assert found[UUID(good["id"])]["state"] == "answered"
        await change(database, "UPDATE dispatch SET due_delivery_at = now() WHERE state = 'queued'")
    name = RING.partition(":")[0]
    await change(database, "UPDATE data_key SET ring_key = :name", name=name)
    await run()
    assert {row["state"] for row in await rows(database, looked)} == {"answered"}
    async with database.transaction() as connection:
        await invariants.check(connection)


@pytest.fixture
def run(workers: Workers) -> Callable[[], Any]:
    """What moves everything that is due to an agency that answers at once."""

    async def go() -> None:
        await workers.run({"HMRC": _Instant()})

    return go


# Uploads


async def test_no_route_takes_a_file(configuration: Settings) -> None:
    """Starlette would write what it does not hold in memory to a temporary file."""
    app = create_app(configuration, Nobody())
    forms = []
    for route in (context.original_route for context in iter_route_contexts(app.routes)):
        field = getattr(route, "body_field", None)
        if isinstance(route, Route) and field is not None and "Form" in type(field.field_info).__name__:
            forms.append(route.path)
            assert "File" not in type(field.field_info).__name__
            assert "binary" not in str(field.field_info.annotation)
    assert {"/sign-in", "/account/password"} <= set(forms)
