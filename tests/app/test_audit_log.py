"""The log for auditors: checkpoint, entries and proofs over HTTP, checked as an outsider would."""

import json
from base64 import b64decode
from typing import Any

import httpx
import pytest

from app.access.policy import Role
from app.audit.note import VerifierKey, read
from app.audit.tree import leaf_hash, verify_consistency, verify_inclusion
from app.crypto.sameness import canonical
from app.db import Database
from app.settings import Settings
from tests.acts import Document, actions, change, dispatched, rows, slug
from tests.conftest import Cast, Workers
from tests.invariants import InvariantsBroken, audit_tree_verifies
from workers.tasks.seal import Sealing


async def seal_and_sign(configuration: Settings, database: Database) -> None:
    """What a scheduler does each second and each minute."""
    await Sealing(configuration, database).round(every=0)


async def got(client: httpx.AsyncClient, path: str, **query: Any) -> Document:
    """What an auditor reads."""
    answer = await client.get(f"/v1/audit/{path}", params=query)
    assert answer.status_code == 200, answer.text
    found: Document = answer.json()
    return found


@pytest.fixture
async def auditor(cast: Cast, workers: Workers, configuration: Settings, database: Database) -> httpx.AsyncClient:
    """An auditor of a broker that has exchanged something, sealed and signed."""
    await dispatched(cast, workers, "HMRC", "EA", count=2)
    agency = await cast.play("HMRC")
    await agency.get("/v1/inbox")
    await seal_and_sign(configuration, database)
    return await cast.play("GAIN", Role.AUDITOR)


async def test_an_auditor_checks_the_log_without_trusting_the_broker(
    auditor: httpx.AsyncClient, configuration: Settings, database: Database
) -> None:
    first = await got(auditor, "checkpoint")
    promised = read(first["checkpoint"], [VerifierKey.parse(first["key"])])
    assert (promised.origin, promised.size) == (first["origin"], first["size"])
    items = (await got(auditor, "entries"))["items"]
    assert len(items) == promised.size
    for item in items:
        leaf = leaf_hash(canonical(item["entry"]))
        assert leaf == b64decode(item["leaf_hash"])
        proof = await got(auditor, "proofs/inclusion", entry=item["sequence"])
        path = [b64decode(step) for step in proof["path"]]
        assert verify_inclusion(leaf, item["sequence"], promised.size, path, promised.root)
    await seal_and_sign(configuration, database)
    second = await got(auditor, "checkpoint")
    assert second["size"] == promised.size + 1  # reading the log
    proof = await got(auditor, "proofs/consistency", **{"from": first["size"], "to": second["size"]})
    path = [b64decode(step) for step in proof["path"]]
    assert verify_consistency(first["size"], second["size"], promised.root, b64decode(second["root"]), path)
    assert proof["from_root"] == first["root"]


async def test_an_entry_tells_who_when_what_and_to_whom(auditor: httpx.AsyncClient) -> None:
    items = (await got(auditor, "entries"))["items"]
    [told] = [i["entry"] for i in items if i["entry"]["action"] == "dispatch.delivered"][:1]
    assert told.keys() == {
        *("action", "actor", "at", "commitments", "detail", "dispatch_id", "id", "operation", "party"),
        *("recipients", "referral_id", "request_id", "sequence"),
    }
    assert (told["operation"], told["party"], told["recipients"]) == ("disclosure", "HMRC", ["HMRC"])
    assert told["at"].endswith("Z")
    assert told["request_id"]
    text = json.dumps(items)
    assert "Quill" not in text
    assert "CX14" not in text


async def test_pages_lead_through_the_whole_log(auditor: httpx.AsyncClient) -> None:
    size = (await got(auditor, "checkpoint"))["size"]
    seen: list[int] = []
    position: str | None = "0"
    while position is not None:
        page = await got(auditor, "entries", **{"from": position, "limit": 3})
        seen += [item["sequence"] for item in page["items"]]
        position = page["next"]
    assert seen == list(range(size))
    assert (await got(auditor, "entries", **{"from": size + 100}))["items"] == []


async def test_reading_the_log_is_itself_logged_once_a_page(auditor: httpx.AsyncClient, database: Database) -> None:
    await got(auditor, "entries", limit=2)
    await got(auditor, "entries", **{"from": 2, "limit": 2})
    await got(auditor, "checkpoint")
    await got(auditor, "proofs/inclusion", entry=0)
    assert (await actions(database))[-2:] == ["audit.read", "audit.read"]


