"""Every bad body gets its own refusal as a problem document, repeats nothing of what was sent, and changes nothing.

Against a gateway process, so that its parser, its limits and its log are the real ones.
"""

# ruff: noqa: S608  names of tables and columns cannot be parameters; none comes from outside

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from app.access.policy import Role
from app.schema import metadata
from tests.acts import Document, slug, table_counts
from tests.app.conftest import Served
from tests.conftest import referral

CANARY = "Quillfeather"
"""Stands in every bad value, and may stand nowhere else afterwards."""

JSON = {"Content-Type": "application/json"}
_TELLING_NOTHING = ("heartbeat", "agency_seen")


def changed(path: str, value: Any) -> Document:
    """The example with one value set, by dotted path; a missing list item is appended."""
    body = referral()
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    node: Any = body
    for step in steps:
        node = node[step]
    node[last] = value
    return body


def without(path: str) -> Document:
    """The example with one value left out, by dotted path."""
    body = referral()
    *steps, last = path.split(".")
    node: Any = body
    for step in steps:
        node = node[step]
    del node[last]
    return body


def raw(path: str, text_: str) -> bytes:
    """The example with this JSON text, which Python could not write, in the place of one value."""
    return json.dumps(changed(path, "@@")).replace('"@@"', text_).encode()


# Not tomorrow: midnight may pass between this line and its request.
IN_TWO_DAYS = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
BARE: Document = {"kind": "person"}
NAMELESS = "no-identifying-detail"
INVALID = "invalid-body"

CODES = [
    "subject.kind", "subject.identifiers.0.type", "criterion", "crime_types.0", "priority", "warnings.0",
    "legal_basis", "marking", "grading.assessment", "handling.code",
]  # fmt: skip
PLACES = [
    "", "subject.", "subject.aliases.0.", "subject.addresses.0.", "subject.identifiers.0.", "ocg.", "contact.",
    "grading.", "handling.",
]  # fmt: skip
REQUIRED = [
    "subject", "subject.kind", "criterion", "crime_types", "priority", "purpose", "legal_basis", "marking", "grading",
    "grading.source", "grading.assessment", "handling", "handling.code",
]  # fmt: skip
TEXTS = [
    "subject.family_name", "subject.given_names", "subject.addresses.0.lines.0", "subject.addresses.0.postcode",
    "subject.identifiers.0.value", "ocg.reference", "ocg.band", "purpose", "information_sought", "operation_name",
    "contact.name", "client_reference",
]  # fmt: skip
LISTS = [
    "subject.aliases", "subject.addresses", "subject.addresses.0.lines", "subject.identifiers", "crime_types",
    "warnings", "handling.conditions", "addressees",
]  # fmt: skip
OBJECTS = ["subject", "ocg", "contact", "grading", "handling"]
NUMBERS = ["ocg.score", "ocg.morile_score", "grading.source"]


