"""Every refusal is a problem document that never repeats what was sent; every answer carries its id and its headers."""

import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app import errors
from app.errors import PROBLEM_TYPES
from app.web import pages
from tests.app.things import CANARY, LIMIT, refused


def person(**changes: Any) -> dict[str, Any]:
    return {"subject": {"kind": "person", "name": "Ann"}, **changes}


FAULTS: dict[str, tuple[Any, list[str]]] = {
    "wrong type": (person(subject=CANARY), ["/subject"]),
    "unknown tag": (person(subject={"kind": CANARY, "name": "A"}), ["/subject"]),
    "no tag": (person(subject={"name": CANARY}), ["/subject"]),
    "missing behind a tag": (person(subject={"kind": "vehicle"}), ["/subject/plate"]),
    "pattern": (person(subject={"kind": "person", "name": "q" + CANARY}), ["/subject/name"]),
    "too long": (person(subject={"kind": "person", "name": CANARY * 9}), ["/subject/name"]),
    "enum": (person(kind=CANARY), ["/kind"]),
    "uuid": (person(id=CANARY), ["/id"]),
    "date": (person(born=CANARY), ["/born"]),
    "date with time": (person(born="1984-03-07T10:11:12Z"), ["/born"]),
    "time": (person(seen=CANARY), ["/seen"]),
    "time without offset": (person(seen="2026-01-01T00:00:00"), ["/seen"]),
    "naive time": (person(naive="2026-13-01"), ["/naive"]),
    "url": (person(page=f"http://[{CANARY}"), ["/page"]),
    "number": (person(score=CANARY), ["/score"]),
    "range": (person(score=-941_337), ["/score"]),
    "union": (person(either=CANARY), ["/either", "/either"]),
    "list item": (person(lines=["ok", CANARY]), ["/lines/1"]),
    "careless validator": (person(lines=["int"]), ["/lines"]),
    "value under a key of the client": (person(labels={CANARY: CANARY}), ["/labels"]),
    "unknown field": (person(colour=CANARY), ["/colour"]),
    "unknown field named after a person": (person(**{CANARY + "~/": 1}), [""]),
    "not an object": ([CANARY], [""]),
    "several": ({"born": CANARY, "score": CANARY}, ["/subject", "/born", "/score"]),
}


@pytest.mark.parametrize(("body", "pointers"), FAULTS.values(), ids=FAULTS.keys())
async def test_a_fault_is_pointed_at_and_never_quoted(
    client: httpx.AsyncClient, body: Any, pointers: list[str]
) -> None:
    document = refused(await client.post("/v1/things", json=body), errors.INVALID_BODY)
    assert [fault["pointer"] for fault in document["errors"]] == pointers
    assert all(fault["detail"] for fault in document["errors"])
    assert "941337" not in str(document)


async def test_a_key_with_a_slash_is_escaped_or_left_out(client: httpx.AsyncClient) -> None:
    document = refused(await client.post("/v1/things", json=person(labels={"a/b": "x"})), errors.INVALID_BODY)
    assert document["errors"][0]["pointer"] == "/labels"


async def test_choices_are_told_but_not_the_one_that_was_made(client: httpx.AsyncClient) -> None:
    document = refused(await client.post("/v1/things", json=person(subject={"kind": CANARY})), errors.INVALID_BODY)
    assert "'person', 'vehicle'" in document["errors"][0]["detail"]


async def test_thousands_of_faults_are_told_in_part(client: httpx.AsyncClient) -> None:
    document = refused(await client.post("/v1/things", json=person(lines=["toolong"] * 5000)), errors.INVALID_BODY)
    assert len(document["errors"]) == 100


