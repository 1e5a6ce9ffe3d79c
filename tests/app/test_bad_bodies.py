"""Every bad body gets its own refusal as a problem document, repeats nothing of what was sent, and changes nothing.

Against a gateway process, so that its parser, its limits and its log are the real ones.
"""

# ruff: noqa: S608  names of tables and columns cannot be parameters; none comes from outside

import asyncio
import json
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from app.access.policy import Role
from app.schema import metadata
from tests.acts import Document, slug, table_counts
from tests.app.bad_bodies import (
    ANY_BODY,
    CANARY,
    INVALID,
    JSON,
    NOT_JSON,
    NOT_OBJECTS,
    SECRET_SPELLINGS,
    UNACCEPTABLE,
    VALID,
)
from tests.app.conftest import Served
from tests.conftest import referral

_TELLING_NOTHING = ("heartbeat", "agency_seen")


@pytest.fixture(scope="module")
def force(served: Served) -> Iterator[httpx.Client]:
    """South Wales. In the end the whole log of the gateway is free of what was sent, and of failures."""
    with httpx.Client(
        base_url=served.url, headers={"Authorization": f"Bearer {served.key('SWP')}"}, timeout=20
    ) as client:
        yield client
    deadline = time.monotonic() + 5
    while not any(line["event"] == "request" for line in served.lines()):  # an answer precedes its line
        assert time.monotonic() < deadline
        time.sleep(0.02)
    lines = served.lines()
    text_ = json.dumps(lines)
    assert [
        word for word in (CANARY, CANARY.lower(), "Quill", "Heol", "CX14", "1984-03", "SECRET ") if word in text_
    ] == []
    assert [line for line in lines if line["level"] in ("error", "critical")] == []


@pytest.fixture(scope="module")
def anybody(served: Served) -> Iterator[httpx.Client]:
    """A client without a credential."""
    with httpx.Client(base_url=served.url, timeout=20) as client:
        yield client


class Watched:
    """The database before and after: the rows of every table, and what the log of events gained."""

    def __init__(self, served: Served) -> None:
        self._loop = asyncio.new_event_loop()
        self._database = served.database()

    def counts(self) -> Mapping[str, int]:
        """The rows of every table."""
        return self._loop.run_until_complete(self._count())

    def holds(self, word: str) -> list[str]:
        """The tables in which this word stands, in any column, as text or inside bytes."""
        return self._loop.run_until_complete(self._search(word))

    def latest_event(self) -> Document:
        """The newest entry of the log."""
        return self._loop.run_until_complete(self._latest())

    def close(self) -> None:
        self._loop.run_until_complete(self._database.close())
        self._loop.close()

    async def _count(self) -> Mapping[str, int]:
        names = [name for name in metadata.tables if name not in _TELLING_NOTHING]
        async with self._database.transaction() as connection:
            return await table_counts(connection, names)

    async def _search(self, word: str) -> list[str]:
        found = []
        async with self._database.transaction() as connection:
            for name in metadata.tables:
                # A row as text shows bytes in hexadecimal.
                holds = f"position(:word IN {name}::text) > 0 OR position(:hex IN {name}::text) > 0"
                query = f"SELECT count(*) FROM {name} WHERE {holds}"
                if await connection.scalar(text(query), {"word": word, "hex": word.encode().hex()}):
                    found.append(name)
        return found

    async def _latest(self) -> Document:
        async with self._database.transaction() as connection:
            row = (await connection.execute(text("SELECT * FROM audit_event ORDER BY id DESC LIMIT 1"))).one()
            return dict(row._mapping)


@pytest.fixture(scope="module")
def watched(served: Served) -> Iterator[Watched]:
    """The gateway's database."""
    opened = Watched(served)
    yield opened
    opened.close()


def refused(answer: httpx.Response, status: int, kind: str) -> Document:
    """The document of a refusal, which repeats nothing."""
    assert answer.status_code == status, answer.text
    assert slug(answer) == kind, answer.text
    said = answer.text.replace(answer.json()["request_id"], "")  # random: it may well hold 1066
    for word in (CANARY, CANARY.lower(), CANARY.upper(), "2,001", "xxx", "1066", "hmrc", "19840307"):
        assert word not in said
    document: Document = answer.json()
    return document


def test_the_example_itself_is_accepted(force: httpx.Client) -> None:
    assert force.post("/v1/referrals", json=referral()).status_code == 201