async def test_a_look_into_the_log_that_finds_nothing_is_logged_too(
    auditor: httpx.AsyncClient, database: Database
) -> None:
    before = len(await actions(database))
    assert await got(auditor, "entries", **{"from": 9_000}) == {"items": [], "next": None}
    assert (await actions(database))[before:] == ["audit.read"]
    [event] = await rows(database, "SELECT * FROM audit_event ORDER BY id DESC LIMIT 1")
    assert (event["operation"], event["party"], event["detail"]) == (
        "consultation",
        "GAIN",
        {"from": 9_000, "to": None},
    )


async def test_a_parameter_left_empty_is_left_out(auditor: httpx.AsyncClient) -> None:
    plain, empty = await got(auditor, "entries"), await got(auditor, "entries", **{"from": "", "limit": ""})
    assert empty["items"][: len(plain["items"])] == plain["items"]
    assert len((await got(auditor, "entries", **{"from": "", "limit": 2}))["items"]) == 2


@pytest.mark.parametrize(
    ("party", "role"),
    [
        ("SWP", Role.ORIGINATOR),
        ("HMRC", Role.AGENCY),
        ("TARIAN", Role.COORDINATOR),
        ("GAIN", Role.NATIONAL),
        ("GAIN", Role.ADMINISTRATOR),
    ],
)
async def test_nobody_else_reads_entries(cast: Cast, party: str, role: Role) -> None:
    client = await cast.play(party, role)
    answer = await client.get("/v1/audit/entries")
    assert (answer.status_code, slug(answer)) == (403, "role-not-allowed")
    allowed = (await client.get("/v1/audit/checkpoint")).status_code != 403
    assert allowed == (role is Role.ADMINISTRATOR)


async def test_before_the_first_checkpoint_there_is_none(cast: Cast) -> None:
    auditor = await cast.play("GAIN", Role.AUDITOR)
    answer = await auditor.get("/v1/audit/checkpoint")
    assert (answer.status_code, slug(answer)) == (404, "not-found")
    assert (await auditor.get("/v1/audit/proofs/inclusion?entry=0")).status_code == 404
    assert (await got(auditor, "entries")) == {"items": [], "next": None}


@pytest.mark.parametrize(
    "path",
    [
        "entries?from=-1",
        "entries?from=x",
        "entries?limit=0",
        "entries?limit=501",
        "entries?from=1e99",
        "entries?from=9223372036854775808",
        "proofs/inclusion",
        "proofs/inclusion?entry=-1",
        "proofs/inclusion?entry=0&size=99999999",
        "proofs/inclusion?entry=99999999999999999999",
        "proofs/consistency",
        "proofs/consistency?from=1",
        "proofs/consistency?from=1&to=",
        "proofs/inclusion?entry=",
        "proofs/consistency?from=3&to=2",
        "proofs/consistency?from=1&to=99999999",
    ],
)
async def test_what_cannot_be_asked_is_refused(auditor: httpx.AsyncClient, path: str) -> None:
    answer = await auditor.get(f"/v1/audit/{path}")
    assert (answer.status_code, slug(answer)) == (422, "invalid-parameter")
    assert answer.json()["errors"]


@pytest.mark.parametrize("path", ["proofs/inclusion?entry=99999", "proofs/inclusion?entry=5&size=5"])
async def test_there_is_no_proof_of_an_entry_that_is_not_there(auditor: httpx.AsyncClient, path: str) -> None:
    answer = await auditor.get(f"/v1/audit/{path}")
    assert (answer.status_code, slug(answer)) == (404, "not-found")


async def test_proofs_of_a_damaged_tree_are_refused_not_failed(auditor: httpx.AsyncClient, database: Database) -> None:
    await change(database, "ALTER TABLE audit_entry DISABLE TRIGGER ALL")
    await change(database, "DELETE FROM audit_entry WHERE sequence = 1")
    answer = await auditor.get("/v1/audit/proofs/inclusion?entry=0")
    assert (answer.status_code, slug(answer)) == (503, "unavailable")


async def test_the_checker_of_invariants_sees_a_log_that_was_tampered_with(
    auditor: httpx.AsyncClient, database: Database
) -> None:
    await audit_tree_verifies(database)
    await change(database, "ALTER TABLE audit_event DISABLE TRIGGER ALL")
    await change(database, "UPDATE audit_event SET actor = 'nobody' WHERE id = 2")
    with pytest.raises(InvariantsBroken, match="entry 1"):
        await audit_tree_verifies(database)