def unacceptable() -> dict[str, tuple[Document, str]]:
    """Bodies that are JSON and say what is not acceptable: name -> body, problem type."""
    table: dict[str, tuple[Document, str]] = {}
    for path in CODES:
        table[f"unknown code in {path}"] = changed(path, CANARY), INVALID
        table[f"number for the code {path}"] = changed(path, 1), INVALID
    table["code in other letters"] = changed("priority", "Routine"), INVALID
    table["unknown condition"] = changed("handling", {"code": "C", "conditions": [CANARY]}), INVALID
    for place in PLACES:
        table[f"unknown field in {place or 'the body'}"] = changed(f"{place}{CANARY}", CANARY), INVALID
    for path in REQUIRED:
        table[f"{path} is missing"] = without(path), INVALID
        table[f"{path} is null"] = changed(path, None), INVALID
    for path in TEXTS:
        table[f"blank {path}"] = changed(path, " \t\n\u00a0"), INVALID
        table[f"empty {path}"] = changed(path, ""), INVALID
        table[f"too long {path}"] = changed(path, CANARY * 1_000), INVALID
        table[f"number in {path}"] = changed(path, 19_840_307), INVALID
        table[f"list in {path}"] = changed(path, [CANARY]), INVALID
    for path in LISTS:
        table[f"text for the list {path}"] = changed(path, CANARY), INVALID
        table[f"null in the list {path}"] = changed(path, [None]), INVALID
        table[f"object for the list {path}"] = changed(path, {"0": CANARY}), INVALID
    for path in OBJECTS:
        table[f"text for the object {path}"] = changed(path, CANARY), INVALID
        table[f"list for the object {path}"] = changed(path, [[CANARY, CANARY]]), INVALID
        table[f"empty object {path}"] = changed(path, {}), INVALID
    for path in NUMBERS:
        table[f"text for the number {path}"] = changed(path, "2"), INVALID
        table[f"boolean for the number {path}"] = changed(path, True), INVALID
        table[f"negative {path}"] = changed(path, -1), INVALID
        table[f"huge {path}"] = changed(path, 10**30), INVALID
    table["source 4"] = changed("grading.source", 4), INVALID
    table["half a source"] = changed("grading.source", 1.5), INVALID
    table["two as 2.0"] = changed("grading.source", 2.0), INVALID
    table["empty crime types"] = changed("crime_types", []), INVALID
    table["empty addressees"] = changed("addressees", []), INVALID
    table["empty lines"] = changed("subject.addresses.0", {"lines": []}), INVALID
    table["empty alias"] = changed("subject.aliases.0", {}), INVALID
    for path, value in {"crime_types": "fraud", "warnings": "violent", "addressees": "HMRC"}.items():
        table[f"twice the same in {path}"] = changed(path, [value, value]), INVALID
    table["twice the same condition"] = changed("handling", {"code": "C", "conditions": ["A1", "A1"]}), INVALID
    table["C without conditions"] = changed("handling", {"code": "C", "conditions": []}), "handling-conditions-required"
    table["C with none given"] = changed("handling", {"code": "C"}), "handling-conditions-required"
    table["P with a condition"] = changed("handling", {"code": "P", "conditions": ["A1"]}), INVALID
    for code in ["XX", CANARY.upper(), "HMRC2", "LA-NOWHERE"]:
        table[f"unknown addressee {code}"] = changed("addressees", ["HMRC", code]), "unknown-addressee"
    for code in ["SWP", "GWP", "MPS", "TARIAN", "GAIN"]:
        table[f"{code} as an addressee"] = changed("addressees", [code]), "unknown-addressee"
    table["addressee in small letters"] = changed("addressees", ["hmrc"]), INVALID
    table["addressee with a space"] = changed("addressees", ["HMRC "]), INVALID
    table["addressee with a line end"] = changed("addressees", ["HMRC\n"]), INVALID
    table["birth in two days"] = changed("subject.date_of_birth", IN_TWO_DAYS), "birth-date-in-future"
    table["birth in 9999"] = changed("subject.date_of_birth", "9999-12-31"), "birth-date-in-future"
    for born in ["1984-02-30", "1984-13-01", "07/03/1984", "19840307", "1984-3-7", "1984-03-07T00:00:00Z", "0000-01-01",
                 "1984-03-07 ", "1066-10-14", "１９８４-03-07"]:  # noqa: RUF001  # fmt: skip
        table[f"birth on {born}"] = changed("subject.date_of_birth", born), INVALID
    for number in [19_840_307, 447_465_600, 0, 5.5, True]:
        table[f"birth as the number {number}"] = changed("subject.date_of_birth", number), INVALID
    table["nothing identifies"] = changed("subject", BARE), NAMELESS
    table["a birth date identifies nobody"] = changed("subject", {**BARE, "date_of_birth": "1984-03-07"}), NAMELESS
    table["given names identify nobody"] = changed("subject", {**BARE, "given_names": "Rhys"}), NAMELESS
    table["empty lists identify nobody"] = changed("subject", {**BARE, "aliases": [], "identifiers": []}), NAMELESS
    for kind in ["organisation", "premises", "vehicle"]:
        table[f"nothing identifies the {kind}"] = changed("subject", {"kind": kind}), NAMELESS
        table[f"a family name for the {kind}"] = changed("subject", {"kind": kind, "family_name": CANARY}), INVALID
    table["a name for a person"] = changed("subject", {**BARE, "name": CANARY}), INVALID
    table["purpose of 2,001 characters"] = changed("purpose", "x" * 2_001), INVALID
    table["email that is none"] = changed("contact.email", CANARY), INVALID
    table["phone that is none"] = changed("contact.phone", CANARY), INVALID
    table["more addresses than fifty"] = changed("subject.addresses", [{"postcode": "CF48 1AA"}] * 51), INVALID
    table["more addressees than there are"] = changed("addressees", [f"A{n}" for n in range(101)]), INVALID
    return table


