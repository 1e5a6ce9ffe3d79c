"""Many referrals in one file: what a force sends, what becomes of it, and what it is told of rows that are wrong."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest

from app.access.policy import Role
from app.access.principal import Principal
from app.crypto.keys import Keys
from app.db import AS_WORKER, Database
from app.parties.directory import DirectoryCache
from app.referrals.batches import receive as receiving
from app.referrals.batches import store, sweep
from app.referrals.batches.accept import SLICE
from app.referrals.batches.columns import template
from app.referrals.batches.models import Format
from app.settings import Settings
from tests.acts import Document, change, eventually, opened, rows, slug, submitted
from tests.conftest import SECRET, Cast, Workers, gateway, referral
from tests.invariants import check
from workers.tasks.scheduler import SCHEDULER

PATH = "/v1/referral-batches"
CSV, NDJSON = "text/csv", "application/x-ndjson"
FLAT = {
    "client_reference": "SWP/1",
    "subject_kind": "person",
    "family_name": "Quill",
    "given_names": "Rhys Alun",
    "date_of_birth": "07/03/1984",
    "criterion": "mapped_ocg",
    "crime_types": "drug_trafficking; modern_slavery",
    "priority": "routine",
    "purpose": "Identify vehicles, employment and premises.",
    "legal_basis": "common_law_policing_purpose",
    "marking": "OFFICIAL-SENSITIVE",
    "source_evaluation": "2",
    "intelligence_assessment": "B",
    "handling_code": "P",
    "addressees": "HMRC;EA",
    "vehicle_registration": "CX14 ABC; CX15 ABC",
    "address_1": "Plot 9; Heol y Mynydd",
    "postcode_1": "CF48 1AA",
    "alias_1_family_name": "Quille",
    "ocg_reference": "SWP-0142",
    "ocg_score": "37",
}


def line(number: int, **changes: Any) -> bytes:
    """One row of NDJSON."""
    changes = {"client_reference": f"SWP/{number}", "addressees": ["HMRC"], **changes}
    return json.dumps(referral(**changes)).encode() + b"\n"


def lines(count: int, **changes: Any) -> bytes:
    return b"".join(line(number, **changes) for number in range(1, count + 1))


def sheet(*cells: Mapping[str, str]) -> bytes:
    """A CSV file of these rows, each with changes to a sound one."""
    written = io.StringIO()
    found = [{**FLAT, **changed} for changed in cells]
    writer = csv.DictWriter(written, list(found[0]))
    writer.writeheader()
    writer.writerows(found)
    return written.getvalue().encode()


async def sent(client: httpx.AsyncClient, body: bytes, kind: str = NDJSON, **headers: str) -> Document:
    """A batch just received."""
    answer = await client.post(PATH, content=body, headers={"Content-Type": kind, **headers})
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"{PATH}/{answer.json()['id']}"
    found: Document = answer.json()
    return found


async def read(client: httpx.AsyncClient, batch: Document) -> Document:
    found: Document = (await client.get(f"{PATH}/{batch['id']}")).json()
    return found


async def errors(client: httpx.AsyncClient, batch: Document) -> list[Document]:
    answer = await client.get(f"{PATH}/{batch['id']}/errors")
    assert answer.status_code == 200, answer.text
    found: list[Document] = answer.json()["items"]
    return found


async def sound(database: Database) -> None:
    """Nothing is lost, doubled or left open."""
    async with database.transaction() as connection:
        await check(connection)


def counts(batch: Document) -> tuple[Any, ...]:
    return batch["state"], batch["total"], batch["accepted"], batch["repeated"], batch["rejected"]


async def test_every_row_of_a_file_becomes_a_referral_that_agencies_get(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force = await cast.play("SWP")
    batch = await sent(force, lines(SLICE + 20))
    assert counts(batch) == ("accepting", 120, 0, 0, 0)
    await workers.run()
    assert counts(await read(force, batch)) == ("completed", 120, 120, 0, 0)
    found = await rows(database, "SELECT state, originator, region FROM referral")
    assert {tuple(row.values()) for row in found} == {("in_progress", "SWP", "TARIAN")}
    agency = await cast.play("HMRC")
    assert len((await agency.get("/v1/inbox", params={"limit": 500})).json()["items"]) == 120
    await sound(database)


async def test_a_spreadsheet_says_the_same_as_the_document(cast: Cast, workers: Workers, database: Database) -> None:
    force = await cast.play("SWP")
    await sent(force, b"\xef\xbb\xbf" + sheet({}), CSV)
    await workers.run()
    [content] = (await opened(database)).values()
    assert content == {
        "subject": {
            "kind": "person",
            "family_name": "Quill",
            "given_names": "Rhys Alun",
            "date_of_birth": "1984-03-07",
            "aliases": [{"family_name": "Quille"}],
            "addresses": [{"lines": ["Plot 9", "Heol y Mynydd"], "postcode": "CF48 1AA"}],
            "identifiers": [
                {"type": "vehicle_registration", "value": "CX14 ABC"},
                {"type": "vehicle_registration", "value": "CX15 ABC"},
            ],
        },
        "ocg": {"reference": "SWP-0142", "score": 37},
        "criterion": "mapped_ocg",
        "crime_types": ["drug_trafficking", "modern_slavery"],
        "priority": "routine",
        "purpose": "Identify vehicles, employment and premises.",
        "legal_basis": "common_law_policing_purpose",
        "marking": "OFFICIAL-SENSITIVE",
        "grading": {"source": 2, "assessment": "B"},
        "handling": {"code": "P"},
        "addressees": ["HMRC", "EA"],
        "client_reference": "SWP/1",
    }


async def test_what_is_wrong_is_told_by_row_and_column_and_the_rest_goes_on(cast: Cast, workers: Workers) -> None:
    force = await cast.play("SWP")
    batch = await sent(
        force,
        sheet(
            {},
            {"client_reference": "SWP/2", "date_of_birth": "31/02/1984", "vehicle_registration": "AB1;X"},
            {"client_reference": "", "addressees": "SWP"},
            {"client_reference": "SWP/4", "addressees": "HMRC; NOBODY"},
            {"client_reference": "SWP/5", "handling_code": "C"},
            {"client_reference": "SWP/6", "source_evaluation": "two", "address_1": "", "postcode_1": "X"},
        ),
        CSV,
    )
    await workers.run()
    assert counts(await read(force, batch)) == ("completed", 6, 1, 0, 5)
    told = {
        (one["row"], fault["pointer"]): (one["type"], fault["detail"])
        for one in await errors(force, batch)
        for fault in one["errors"]
    }
    assert {place: kind for place, (kind, _) in told.items()} == {
        (3, "column/date_of_birth"): "/problems/invalid-body",
        (3, "column/vehicle_registration"): "/problems/invalid-body",
        (4, "column/client_reference"): "/problems/invalid-body",
        (5, "column/addressees"): "/problems/unknown-addressee",
        (6, "column/handling_code"): "/problems/handling-conditions-required",
        (7, "column/source_evaluation"): "/problems/invalid-body",
        (7, "column/postcode_1"): "/problems/invalid-body",
    }


async def test_lines_are_read_as_strictly_as_single_bodies(cast: Cast, workers: Workers) -> None:
    force = await cast.play("SWP")
    bad = [
        b"{not json",
        b'{"subject": NaN}',
        b'{"purpose": "\\ud800"}',
        b'{"purpose": "\\u0000"}',
        b'{"priority": 1, "priority": 2}',
        b"[" * 40 + b"]" * 40,
        b"\xff\xfe",
        b'"a text"',
        b'{"purpose": "' + b"x" * 300_000 + b'"}',
        json.dumps({**referral(), "more": 1}).encode(),
        json.dumps(referral(client_reference=None)).encode(),
    ]
    batch = await sent(force, b"\n".join([*bad, b"", line(1).strip()]))
    await workers.run()
    assert counts(await read(force, batch)) == ("completed", 12, 1, 0, 11)
    found = await errors(force, batch)
    assert [one["row"] for one in found] == list(range(1, 12))
    kinds = [one["type"].removeprefix("/problems/") for one in found]
    assert kinds == ["not-json"] * 7 + ["invalid-body", "body-too-large", "invalid-body", "invalid-body"]
    assert found[-1]["errors"] == [{"pointer": "/client_reference", "detail": "This field is required."}]


async def test_a_row_that_comes_again_is_not_a_second_referral(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force = await cast.play("SWP")
    first = await sent(force, lines(5) + line(2) + line(3, purpose="Something else."))
    await workers.run()
    assert counts(await read(force, first)) == ("completed", 7, 6, 1, 1)
    assert [(one["row"], one["type"]) for one in await errors(force, first)] == [
        (7, "/problems/client-reference-reused")
    ]
    again = await sent(force, lines(6))
    await workers.run()
    assert counts(await read(force, again)) == ("completed", 6, 6, 5, 0)
    [found] = await rows(database, "SELECT count(*) AS number FROM referral")
    assert found["number"] == 6
    await sound(database)


async def test_the_same_row_is_the_same_as_a_line_and_in_a_spreadsheet(cast: Cast, workers: Workers) -> None:
    force = await cast.play("SWP")
    await sent(
        force, sheet({"address_1": "", "postcode_1": "", "alias_1_family_name": "", "vehicle_registration": ""}), CSV
    )
    await workers.run()
    subject = {"kind": "person", "family_name": "Quill", "given_names": "Rhys Alun", "date_of_birth": "1984-03-07"}
    same = {
        "subject": subject,
        "ocg": {"score": 37, "reference": "SWP-0142"},
        "purpose": FLAT["purpose"],
        "addressees": ["HMRC", "EA"],
        **dict.fromkeys(["information_sought", "warnings", "operation_name", "contact"]),
    }
    batch = await sent(force, line(1, **same))
    await workers.run()
    assert counts(await read(force, batch)) == ("completed", 1, 1, 1, 0)
    other = await sent(force, sheet({"purpose": "Something else."}), CSV)
    await workers.run()
    [told] = await errors(force, other)
    assert (told["row"], told["errors"][0]["pointer"]) == (2, "column/client_reference")


async def test_a_reference_belongs_to_its_party_and_a_single_post_does_not_take_it(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, other = await cast.play("SWP"), await cast.play("GWP")
    await submitted(force, client_reference="SWP/1", addressees=["HMRC"], headers={"Idempotency-Key": "SWP/1"})
    for client in (force, other):
        batch = await sent(client, line(1))
        await workers.run()
        assert counts(await read(client, batch)) == ("completed", 1, 1, 0, 0)
    [found] = await rows(database, "SELECT count(*) AS number FROM referral")
    assert found["number"] == 3


async def test_the_same_upload_under_its_key_is_the_same_batch(cast: Cast, database: Database) -> None:
    force, other = await cast.play("SWP"), await cast.play("GWP")
    headers = {"Idempotency-Key": "upload-1"}
    first = await sent(force, lines(3), **headers)
    again = await force.post(PATH, content=lines(3), headers={"Content-Type": NDJSON, **headers})
    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    assert again.headers["idempotent-replayed"] == "true"
    for body, kind in ((lines(4), NDJSON), (lines(3), CSV)):
        refused = await force.post(PATH, content=body, headers={"Content-Type": kind, **headers})
        assert (refused.status_code, slug(refused)) == (422, "idempotency-key-reused")
    assert (await sent(other, lines(3), **headers))["id"] != first["id"]
    assert len(await rows(database, "SELECT id FROM batch")) == 2


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"family name,nonsense_of_ours\r\nQuill,x\r\n", 422, "batch-columns"),
        (sheet({}).replace(b"purpose", b"Priority", 1), 422, "batch-columns"),
        (b"Quillfeather,Rhys,1984\r\nQuillfeather,Alun,1985\r\n", 422, "batch-columns"),
        (b"", 400, "bad-batch"),
        (sheet({}, {"purpose": "A café"}).decode().encode("windows-1252"), 400, "bad-batch"),
        (sheet({}).replace(b"\r\nSWP/1", b'\r\n"SWP/1', 1), 400, "bad-batch"),
        (sheet({}).replace(b"\r\nSWP/1", b'\r\n"SWP/1"x', 1), 400, "bad-batch"),
        (sheet({}) + b'"' + b"x\n" * 200_000, 400, "bad-batch"),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused_whole(
    cast: Cast, database: Database, workers: Workers, body: bytes, status: int, kind: str
) -> None:
    force = await cast.play("SWP")
    answer = await force.post(PATH, content=body, headers={"Content-Type": CSV})
    assert (answer.status_code, slug(answer)) == (status, kind)
    assert "Quillfeather" not in answer.text
    await workers.run()
    assert await rows(database, "SELECT 1 FROM referral") == []
    assert await rows(database, "SELECT 1 FROM batch_row") == []


async def test_headings_that_are_not_ours_are_named(cast: Cast) -> None:
    force = await cast.play("SWP")
    answer = await force.post(PATH, content=b"Family Name,shoe_size\r\n", headers={"Content-Type": CSV})
    told = {fault["pointer"]: fault["detail"] for fault in answer.json()["errors"]}
    assert told["column/shoe_size"] == "An unknown column."
    assert told["column/client_reference"] == "This column is required."
    assert "column/family_name" not in told


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "text/csv; charset=windows-1252"},
        {"Content-Type": "text/csv", "Content-Encoding": "gzip"},
        {},
    ],
)
async def test_other_types_are_refused(cast: Cast, headers: dict[str, str]) -> None:
    force = await cast.play("SWP")
    answer = await force.post(PATH, content=b"{}", headers=headers)
    assert (answer.status_code, slug(answer)) == (415, "unsupported-media-type")


async def test_a_batch_may_be_larger_than_a_single_body_and_not_than_its_own_limits(
    configuration: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(configuration, database, body_limit_bytes=1024) as cast:
        force = await cast.play("SWP")
        assert (await sent(force, lines(20)))["total"] == 20
    monkeypatch.setattr(receiving.Desk.__init__, "__defaults__", (10, 6_000))
    async with gateway(configuration, database) as cast:
        force = await cast.play("SWP")
        for body in (b"{}\n" * 11, lines(8)):
            answer = await force.post(PATH, content=body, headers={"Content-Type": NDJSON})
            assert (answer.status_code, slug(answer)) == (413, "batch-too-large")
    assert {row["state"] for row in await rows(database, "SELECT state FROM batch")} == {"accepting", "incomplete"}


async def test_a_marking_above_ours_is_refused_logged_and_never_stored(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force = await cast.play("SWP")
    batch = await sent(force, line(1) + line(2, marking="SECRET", priority="soon") + line(3, marking="Top Secret"))
    assert len(await rows(database, "SELECT 1 FROM batch_row")) == 1
    await workers.run()
    found = await errors(force, batch)
    assert [(one["row"], one["type"]) for one in found] == [(row, "/problems/marking-not-accepted") for row in (2, 3)]
    assert [fault["pointer"] for one in found for fault in one["errors"]] == ["/marking", "/marking"]
    [event] = await rows(database, "SELECT detail FROM audit_event WHERE action = 'referral.refused_marking'")
    assert event["detail"] == {"batch": batch["id"], "rows": 2}


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


async def test_the_template_is_a_file_that_is_taken(cast: Cast) -> None:
    force = await cast.play("SWP")
    answer = await force.get(f"{PATH}/template.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content.decode() == template()
    assert (await sent(force, answer.content, CSV))["total"] == 0


async def test_the_log_tells_of_the_batch_and_of_each_referral(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force = await cast.play("SWP")
    batch = await sent(force, lines(2) + b"{}\n", **{"X-Request-Id": "upload-0001"})
    await workers.run()
    found = await rows(
        database,
        "SELECT operation, action, party, request_id, detail FROM audit_event"
        " WHERE action LIKE 'batch.%' OR action = 'referral.accepted' ORDER BY id",
    )
    assert [(row["operation"], row["action"], row["party"], row["request_id"]) for row in found] == [
        ("collection", "batch.received", "SWP", "upload-0001"),
        ("collection", "referral.accepted", "SWP", "upload-0001"),
        ("collection", "referral.accepted", "SWP", "upload-0001"),
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
