"""Bad paths, queries, cursors and bodies of the other calls: always 4xx, a problem document, and nothing changes."""

import asyncio
import base64
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest

from app.access.policy import Role
from app.web import cursor as cursors
from tests.acts import Document, slug
from tests.app.conftest import Served
from tests.conftest import HIT, Workers, referral

CANARY = "Quillfeather"
NOBODY = "00000000-0000-7000-8000-000000000000"
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Scene:
    """Clients of the gateway: who refers and who answers, and one referral's id and item between them."""

    force: httpx.Client
    agency: httpx.Client
    coordinator: httpx.Client
    referral: str
    item: str


@pytest.fixture(scope="module")
def scene(served: Served) -> Iterator[Scene]:
    """Three referrals with HMRC and EA. In the end no request has failed, and the log repeats nothing."""
    clients = [
        httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {served.key(party)}"}, timeout=20)
        for party in ("SWP", "HMRC", "TARIAN")
    ]
    force, agency, coordinator = clients
    made = [force.post("/v1/referrals", json=referral()).json()["id"] for _ in range(3)]

    async def fan_out() -> None:
        database = served.database()
        await Workers(database).run()
        await database.close()

    asyncio.run(fan_out())
    items = agency.get("/v1/inbox").json()["items"]
    assert len(items) == 3
    yield Scene(force, agency, coordinator, made[0], items[0]["id"])
    for client in clients:
        client.close()
    lines = served.lines()
    assert CANARY not in json.dumps(lines)
    assert [line for line in lines if line["level"] in ("error", "critical")] == []


NO_IDS = ["7", "x", CANARY, f"{NOBODY}0", "%00", "..%2f..%2fetc", "null", "-1", "%F0%9F%A6%8A", "0" * 300, "%ff"]
READS = ["/v1/referrals/{}", "/v1/referrals/{}/responses", "/v1/referrals/{}/events", "/v1/inbox/{}"]
WRITES: dict[str, Any] = {
    "/v1/referrals/{}/cancel": {"reason": "no longer needed"},
    "/v1/inbox/{}/acknowledgement": {},
    "/v1/inbox/{}/response": {"outcome": "no_hit"},
}


@pytest.mark.parametrize("place", [*READS, *WRITES])
@pytest.mark.parametrize("bad", [*NO_IDS, NOBODY])
def test_an_id_that_is_none_is_not_there(scene: Scene, place: str, bad: str) -> None:
    client = scene.agency if "inbox" in place else scene.force
    body = WRITES.get(place)
    answer = client.post(place.format(bad), json=body) if place in WRITES else client.get(place.format(bad))
    assert answer.status_code == 404, answer.text
    assert slug(answer) == "not-found"
    assert CANARY not in answer.text


@pytest.mark.parametrize("form", ["{}", "urn:uuid:{}", "{{{}}}"])
def test_an_id_in_another_form_is_the_same_id_or_none(scene: Scene, form: str) -> None:
    answer = scene.force.get(f"/v1/referrals/{form.format(scene.referral)}")
    assert answer.status_code in (200, 404)
    assert answer.status_code == 404 or answer.json()["id"] == scene.referral