async def test_a_single_fault_with_a_problem_of_its_own_is_that_problem(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/things", json=person(born="2999-01-01"))
    document = refused(answer, errors.BIRTH_DATE_IN_FUTURE)
    assert document["errors"] == [{"pointer": "/born", "detail": "The date of birth is in the future."}]


async def test_with_a_second_fault_it_is_one_of_a_list(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/things", json=person(born="2999-01-01", score=CANARY))
    assert len(refused(answer, errors.INVALID_BODY)["errors"]) == 2


@pytest.mark.parametrize(
    "body",
    [
        CANARY.encode(),
        b'{"subject": "' + CANARY.encode(),
        b'{"score": NaN}',
        b'{"score": 1e400}',
        b'{"a": "\\ud800"}',
        b'{"a": "\\u0000"}',
        b'{"%s": 1, "%s": 2}' % (CANARY.encode(), CANARY.encode()),
        b"[" * 100_00,
        b"\xff\xfe",
        b" ",
    ],
)
async def test_a_body_that_is_not_strict_json_gets_400(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/v1/things", content=body, headers={"Content-Type": "application/json"})
    refused(answer, errors.NOT_JSON)


async def test_nothing_at_all_is_not_json(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/things", headers={"Content-Type": "application/json"})
    assert "The body is empty" in refused(answer, errors.NOT_JSON)["detail"]


@pytest.mark.parametrize("kind", ["", "text/plain", "text/json", "application/xml", "application/jsonx", "garbage;;"])
async def test_another_content_type_gets_415(client: httpx.AsyncClient, kind: str) -> None:
    answer = await client.post("/v1/things", content=json.dumps(person()), headers={"Content-Type": kind})
    assert "Content-Type: application/json" in refused(answer, errors.MEDIA_TYPE)["detail"]


async def test_where_no_content_type_is_said_the_text_itself_shows_whether_it_is_json(
    client: httpx.AsyncClient,
) -> None:
    assert (await client.post("/v1/things", content=json.dumps(person()))).status_code == 200
    refused(await client.post("/v1/things", content="{bad"), errors.NOT_JSON)


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"]
)
async def test_every_json_content_type_is_taken(client: httpx.AsyncClient, kind: str) -> None:
    answer = await client.post("/v1/things", content=json.dumps(person()), headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()) == (200, {"kind": "person"})


@pytest.mark.parametrize("body", [b"{", b'{"a": NaN}', b"", b"x" * (LIMIT * 2)])
async def test_without_a_credential_the_body_is_not_judged(app: FastAPI, body: bytes) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answer = await client.post("/v1/things", content=body)
    refused(answer, errors.CREDENTIAL_REQUIRED)
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_form_is_still_a_form(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/forms", data={"word": "yes"})).json() == "yes"
    document = refused(await client.post("/v1/forms", data={"word": CANARY}), errors.INVALID_BODY)
    assert document["errors"][0]["pointer"] == "/word"


async def test_parameters_are_pointed_at_by_where_they_stand(client: httpx.AsyncClient) -> None:
    path = "/v1/things/018f0000-0000-7000-8000-000000000000"
    answer = await client.get(path, params={"limit": CANARY}, headers={"Idempotency-Key": CANARY})
    document = refused(answer, errors.INVALID_PARAMETER)
    assert {fault["pointer"] for fault in document["errors"]} == {"query/limit", "header/idempotency-key"}


async def test_hidden_absent_and_impossible_look_the_same(client: httpx.AsyncClient) -> None:
    """Whoever asks must not learn from the answer that something is there."""
    paths = ["/v1/things/018f0000-0000-7000-8000-000000000000", f"/v1/things/{CANARY}", f"/{CANARY}", "/problems/nil"]
    documents = [refused(await client.get(path), errors.NOT_FOUND) for path in paths]
    for document in documents:
        del document["request_id"]
    assert all(document == documents[0] for document in documents)


async def test_a_wrong_method_gets_405_and_the_right_ones(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/v1/things")
    refused(answer, errors.METHOD_NOT_ALLOWED)
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("how", "kind", "retry"),
    [
        ("bug", errors.INTERNAL, None),
        ("row", errors.INTERNAL, None),
        ("away", errors.UNAVAILABLE, "1"),
        ("late", errors.TOO_MANY_REQUESTS, "7"),
        ("teapot", errors.BAD_REQUEST, None),
        ("http", errors.BAD_REQUEST, None),
    ],
)
async def test_whatever_goes_wrong_is_a_problem_without_values(
    client: httpx.AsyncClient, how: str, kind: errors.ProblemType, retry: str | None
) -> None:
    answer = await client.get(f"/v1/broken/{how}")
    refused(answer, kind)
    assert answer.headers.get("retry-after") == retry
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_database_away_at_the_credential_check_gets_503(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/things", content=b"{", headers={"Authorization": "away"})
    refused(answer, errors.UNAVAILABLE)
    assert answer.headers["retry-after"] == "1"


async def test_a_redirect_stays_a_redirect(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/broken/redirect")
    assert (answer.status_code, answer.headers["location"]) == (303, "/elsewhere")


async def test_each_problem_type_has_a_page_that_its_type_leads_to(client: httpx.AsyncClient) -> None:
    index = (await client.get("/problems/")).text
    for kind in PROBLEM_TYPES.values():
        page = await client.get(f"/problems/{kind.slug}")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert kind.title in page.text
        assert f'href="/problems/{kind.slug}"' in index


def test_a_page_escapes_what_it_is_given() -> None:
    kind = errors.ProblemType("x", 400, "<script>alert(1)</script>", "a & b")
    page = bytes(pages.render("problem.html", kind=kind).body).decode()
    assert "<script>alert" not in page
    assert "a &amp; b" in page