@pytest.mark.parametrize("name", UNACCEPTABLE)
def test_what_is_not_acceptable_is_told_by_its_place(force: httpx.Client, watched: Watched, name: str) -> None:
    body, kind = UNACCEPTABLE[name]
    before = watched.counts()
    document = refused(force.post("/v1/referrals", json=body), 422, kind)
    assert document["errors"]
    assert all(set(error) == {"pointer", "detail"} for error in document["errors"])
    assert watched.counts() == before


@pytest.mark.parametrize("name", NOT_JSON)
def test_what_is_not_json_is_not_read(force: httpx.Client, watched: Watched, name: str) -> None:
    before = watched.counts()
    refused(force.post("/v1/referrals", content=NOT_JSON[name], headers=JSON), 400, "not-json")
    assert watched.counts() == before


@pytest.mark.parametrize("name", NOT_OBJECTS)
def test_what_is_no_object_is_no_referral(force: httpx.Client, watched: Watched, name: str) -> None:
    before = watched.counts()
    refused(force.post("/v1/referrals", content=NOT_OBJECTS[name], headers=JSON), 422, INVALID)
    assert watched.counts() == before


def test_no_body_at_all_is_told_so(force: httpx.Client, watched: Watched) -> None:
    before = watched.counts()
    refused(force.post("/v1/referrals"), 400, "not-json")
    refused(force.post("/v1/referrals", content=b"", headers=JSON), 400, "not-json")
    assert watched.counts() == before


@pytest.mark.parametrize(
    ("party", "path"),
    [
        ("SWP", "/v1/referrals/{id}/cancel"),
        ("SWP", "/v1/referrals/{id}/messages"),
        ("HMRC", "/v1/inbox/acknowledgements"),
        ("HMRC", "/v1/inbox/responses"),
        ("TARIAN", "/v1/dispatches/{id}/extend"),
    ],
)
def test_nothing_where_something_is_required_is_not_json(
    served: Served, anybody: httpx.Client, party: str, path: str
) -> None:
    headers = {**JSON, "Authorization": f"Bearer {served.key(party)}"}
    refused(anybody.post(path.format(id=uuid4()), content=b"", headers=headers), 400, "not-json")


def test_where_a_body_may_be_left_out_nothing_is_fine(served: Served, anybody: httpx.Client) -> None:
    """It goes on to what the call is about, which here is not there."""
    for party, path in (("HMRC", "/v1/inbox/{id}/acknowledgement"), ("TARIAN", "/v1/referrals/{id}/release")):
        headers = {**JSON, "Authorization": f"Bearer {served.key(party)}"}
        assert anybody.post(path.format(id=uuid4()), content=b"", headers=headers).status_code == 404


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json", "multipart/form-data"]
)
def test_another_media_type_is_refused(force: httpx.Client, watched: Watched, kind: str) -> None:
    before = watched.counts()
    refused(force.post("/v1/referrals", content=VALID, headers={"Content-Type": kind}), 415, "unsupported-media-type")
    assert watched.counts() == before


def test_where_no_media_type_is_said_the_text_shows_what_it_is(force: httpx.Client, watched: Watched) -> None:
    for _ in range(2):
        assert force.post("/v1/referrals", content=VALID, headers={"Idempotency-Key": "unsaid"}).status_code == 201
    before = watched.counts()
    refused(force.post("/v1/referrals", content=b"{bad"), 400, "not-json")
    refused(force.post("/v1/referrals", content=VALID.replace(b'"routine"', b'"soon"')), 422, INVALID)
    refused(force.post("/v1/referrals", content=VALID, headers={"Content-Type": ""}), 415, "unsupported-media-type")
    assert watched.counts() == before


def test_at_other_doors_too_the_text_shows_what_it_is(served: Served, anybody: httpx.Client) -> None:
    for party, path, good in (
        ("SWP", "/v1/referrals/{id}/cancel", b'{"reason": "no longer needed"}'),
        ("HMRC", "/v1/inbox/{id}/acknowledgement", b"{}"),
    ):
        known = {"Authorization": f"Bearer {served.key(party)}"}
        answers = [
            anybody.post(path.format(id=uuid4()), content=body, headers=known) for body in (b"{bad", b"[]", good)
        ]
        assert [answer.status_code for answer in answers] == [400, 422, 404], path


