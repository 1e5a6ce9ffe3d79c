"""Files of referrals, sent and read as a force does."""

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

import httpx

from app.db import Database
from tests.acts import Document
from tests.conftest import referral
from tests.invariants import check

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