QUERIES = {
    "/v1/referrals": [
        "limit=0", "limit=-1", "limit=501", "limit=x", "limit=%20", "limit=1.5",
        "limit=99999999999999999999999", "limit=NaN",
        "state=gone", "state=%20", "state=COMPLETED", "agency=%00", "agency=%ff", "agency=" + "A" * 33,
        f"agency={CANARY}", "agency=hm%0Arc", "updated_since=yesterday", "updated_since=2026-01-01",
        "updated_since=2026-13-01T00:00:00Z",
        "updated_since=2026-01-01T00:00:00", "updated_since=9999-12-31T23:59:59-23:59",
        "updated_since=0001-01-01T00:00:00%2B23:59",
        "updated_since=99999-01-01T00:00:00Z", "updated_since=%00", "updated_since=" + "9" * 400,
    ],
    "/v1/inbox": [
        "limit=0", "limit=-5", "limit=501", "limit=ten", "limit=1e2",
        "state=lost", "state=%00", "state=Queued",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("path", "query"), [(path, query) for path, queries in QUERIES.items() for query in queries])
def test_a_bad_parameter_is_told_by_its_name(scene: Scene, path: str, query: str) -> None:
    client = scene.agency if "inbox" in path else scene.force
    answer = client.get(f"{path}?{query}")
    assert answer.status_code == 422, answer.text
    assert slug(answer) == "invalid-parameter"
    assert answer.json()["errors"][0]["pointer"] == f"query/{query.partition('=')[0]}"
    assert CANARY not in answer.text


def test_a_parameter_left_empty_is_left_out(scene: Scene) -> None:
    """The contract's own line, as it stands there."""
    for client, path, query in (
        (scene.force, "/v1/referrals", "state=&agency=&updated_since=&limit=&cursor="),
        (scene.agency, "/v1/inbox", "limit=&cursor=&state="),
    ):
        plain, empty = client.get(path), client.get(f"{path}?{query}")
        assert empty.status_code == 200, empty.text
        assert [item["id"] for item in empty.json()["items"]] == [item["id"] for item in plain.json()["items"]]
        first = client.get(f"{path}?{query}&limit=1")
        assert len(first.json()["items"]) == 1
        second = client.get(path, params={"limit": 1, "state": "", "cursor": first.json()["next"]})
        assert [item["id"] for item in second.json()["items"]] == [plain.json()["items"][1]["id"]]
    link = scene.force.get("/v1/referrals?state=&limit=1&agency=").headers["link"]
    assert link.startswith("</v1/referrals?limit=1&cursor=")


def _altered(cursor: str) -> dict[str, str]:
    """What a client could make of a cursor."""
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    head = raw[:12]

    def made(position: str) -> str:
        return base64.urlsafe_b64encode(head + position.encode()).rstrip(b"=").decode()

    return {
        "text": CANARY,
        "no base64": "!!!",
        "not ASCII": "é",
        "NUL": "\x00",
        "one letter off": ("B" if cursor[0] != "B" else "C") + cursor[1:],
        "truncated": cursor[:10],
        "head alone": made(""),
        "no list": made('{"a": 1}'),
        "empty list": made("[]"),
        "texts": made('["x", "y"]'),
        "one number": made("[1]"),
        "three numbers": made("[1, 2, 3]"),
        "huge numbers": made(f"[1, {10**18}999]"),
        "out of range": made("[99999999, 1]"),
        "beyond bigint": made(f"[1, {2**63}]"),
        "negative": made("[-1, -1]"),
        "fractions": made("[1.5, 2.5]"),
        "nulls": made("[null, null]"),
        "deep": made("[" * 100 + "]" * 100),
        "an id and no time": made(f'["{NOBODY}", "yesterday"]'),
        "an id and a time outside time": made(f'["{NOBODY}", "0001-01-01T00:00:00+23:59"]'),
        "too long": "A" * 501,
    }


ALTERATIONS = list(_altered("A" * 40))


@pytest.mark.parametrize("alteration", ALTERATIONS)
@pytest.mark.parametrize("path", ["/v1/referrals", "/v1/inbox"])
def test_a_tampered_cursor_is_refused(scene: Scene, path: str, alteration: str) -> None:
    client = scene.agency if "inbox" in path else scene.force
    cursor = client.get(path, params={"limit": 1}).json()["next"]
    answer = client.get(path, params={"limit": 1, "cursor": _altered(cursor)[alteration]})
    assert answer.status_code == (422 if alteration == "too long" else 400), answer.text
    assert slug(answer) in ("bad-cursor", "invalid-parameter")
    assert CANARY not in answer.text


@pytest.mark.parametrize(
    ("path", "others"),
    [
        ("/v1/referrals", {"state": "completed"}),
        ("/v1/referrals", {"agency": "HMRC"}),
        ("/v1/referrals", {"updated_since": "2026-01-01T00:00:00Z"}),
        ("/v1/inbox", {"state": "delivered"}),
    ],
)
def test_a_cursor_serves_the_filters_it_was_made_for(scene: Scene, path: str, others: dict[str, str]) -> None:
    client = scene.agency if "inbox" in path else scene.force
    cursor = client.get(path, params={"limit": 1}).json()["next"]
    assert client.get(path, params={"limit": 1, "cursor": cursor}).status_code == 200
    assert slug(client.get(path, params={"limit": 1, "cursor": cursor, **others})) == "bad-cursor"


def test_a_cursor_serves_its_list_and_its_party(scene: Scene) -> None:
    of_force = scene.force.get("/v1/referrals", params={"limit": 1}).json()["next"]
    of_agency = scene.agency.get("/v1/inbox", params={"limit": 1}).json()["next"]
    assert slug(scene.agency.get("/v1/inbox", params={"cursor": of_force})) == "bad-cursor"
    assert slug(scene.force.get("/v1/referrals", params={"cursor": of_agency})) == "bad-cursor"
    assert slug(scene.coordinator.get("/v1/referrals", params={"cursor": of_force})) == "bad-cursor"


def test_a_cursor_is_safe_in_a_url(scene: Scene) -> None:
    cursor = scene.agency.get("/v1/inbox", params={"limit": 1}).json()["next"]
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert cursors.encode(("HMRC", None), [1, 2]) == cursors.encode(("HMRC", None), [1, 2])


def test_a_raw_byte_in_a_query_fails_nothing(served: Served, scene: Scene) -> None:
    """What no sane client sends: a query that is no text. The pages' `Link` is made of it."""
    target = urlsplit(served.url)
    authorization = scene.force.headers["authorization"]
    with socket.create_connection((str(target.hostname), target.port or 0), timeout=10) as raw:
        head = ["GET /v1/referrals?limit=1&x=\xff\xfe HTTP/1.1", "Host: x", f"Authorization: {authorization}"]
        raw.sendall("\r\n".join([*head, "Connection: close", "", ""]).encode("latin-1"))
        answer = raw.makefile("rb").read()
    assert int(answer.split()[1]) in (200, 400)


A_CLAIM = {"claim_id": NOBODY}
BAD_ANSWERS: dict[str, Any] = {
    "nothing said": {},
    "unknown outcome": {"outcome": CANARY},
    "unknown field": {"outcome": "no_hit", CANARY: 1},
    "a hit of nothing": {"outcome": "hit", "grading": HIT["grading"], "handling": HIT["handling"]},
    "a hit without grading": {"outcome": "hit", "summary": "x", "handling": HIT["handling"]},
    "a hit without handling": {"outcome": "hit", "summary": "x", "grading": HIT["grading"]},
    "declined without a reason": {"outcome": "declined"},
    "declined for an unknown reason": {"outcome": "declined", "decline_reason": CANARY},
    "a reason without declining": {"outcome": "no_hit", "decline_reason": "policy"},
    "a question that asks nothing": {"outcome": "more_information"},
    "a blank question": {"outcome": "more_information", "summary": " \n"},
    "an unknown kind of fact": {**HIT, "facts": [{"kind": CANARY, "text": "x"}]},
    "an empty fact": {**HIT, "facts": [{"kind": "tax", "text": ""}]},
    "a fact without text": {**HIT, "facts": [{"kind": "tax"}]},
    "a fact with handling C and no condition": {
        **HIT,
        "facts": [{"kind": "tax", "text": "x", "handling": {"code": "C"}}],
    },
    "a fact with an unknown field": {**HIT, "facts": [{"kind": "tax", "text": "x", CANARY: 1}]},
    "too many facts": {**HIT, "facts": [{"kind": "tax", "text": "x"}] * 201},
    "handling P with a condition": {**HIT, "handling": {"code": "P", "conditions": ["A1"]}},
    "source as text": {**HIT, "grading": {"source": "1", "assessment": "A"}},
    "unknown onward disclosure": {**HIT, "onward_disclosure": CANARY},
    "unknown legal basis": {**HIT, "legal_basis": CANARY},
    "a claim that is no id": {"outcome": "no_hit", "claim_id": CANARY},
    "a list": [{"outcome": "no_hit"}],
    "null": None,
    "too long a summary": {**HIT, "summary": "x" * 10_001},
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_a_bad_answer_is_refused_alone_and_in_its_place_among_several(scene: Scene, name: str) -> None:
    """With the same words; only what is no object, and so names no item, spoils the whole."""
    body = BAD_ANSWERS[name]
    single = scene.agency.post(f"/v1/inbox/{scene.item}/response", content=json.dumps(body), headers=JSON)
    assert single.status_code == 422, single.text
    assert slug(single) in ("invalid-body", "handling-conditions-required")
    unknown = {"id": NOBODY, "outcome": "no_hit"}
    batch = {"items": [unknown, {"id": scene.item, **body} if isinstance(body, dict) else body]}
    several = scene.agency.post("/v1/inbox/responses", json=batch)
    for answer in (single, several):
        assert CANARY not in answer.text
    if isinstance(body, dict):
        assert several.status_code == 200, several.text
        errors = [{**fault, "pointer": f"/items/1{fault['pointer']}"} for fault in single.json()["errors"]]
        told = {"id": scene.item, "status": 422, "problem": slug(single), "errors": errors}
        assert several.json()["items"] == [{"id": NOBODY, "status": 404, "problem": "not-found"}, told]
    else:
        assert (several.status_code, slug(several)) == (422, "invalid-body")
        assert [fault["pointer"] for fault in several.json()["errors"]] == ["/items/1"]
    assert scene.agency.get(f"/v1/inbox/{scene.item}").json()["state"] == "delivered"


def test_of_an_answer_with_very_many_faults_the_first_are_told(scene: Scene) -> None:
    body = {"id": scene.item, "outcome": "no_hit", **{f"field_{number}": CANARY for number in range(5_000)}}
    answer = scene.agency.post("/v1/inbox/responses", json={"items": [body]})
    [told] = answer.json()["items"]
    assert [fault["pointer"] for fault in told["errors"]] == [f"/items/0/field_{number}" for number in range(10)]


def _ids(number: int) -> list[str]:
    return [str(UUID(int=index)) for index in range(number)]


BAD_BATCHES: dict[str, tuple[str, Document]] = {
    "no ids": ("/v1/inbox/acknowledgements", {"ids": []}),
    "ids missing": ("/v1/inbox/acknowledgements", {}),
    "ids that are none": ("/v1/inbox/acknowledgements", {"ids": [CANARY]}),
    "ids as numbers": ("/v1/inbox/acknowledgements", {"ids": [7]}),
    "501 ids": ("/v1/inbox/acknowledgements", {"ids": _ids(501)}),
    "an unknown field": ("/v1/inbox/acknowledgements", {"ids": _ids(1), CANARY: 1}),
    "a claim that is none": ("/v1/inbox/acknowledgements", {"ids": _ids(1), "claim_id": 5}),
    "no items": ("/v1/inbox/responses", {"items": []}),
    "items missing": ("/v1/inbox/responses", {}),
    "501 items": ("/v1/inbox/responses", {"items": [{"id": key, "outcome": "no_hit"} for key in _ids(501)]}),
    "an item without id": (
        "/v1/inbox/responses",
        {"items": [{"id": NOBODY, "outcome": CANARY}, {"outcome": "no_hit"}]},
    ),
    "an item whose id is none": ("/v1/inbox/responses", {"items": [{"id": CANARY, "outcome": "no_hit"}]}),
    "an item that is text": ("/v1/inbox/responses", {"items": [CANARY]}),
    "items that are no list": ("/v1/inbox/responses", {"items": {"id": NOBODY, "outcome": "no_hit"}}),
    "a field beside the items": ("/v1/inbox/responses", {"items": [{"id": NOBODY, "outcome": "no_hit"}], CANARY: 1}),
    "no claim at all": ("/v1/inbox/claims", {"limit": 0}),
    "501 claims": ("/v1/inbox/claims", {"limit": 501}),
    "claims as text": ("/v1/inbox/claims", {"limit": "5"}),
    "a claim as a boolean": ("/v1/inbox/claims", {"limit": True}),
    "a lease for ever": ("/v1/inbox/claims", {"lease_seconds": 10**9}),
    "a lease of nothing": ("/v1/inbox/claims", {"lease_seconds": 0}),
    "a lease backwards": ("/v1/inbox/claims", {"lease_seconds": -300}),
    "half a second": ("/v1/inbox/claims", {"lease_seconds": 30.5}),
}


@pytest.mark.parametrize("name", BAD_BATCHES)
def test_a_bad_batch_is_refused_whole(scene: Scene, name: str) -> None:
    path, body = BAD_BATCHES[name]
    answer = scene.agency.post(path, json=body)
    assert answer.status_code == 422, answer.text
    assert slug(answer) == "invalid-body"
    assert CANARY not in answer.text


@pytest.mark.parametrize(
    "body", ["NaN", '{"ids": ["\\ud800"]}', '{"ids": [], "ids": []}', "[" * 99, '{"items": [{"id": "\\u0000"}]}']
)
@pytest.mark.parametrize(
    "path", ["acknowledgements", "responses", "claims", f"{NOBODY}/acknowledgement", f"{NOBODY}/response"]
)
def test_what_is_not_json_is_not_read_at_any_door(scene: Scene, path: str, body: str) -> None:
    answer = scene.agency.post(f"/v1/inbox/{path}", content=body, headers=JSON)
    assert answer.status_code == 400, answer.text
    assert slug(answer) == "not-json"


@pytest.mark.parametrize(
    "body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": 5}, {"reason": "x" * 2_001}, {"reason": "x", CANARY: 1}]
)
def test_a_referral_is_not_taken_back_without_a_proper_reason(scene: Scene, body: Document) -> None:
    answer = scene.force.post(f"/v1/referrals/{scene.referral}/cancel", json=body)
    assert slug(answer) == "invalid-body"
    assert scene.force.get(f"/v1/referrals/{scene.referral}").json()["state"] == "in_progress"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE"])
@pytest.mark.parametrize("path", ["/v1/referrals", "/v1/inbox", f"/v1/referrals/{NOBODY}"])
def test_another_method_is_refused_readably(scene: Scene, path: str, method: str) -> None:
    answer = scene.force.request(method, path)
    assert answer.status_code == 405
    assert slug(answer) == "method-not-allowed"


def test_an_agency_that_refers_has_a_second_key_for_that(served: Served) -> None:
    second = httpx.Client(
        base_url=served.url, headers={"Authorization": f"Bearer {served.key('HMRC', Role.ORIGINATOR)}"}
    )
    with second:
        assert second.post("/v1/referrals", json=referral(addressees=["DWP"])).status_code == 201
        own = second.post("/v1/referrals", json=referral(addressees=["HMRC"]))
        assert slug(own) == "unknown-addressee"
        assert second.get("/v1/inbox").status_code == 403