def test_what_is_no_json_must_say_what_it_is(served: Served, anybody: httpx.Client) -> None:
    """A file of rows is CSV or NDJSON, a token is asked for by a form: neither shows by itself."""
    rows = anybody.post(
        "/v1/referral-batches", content=VALID + b"\n", headers={"Authorization": f"Bearer {served.key('SWP')}"}
    )
    refused(rows, 415, "unsupported-media-type")
    refused(anybody.post("/v1/token", content=b"grant_type=client_credentials"), 415, "unsupported-media-type")


@pytest.mark.parametrize("site", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}, {}])
@pytest.mark.parametrize("path", ["/sign-in", "/search", "/my-referrals/upload"])
def test_a_form_of_another_site_is_refused_whether_or_not_it_says_its_type(
    anybody: httpx.Client, path: str, site: dict[str, str]
) -> None:
    """What a page of somebody else's can have a browser send without asking: a form, or bytes without a type."""
    for kind in ({}, {"Content-Type": "application/x-www-form-urlencoded"}, {"Content-Type": "text/plain"}):
        answer = anybody.post(path, content=b"username=x", headers={**site, **kind})
        assert answer.status_code == 403, answer.text
        assert "This did not come from one of our pages" in answer.text


UNREADABLE = {
    "no request": b"\x00\xff this is not HTTP\r\n\r\n",
    "a greeting of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "another protocol": b"GET / FTP/9.9\r\n\r\n",
    "an address too long": b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a length that is no number": b"POST /v1/referrals HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
    "two lengths": b"POST /v1/referrals HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a name with spaces": b"GET / HTTP/1.1\r\nHost: x\r\n" + CANARY.encode() + b" Quill: 1\r\n\r\n",
}


