"""What is kept of a batch: who reads it, what the log says, what is swept away and when."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from app.access.policy import Role
from app.access.principal import Principal
from app.crypto.keys import Keys
from app.db import AS_WORKER, Database
from app.parties.directory import DirectoryCache
from app.referrals.batches import receive as receiving
from app.referrals.batches import store, sweep
from app.referrals.batches.models import Format
from app.settings import Settings
from tests.acts import change, eventually, rows, slug
from tests.app.batch_files import NDJSON, PATH, counts, errors, lines, read, sent, sheet, sound
from tests.conftest import SECRET, Cast, Workers, referral
from workers.tasks.scheduler import SCHEDULER


async def test_what_rows_say_is_nowhere_but_sealed(cast: Cast, workers: Workers, database: Database) -> None:
    canary = "Quillfeather"
    force = await cast.play("SWP")
    said = {
        "subject": {"kind": "person", "family_name": canary, "given_names": canary},
        "purpose": canary,
        "client_reference": canary,
    }
    whole = json.dumps({**referral(**said)}).encode()
    wrong = [
        json.dumps({**referral(**said), "priority": canary, canary: canary}).encode(),
        whole.replace(b'"kind": "person"', f'"kind": "{canary}"'.encode()),
        whole[:-1],
    ]
    batch = await sent(force, b"\n".join([whole, *wrong]))
    tables = ["batch", "batch_row", "batch_error", "submission", "audit_event"]
    stored = [str(await rows(database, f"SELECT t::text AS line FROM {name} t")) for name in tables]  # noqa: S608
    told = str(await errors(force, batch))
    await workers.run()
    stored += [str(await rows(database, f"SELECT t::text AS line FROM {name} t")) for name in tables]  # noqa: S608
    for text in (*stored, told, str(await errors(force, batch))):
        assert canary not in text
        assert canary.encode().hex() not in text
    assert len(await errors(force, batch)) == 3


async def test_strangers_find_no_batch(cast: Cast) -> None:
    force, colleague, stranger = await cast.play("SWP"), await cast.play("SWP"), await cast.play("GWP")
    batch = await sent(force, lines(1) + b"{}\n")
    for path in (f"{PATH}/{batch['id']}", f"{PATH}/{batch['id']}/errors"):
        assert (await colleague.get(path)).status_code == 200
        answer = await stranger.get(path)
        assert (answer.status_code, slug(answer)) == (404, "not-found")
    assert [one["id"] for one in (await colleague.get(PATH)).json()["items"]] == [batch["id"]]
    assert (await stranger.get(PATH)).json() == {"items": [], "next": None}
    for party in ("HMRC", "TARIAN", "GAIN"):
        other = await cast.play(party)
        assert (await other.get(f"{PATH}/{batch['id']}")).status_code == 403


async def test_batches_and_errors_are_read_page_by_page(cast: Cast) -> None:
    force = await cast.play("SWP")
    made = [(await sent(force, b"{}\n" * 5))["id"] for _ in range(3)]
    seen, path = [], f"{PATH}?limit=2"
    while path:
        page = await force.get(path)
        seen += [one["id"] for one in page.json()["items"]]
        path = page.links["next"]["url"] if page.json()["next"] else ""
    assert seen == made[::-1]
    told, path = [], f"{PATH}/{made[0]}/errors?limit=2"
    while path:
        page = await force.get(path)
        told += [one["row"] for one in page.json()["items"]]
        path = page.links["next"]["url"] if page.json()["next"] else ""
    assert told == [1, 2, 3, 4, 5]
    answer = await force.get(f"{PATH}/{made[0]}/errors?cursor=bm9uc2Vuc2U")
    assert (answer.status_code, slug(answer)) == (400, "bad-cursor")


async def test_the_log_tells_of_the_batch_and_of_each_referral(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force = await cast.play("SWP")
    batch = await sent(force, lines(2) + b"{}\n", **{"X-Request-Id": "00f067aa0ba902b7"})
    await workers.run()
    found = await rows(
        database,
        "SELECT operation, action, party, request_id, detail FROM audit_event"
        " WHERE action LIKE 'batch.%' OR action = 'referral.accepted' ORDER BY id",
    )
    assert [(row["operation"], row["action"], row["party"], row["request_id"]) for row in found] == [
        ("collection", "batch.received", "SWP", "00f067aa0ba902b7"),
        ("collection", "referral.accepted", "SWP", "00f067aa0ba902b7"),
        ("collection", "referral.accepted", "SWP", "00f067aa0ba902b7"),
        ("alteration", "batch.completed", "GAIN", None),
    ]
    assert found[0]["detail"] == {"batch": batch["id"], "rows": 3, "rejected": 1}
    assert found[-1]["detail"] == {"batch": batch["id"], "total": 3, "accepted": 2, "repeated": 0, "rejected": 1}
    assert await rows(database, "SELECT 1 FROM batch_row") == []
    assert await rows(database, "SELECT 1 FROM data_key JOIN batch ON referral_id = batch.id") == []


async def swept(database: Database) -> None:
    async with database.transaction(AS_WORKER) as connection:
        await sweep.clear_cut_off(connection, SCHEDULER)


async def test_an_upload_whose_gateway_died_is_cleared_away_and_its_key_free(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """As a killed gateway leaves it: rows are stored, and nobody will close the batch."""
    force = await cast.play("SWP")
    await sent(force, lines(3), **{"Idempotency-Key": "died"})
    await change(database, "UPDATE batch SET state = 'receiving', received_at = NULL")
    headers = {"Content-Type": NDJSON, "Idempotency-Key": "died"}
    busy = await force.post(PATH, content=lines(3), headers=headers)
    assert (busy.status_code, slug(busy)) == (409, "idempotency-in-flight")
    await workers.run()
    assert await rows(database, "SELECT 1 FROM referral") == []
    await change(database, "UPDATE batch SET touched_at = now() - interval '2 minutes'")
    again = await sent(force, lines(3), **headers)
    await swept(database)
    await workers.run()
    assert counts(await read(force, again)) == ("completed", 3, 3, 0, 0)
    states = await rows(database, "SELECT state FROM batch ORDER BY id")
    assert [row["state"] for row in states] == ["incomplete", "completed"]
    await sound(database)


async def test_a_batch_that_was_given_up_meanwhile_takes_no_more(
    configuration: Settings, database: Database, cast: Cast
) -> None:
    force = await cast.play("SWP")

    async def slowly() -> AsyncIterator[bytes]:
        yield lines(receiving._STORE_ROWS)
        await eventually(lambda: rows(database, "SELECT 1 FROM batch_row LIMIT 1"))
        await change(database, "UPDATE batch SET touched_at = now() - interval '2 minutes'")
        await swept(database)
        yield lines(3)

    answer = await force.post(PATH, content=slowly(), headers={"Content-Type": NDJSON})
    assert (answer.status_code, slug(answer)) == (408, "body-timeout")
    assert await rows(database, "SELECT 1 FROM batch_row") == []


async def test_the_record_of_a_batch_goes_after_its_time(cast: Cast, workers: Workers, database: Database) -> None:
    force = await cast.play("SWP")
    old, young = await sent(force, lines(1) + b"{}\n"), await sent(force, lines(2))
    await workers.run()
    long_ago = "UPDATE batch SET completed_at = now() - make_interval(days => :days) WHERE id = :id"
    await change(database, long_ago, id=old["id"], days=sweep.KEPT_DAYS + 1)
    async with database.transaction(AS_WORKER) as connection:
        assert await sweep.forget_old(connection, SCHEDULER) == 1
    assert (await force.get(f"{PATH}/{old['id']}")).status_code == 404
    assert (await force.get(f"{PATH}/{young['id']}")).status_code == 200
    assert await rows(database, "SELECT 1 FROM batch_error") == []
    again = await sent(force, lines(1))
    await workers.run()
    assert counts(await read(force, again)) == ("completed", 1, 1, 1, 0)


async def test_a_body_silent_for_long_is_refused(
    cast: Cast, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SILENT_SECONDS", 0.2)
    force = await cast.play("SWP")

    async def silent() -> AsyncIterator[bytes]:
        yield lines(2)
        await asyncio.sleep(30)

    answer = await force.post(PATH, content=silent(), headers={"Content-Type": NDJSON})
    assert (answer.status_code, slug(answer)) == (408, "body-timeout")
    assert [row["state"] for row in await rows(database, "SELECT state FROM batch")] == ["incomplete"]


async def test_a_page_gives_the_same_verb_an_iterator_of_bytes(
    configuration: Settings, database: Database, cast: Cast, workers: Workers
) -> None:
    """What the upload page of the forces calls: no request, only bytes."""
    desk = receiving.Desk(database, Keys(SECRET.encode()), DirectoryCache())

    async def body() -> AsyncIterator[bytes]:
        whole = sheet({}, {"client_reference": "SWP/2"})
        for at in range(0, len(whole), 7):
            yield whole[at : at + 7]

    received = await receiving.receive(desk, Principal("SWP", Role.ORIGINATOR, "page"), Format.CSV, body())
    await workers.run()
    force = await cast.play("SWP")
    assert counts(await read(force, {"id": received.id})) == ("completed", 2, 2, 0, 0)
