"""Many referrals in one file: what a force sends, what becomes of it, and what it is told of rows that are wrong."""

import json

import pytest

from app.db import Database
from app.referrals.batches import receive as receiving
from app.referrals.batches.accept import SLICE
from app.referrals.batches.columns import template
from app.settings import Settings
from tests.acts import opened, rows, slug, submitted
from tests.app.batch_files import CSV, FLAT, NDJSON, PATH, counts, errors, line, lines, read, sent, sheet, sound
from tests.conftest import Cast, Workers, gateway, referral


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


async def test_a_look_at_how_far_a_batch_is_or_at_what_was_refused_is_logged(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    batch = await sent(force, lines(1))
    for path in ("", f"/{batch['id']}", f"/{batch['id']}/errors"):
        answer = await force.get(f"{PATH}{path}")
        assert answer.status_code == 200, answer.text
    query = "SELECT action, party, detail FROM audit_event WHERE operation = 'consultation' ORDER BY id"
    assert [(row["action"], row["party"], row["detail"]) for row in await rows(database, query)] == [
        ("batches.listed", "SWP", {"ids": [batch["id"]]}),
        ("batch.read", "SWP", {"batch": batch["id"]}),
        ("batch.errors_read", "SWP", {"batch": batch["id"]}),
    ]


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


async def test_the_template_is_a_file_that_is_taken(cast: Cast) -> None:
    force = await cast.play("SWP")
    answer = await force.get(f"{PATH}/template.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content.decode() == template()
    assert (await sent(force, answer.content, CSV))["total"] == 0