def _raw(served: Served, sent: bytes) -> httpx.Response:
    """The answer to these bytes, up to the end of the connection."""
    target = urlsplit(served.url)
    with socket.create_connection((str(target.hostname), target.port or 0), timeout=10) as raw:
        raw.sendall(sent)
        said = raw.makefile("rb").read()
    head, _, body = said.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    return httpx.Response(int(first.split()[1]), headers=headers, content=body)


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_http_is_refused_like_anything_else(
    served: Served, force: httpx.Client, watched: Watched, name: str
) -> None:
    before = watched.counts()
    answer = _raw(served, UNREADABLE[name])
    document = refused(answer, 400, "bad-request")
    assert answer.headers["content-type"] == "application/problem+json"
    assert document.keys() == {"type", "title", "status", "detail", "request_id"}
    assert document["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["connection"] == "close"
    usual = force.get("/v1/nowhere").headers
    assert usual.keys() - answer.headers.keys() <= {"date"}
    assert document["request_id"] != refused(_raw(served, UNREADABLE[name]), 400, "bad-request")["request_id"]
    assert document["request_id"] in [line.get("request_id") for line in served.lines()]
    assert watched.counts() == before


@pytest.mark.parametrize("over", [1, 100_000, 3_000_000])
def test_more_than_256_kib_is_refused_readably(force: httpx.Client, watched: Watched, over: int) -> None:
    before = watched.counts()
    padded = VALID + b" " * (256 * 1024 - len(VALID) + over)
    refused(force.post("/v1/referrals", content=padded, headers=JSON), 413, "body-too-large")
    chunked = (padded[start : start + 65_536] for start in range(0, len(padded), 65_536))
    refused(force.post("/v1/referrals", content=chunked, headers=JSON), 413, "body-too-large")
    assert watched.counts() == before


def test_256_kib_are_read(force: httpx.Client) -> None:
    padded = VALID + b" " * (256 * 1024 - len(VALID))
    assert force.post("/v1/referrals", content=padded, headers=JSON).status_code == 201


@pytest.mark.parametrize("spelling", SECRET_SPELLINGS)
def test_a_secret_is_refused_and_only_the_refusal_is_kept(force: httpx.Client, watched: Watched, spelling: str) -> None:
    """One entry of the log, no word of the body anywhere."""
    body = referral(marking=spelling, purpose=CANARY, client_reference=f"{CANARY}-2", operation_name=CANARY)
    headers = {"Idempotency-Key": f"{CANARY}-{len(spelling)}"}
    before = watched.counts()
    refused(force.post("/v1/referrals", json=body, headers=headers), 422, "marking-not-accepted")
    assert watched.counts() == {**before, "audit_event": before["audit_event"] + 1}
    event = watched.latest_event()
    assert (event["action"], event["party"], event["referral_id"]) == ("referral.refused_marking", "SWP", None)
    assert event["detail"] is None
    assert watched.holds(CANARY) == []


def test_a_secret_is_a_secret_whatever_else_is_wrong_with_the_body(force: httpx.Client, watched: Watched) -> None:
    """Nothing is said about the rest of what may not be here at all."""
    before = watched.counts()
    body = referral(
        marking="SECRET", priority=CANARY, purpose="", grading={"source": 9, "assessment": "Z"}, extra=CANARY
    )
    document = refused(force.post("/v1/referrals", json=body), 422, "marking-not-accepted")
    assert [error["pointer"] for error in document["errors"]] == ["/marking"]
    assert watched.counts() == {**before, "audit_event": before["audit_event"] + 1}


@pytest.mark.parametrize("value", [1, None, ["OFFICIAL"], {"OFFICIAL": True}, "OFFICIAL ", "official", "Restricted"])
def test_another_unknown_marking_is_a_plain_error(force: httpx.Client, watched: Watched, value: Any) -> None:
    before = watched.counts()
    refused(force.post("/v1/referrals", json={**referral(), "marking": value}), 422, INVALID)
    assert watched.counts() == before


@pytest.mark.parametrize("name", ANY_BODY)
def test_without_a_credential_no_body_is_looked_at(anybody: httpx.Client, watched: Watched, name: str) -> None:
    body, kind = ANY_BODY[name]
    before = watched.counts()
    answer = anybody.post("/v1/referrals", content=body, headers={"Content-Type": kind})
    refused(answer, 401, "credential-required")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert watched.counts() == before


@pytest.fixture(scope="module")
def others(served: Served) -> Mapping[str, str]:
    """Keys of every role that may not refer."""
    roles = {"HMRC": Role.AGENCY, "TARIAN": Role.COORDINATOR}
    keys = {role.value: served.key(party, role) for party, role in roles.items()}
    return keys | {role.value: served.key("GAIN", role) for role in (Role.NATIONAL, Role.AUDITOR, Role.ADMINISTRATOR)}


@pytest.mark.parametrize(
    "name", ["a good body", "a secret", "NaN", "too deep", "no JSON by its type", "nothing", "too large"]
)
@pytest.mark.parametrize("role", ["agency", "coordinator", "national", "auditor", "administrator"])
def test_in_another_role_no_body_is_looked_at(
    anybody: httpx.Client, watched: Watched, others: Mapping[str, str], role: str, name: str
) -> None:
    body, kind = ANY_BODY[name]
    before = watched.counts()
    headers = {"Content-Type": kind, "Authorization": f"Bearer {others[role]}"}
    refused(anybody.post("/v1/referrals", content=body, headers=headers), 403, "role-not-allowed")
    assert watched.counts() == before


@pytest.mark.parametrize(
    "credential",
    [
        "",
        "Bearer",
        "Basic dXNlcjpwYXNz",
        "Bearer gain_dev_x_y_z",
        "Bearer " + "x" * 4_000,
        "Bearer gain____",
        "bearer \u00e9",
    ],
)
def test_what_is_no_credential_is_none(anybody: httpx.Client, watched: Watched, credential: str) -> None:
    before = watched.counts()
    headers = [(b"authorization", credential.encode("latin-1")), (b"content-type", b"application/json")]
    refused(anybody.post("/v1/referrals", content=VALID, headers=headers), 401, "credential-required")
    assert watched.counts() == before


def test_a_key_with_one_letter_changed_is_refused(served: Served, anybody: httpx.Client) -> None:
    key = served.key("SWP")
    for position in range(len(key)):
        other = key[:position] + ("x" if key[position] != "x" else "y") + key[position + 1 :]
        answer = anybody.get("/v1/referrals", headers={"Authorization": f"Bearer {other}"})
        assert answer.status_code == 401, position


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "caf\u00e9", "tab\there"])
def test_a_bad_idempotency_key_is_refused(force: httpx.Client, watched: Watched, key: str) -> None:
    before = watched.counts()
    headers = [(b"idempotency-key", key.encode("latin-1")), (b"content-type", b"application/json")]
    answer = force.post("/v1/referrals", content=VALID, headers=headers)
    assert answer.status_code == 422
    assert slug(answer) == "invalid-parameter"
    assert answer.json()["errors"][0]["pointer"] == "header/idempotency-key"
    assert watched.counts() == before