SECRET_SPELLINGS = [
    "SECRET", "TOP SECRET", "secret", "Secret", "top secret", "TOP-SECRET", "TOP_SECRET", "TopSecret", " SECRET ",
    "UK SECRET", "SECRET - UK EYES ONLY", "OFFICIAL-SECRET", "S E C R E T", "s.e.c.r.e.t", "sécret",
    "\uff33\uff25\uff23\uff32\uff25\uff34", "SE\u200bCRET",
]  # fmt: skip

VALID = json.dumps(referral()).encode()
NOT_JSON = {
    "NaN": raw("ocg.morile_score", "NaN"),
    "Infinity": raw("ocg.morile_score", "Infinity"),
    "minus Infinity": raw("ocg.morile_score", "-Infinity"),
    "1e400": raw("ocg.morile_score", "1e400"),
    "a number of a million digits": raw("ocg.score", "1" * 100_000),
    "a key twice": VALID[:-1] + b', "marking": "SECRET"}',
    "a key twice, deep": raw("grading", '{"source": 1, "source": 2, "assessment": "B"}'),
    "a key twice, once escaped": VALID[:-1] + b', "m\\u0061rking": "OFFICIAL"}',
    "NUL": raw("purpose", f'"{CANARY}\\u0000"'),
    "NUL in a key": VALID[:-1] + b', "a\\u0000": 1}',
    "lone surrogate": raw("purpose", f'"{CANARY}\\ud800"'),
    "lone low surrogate": raw("purpose", f'"\\udfff{CANARY}"'),
    "too deep": raw("subject.aliases", "[" * 40 + "]" * 40),
    "far too deep": b"[" * 100_000,
    "Latin-1": json.dumps(changed("purpose", "Gwyl é"), ensure_ascii=False).encode("latin-1"),
    "UTF-16": json.dumps(referral()).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + VALID,
    "overlong UTF-8": raw("purpose", '"@"').replace(b'"@"', b'"\xc0\xaf"'),
    "truncated": VALID[:-20],
    "two documents": VALID + VALID,
    "trailing comma": VALID[:-1] + b",}",
    "comment": VALID + b" // " + CANARY.encode(),
    "single quotes": VALID.replace(b'"', b"'"),
    "bare word": CANARY.encode(),
    "space": b"   ",
}
NOT_OBJECTS = {
    "array": b"[]",
    "array of one": b"[" + VALID + b"]",
    "text": b'"x"',
    "number": b"7",
    "null": b"null",
    "true": b"true",
}

UNACCEPTABLE = unacceptable()


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
        ("HMRC", "/v1/inbox/claims"),
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


def _any_body() -> dict[str, tuple[bytes, str]]:
    table = {
        name: (json.dumps(body).encode(), "application/json") for name, (body, _) in list(UNACCEPTABLE.items())[::9]
    }
    table |= {name: (body, "application/json") for name, body in NOT_JSON.items()}
    table["a good body"] = (VALID, "application/json")
    table["a secret"] = (json.dumps(referral(marking="SECRET")).encode(), "application/json")
    table["no JSON by its type"] = (VALID, "text/plain")
    table["too large"] = (VALID + b" " * 300_000, "application/json")
    table["nothing"] = (b"", "application/json")
    return table


ANY_BODY = _any_body()


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
