"""What identifies anybody is sealed in the database, opens for who may read it, and without its key for nobody."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import Route

from app.crypto.vault import blind_index_of
from app.db import Database
from app.logs import logger
from app.main import create_app
from app.referrals.same_subject import same_subject
from app.settings import Settings
from app.wake import Nobody
from app.web import health
from tests import invariants
from tests.acts import change, dispatched, rows, submitted
from tests.app.encryption import (
    CANARY,
    MARKED,
    OTHER_RING,
    WRONG_RING,
    _tell_everything,
    a_whole_exchange,
    everything,
    gateway,
    unavailable,
)
from tests.conftest import RING, Cast, Workers, referral
from workers.adapters.contract import Adapter, Answered, Envelope, Result

__all__ = ["_tell_everything"]


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
