"""Every refusal is a problem document that never repeats what was sent; every answer carries its id and its headers."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Form, Header, Query, Request
from jinja2 import UndefinedError
from pydantic import AnyUrl, AwareDatetime, BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError
from sqlalchemy.exc import IntegrityError, OperationalError
from starlette.exceptions import HTTPException

from app import errors, metrics
from app.crypto.keys import Keys
from app.errors import PROBLEM_TYPES, Problem
from app.logs import describe
from app.settings import Settings
from app.web import pages
from app.web.guard import BodyLimit
from app.web.health import Readiness
from app.web.install import install
from app.web.routing import StrictRequest, StrictRoute
from tests.conftest import SECRET

CANARY = "Quillfeather"
LIMIT = 64 * 1024


class Kind(StrEnum):
    PERSON = "person"
    VEHICLE = "vehicle"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Person(Strict):
    kind: Literal["person"]
    name: str = Field(max_length=20, pattern="^[A-Z]")


class Vehicle(Strict):
    kind: Literal["vehicle"]
    plate: str


class Thing(Strict):
    subject: Annotated[Person | Vehicle, Field(discriminator="kind")]
    kind: Kind = Kind.PERSON
    id: UUID | None = None
    born: date | None = None
    seen: AwareDatetime | None = None
    naive: datetime | None = None
    page: AnyUrl | None = None
    score: int | None = Field(default=None, ge=0, le=100)
    either: int | bool | None = None
    lines: list[Annotated[str, Field(max_length=5)]] = []
    labels: dict[str, int] = {}

    @field_validator("born")
    @classmethod
    def not_in_future(cls, value: date | None) -> date | None:
        if value is not None and value.year > 2100:
            raise PydanticCustomError("birth-date-in-future", "The date of birth is in the future.")
        return value

    @field_validator("lines")
    @classmethod
    def careless(cls, value: list[str]) -> list[str]:
        for line in value:
            if line == "int":
                int(CANARY)
        return value


class Secured(StrictRoute):
    async def before_body(self, request: StrictRequest) -> None:
        if request.headers.get("authorization") == "away":
            raise OperationalError("SELECT", {}, ConnectionRefusedError(CANARY))
        if "authorization" not in request.headers:
            raise Problem(errors.CREDENTIAL_REQUIRED)


inner = APIRouter(route_class=Secured)


@inner.post("/things")
async def make(thing: Thing) -> dict[str, str]:
    return {"kind": thing.subject.kind}


@inner.get("/things/{thing_id}")
async def read(
    thing_id: UUID,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    key: Annotated[str, Header(alias="Idempotency-Key", max_length=5)] = "",
) -> None:
    raise Problem(errors.NOT_FOUND)


@inner.post("/forms")
async def form(word: Annotated[str, Form(max_length=3)]) -> str:
    return word


@inner.get("/broken/{how}")
async def broken(how: str) -> None:
    raise {
        "bug": KeyError(CANARY),
        "row": IntegrityError("INSERT", {}, Exception(f"DETAIL: Key (name)=({CANARY})")),
        "away": TimeoutError(CANARY),
        "late": Problem(errors.TOO_MANY_REQUESTS, retry_after=7),
        "teapot": HTTPException(418, CANARY),
        "http": HTTPException(400, CANARY),
        "redirect": HTTPException(303, headers={"Location": "/elsewhere"}),
    }[how]


def make_app() -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, redirect_slashes=False)
    outer = APIRouter()
    outer.include_router(inner, prefix="/v1")
    app.include_router(outer)
    install(app, BodyLimit(LIMIT))
    return app


@pytest.fixture
def app() -> FastAPI:
    return make_app()


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", headers={"Authorization": "Bearer x"}
    ) as made:
        yield made


def refused(answer: httpx.Response, kind: errors.ProblemType) -> Any:
    """The document of an answer that is this refusal, whole and without the canary."""
    assert CANARY.lower() not in answer.text.lower()
    assert CANARY.lower() not in str(answer.headers).lower()
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (answer.status_code, document["status"]) == (kind.status, kind.status)
    assert (document["type"], document["title"]) == (f"/problems/{kind.slug}", kind.title)
    assert document["detail"]
    assert document["request_id"] == answer.headers["x-request-id"]
    return document


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


async def test_an_empty_body_is_a_missing_one(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/things", headers={"Content-Type": "application/json"})
    assert refused(answer, errors.INVALID_BODY)["errors"] == [{"pointer": "", "detail": "This field is required."}]


@pytest.mark.parametrize("kind", [None, "text/plain", "text/json", "application/xml", "application/jsonx", "garbage;;"])
async def test_another_content_type_gets_415(client: httpx.AsyncClient, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = await client.post("/v1/things", content=json.dumps(person()), headers=headers)
    assert "Content-Type: application/json" in refused(answer, errors.MEDIA_TYPE)["detail"]


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


async def test_a_sane_request_id_is_kept(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health/live", headers={"X-Request-Id": "abc-12345_6"})
    assert answer.headers["x-request-id"] == "abc-12345_6"


@pytest.mark.parametrize("sent", ["short", "x" * 65, "with space in it", "<script>alert</script>", '"quoted-id"', ""])
async def test_another_request_id_is_replaced(client: httpx.AsyncClient, sent: str) -> None:
    answer = await client.get("/health/live", headers={"X-Request-Id": sent})
    assert UUID(answer.headers["x-request-id"]).version == 7


async def test_answers_forbid_foreign_scripts_frames_and_caches(client: httpx.AsyncClient) -> None:
    answer = await client.get("/problems/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    style = await client.get("/static/gain.css")
    assert (style.status_code, style.headers["cache-control"]) == (200, "no-cache")
    assert (await client.get("/static/../install.py")).status_code == 404


async def test_a_page_asks_for_styles_that_the_browser_may_keep_until_they_change(client: httpx.AsyncClient) -> None:
    page = (await client.get("/problems/")).text
    addresses = re.findall(r'(?:href|src)="(/static/[^"]+\?v=[^"]+)"', page)
    assert len(addresses) == 3  # the design system's styles, our own, and the script
    for address in addresses:
        answer = await client.get(address)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
    other = await client.get("/static/gain.css?v=0123456789ab")
    assert (other.status_code, other.headers["cache-control"]) == (200, "no-cache")


async def test_nothing_of_govuk_that_others_may_not_use_is_served(client: httpx.AsyncClient) -> None:
    styles = (await client.get("/static/vendor/govuk.css")).text.lower()
    assert "govuk-button" in styles
    assert not any(word in styles for word in ("gds transport", "@font-face", "crest", "crown"))
    icons = set(re.findall(r"url\(([^)]+)\)", styles))
    assert icons
    for icon in icons:
        assert (await client.get(icon)).status_code == 200


def test_a_template_fails_where_a_name_is_missing_though_the_macros_it_uses_do_not_mind() -> None:
    page = bytes(pages.render("problem.html", kind=errors.NOT_FOUND).body).decode()
    assert "govuk-skip-link" in page
    with pytest.raises(UndefinedError):
        pages.render("problem.html")


def test_a_form_shows_what_is_wrong_on_top_and_beside_the_field() -> None:
    wrong = {"reason": "Give a <reason>"}
    app = FastAPI()
    app.state.keys, app.state.settings = Keys(SECRET.encode()), Settings()
    answer = pages.confirm(
        Request({"type": "http", "headers": [], "app": app}),
        "Hold it",
        "x < y",
        button="Hold",
        back="/",
        reason="",
        errors=wrong,
    )
    page = bytes(answer.body).decode()
    assert answer.status_code == 422
    assert "<title>Error: Hold it" in page
    assert page.count("Give a &lt;reason&gt;") == 2
    assert '<a href="#reason"' in page
    assert 'aria-describedby="reason-hint reason-error"' in page
    assert "x &lt; y" in page


async def test_the_api_page_loads_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    assert "://" not in page
    assert "<script>" not in page
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "docs.js"):
        assert f"/static/{asset}" in page
        assert (await client.get(f"/static/{asset}")).status_code == 200


async def test_the_openapi_document_tells_refusals_as_they_are(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert "HTTPValidationError" not in str(document)
    answers = document["paths"]["/v1/things"]["post"]["responses"]
    assert {"400", "408", "413", "415", "422"} <= answers.keys()
    assert "default" not in answers
    refusal = document["paths"]["/v1/things"]["post"]["responses"]["422"]["content"]["application/problem+json"]
    assert refusal["schema"] == {"$ref": "#/components/schemas/ProblemDocument"}
    assert {"ProblemDocument", "Fault"} <= document["components"]["schemas"].keys()


async def test_requests_are_counted_under_their_route_template(client: httpx.AsyncClient) -> None:
    await client.get(f"/v1/things/{CANARY}")
    await client.request("BREW", f"/{CANARY}")
    text = metrics.render()[0].decode()
    labels = 'gain_request_duration_seconds_count{method="%s",route="%s",status="4xx"}'
    assert labels % ("GET", "/v1/things/{thing_id}") in text
    assert labels % ("OTHER", "unmatched") in text
    assert CANARY not in text


@pytest.mark.parametrize(
    ("peer", "headers", "local"),
    [
        ("127.0.0.1", [], True),
        ("::1", [], True),
        ("::ffff:127.0.0.1", [], True),
        ("10.0.0.7", [], False),
        ("127.0.0.1", [(b"x-forwarded-for", b"127.0.0.1")], False),
        ("10.0.0.7", [(b"forwarded", b"for=127.0.0.1")], False),
        ("localhost", [], False),
    ],
)
def test_only_an_unforwarded_request_from_this_machine_is_local(
    peer: str, headers: list[tuple[bytes, bytes]], local: bool
) -> None:
    assert metrics.from_loopback({"client": (peer, 1), "headers": headers}) is local
    assert metrics.from_loopback({"client": None, "headers": headers}) is False


async def ok() -> None:
    return None


async def away() -> None:
    raise ConnectionRefusedError(CANARY)


async def hangs() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("needed", "helpful", "status", "word"),
    [
        (ok, ok, 200, "ready"),
        (ok, away, 200, "degraded"),
        (away, ok, 503, "not ready"),
        (hangs, hangs, 503, "not ready"),
    ],
)
async def test_readiness_follows_the_database_and_only_mentions_the_broker(
    app: FastAPI, client: httpx.AsyncClient, needed: Any, helpful: Any, status: int, word: str
) -> None:
    app.state.readiness = Readiness({"database": needed}, {"broker": helpful}, limit_seconds=0.2)
    answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (status, word)
    assert answer.json()["checks"].keys() == {"database", "broker"}
    assert (await client.get("/health/live")).json() == {"status": "live"}


async def test_a_flood_of_probes_costs_one_look(app: FastAPI, client: httpx.AsyncClient) -> None:
    looks = 0

    async def count() -> None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)

    app.state.readiness = Readiness({"database": count}, {}, keep_seconds=30)
    answers = await asyncio.gather(*(client.get("/health/ready") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert looks == 1


async def test_a_part_that_comes_back_is_seen(app: FastAPI, client: httpx.AsyncClient) -> None:
    probes = [away(), ok()]
    app.state.readiness = Readiness({"database": lambda: probes.pop(0)}, {}, keep_seconds=0)
    assert (await client.get("/health/ready")).status_code == 503
    assert (await client.get("/health/ready")).status_code == 200


LOGGING_PROCESS = f"""
import asyncio, logging
import httpx
from app import logs
from tests.app.test_web_problems import make_app

logs.configure("gateway", "INFO")
logging.getLogger("uvicorn.error").info("Started server process [%d]", 7)
logging.getLogger("celery.app.trace").error("Task %(name)s raised: %(exc)s", {{"name": "t", "exc": "{CANARY}"}})

async def main():
    transport = httpx.ASGITransport(make_app())
    headers = {{"Authorization": "x", "X-Request-Id": "request-one"}}
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
        await client.get("/v1/broken/row?{CANARY}=1")
        await client.get("/v1/things/{CANARY}")
        await client.post("/v1/things", json={{"{CANARY}": "{CANARY}"}})
        await client.get("/health/live")
        await client.get("/static/gain.css")

async def lost():
    raise ValueError("{CANARY}")

async def loses():
    task = asyncio.ensure_future(lost())
    await asyncio.sleep(0)
    del task

asyncio.run(main())
asyncio.run(loses())
try:
    int("{CANARY}")
except ValueError:
    logging.getLogger("somewhere").exception("failed with %s", "{CANARY}")
raise RuntimeError("{CANARY}")
"""


def test_logs_are_json_lines_with_the_request_id_and_without_any_value() -> None:
    done = subprocess.run([sys.executable, "-c", LOGGING_PROCESS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert CANARY not in done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all({"time", "level", "event", "part", "pid"} <= line.keys() for line in lines)
    assert {line["part"] for line in lines} == {"gateway"}
    requests = [line for line in lines if line["event"] == "request"]
    assert [(line["route"], line["status"], line.get("problem")) for line in requests] == [
        ("/v1/broken/{how}", 500, "internal"),
        ("/v1/things/{thing_id}", 404, "not-found"),
        ("/v1/things", 422, "invalid-body"),
        ("/static", 200, None),
    ]
    assert all(line["request_id"] == "request-one" and line["ms"] > 0 for line in requests)
    failed = next(line for line in lines if line["event"] == "request failed")
    assert failed["exception"]["type"] == "sqlalchemy.exc.IntegrityError"
    assert failed["exception"]["frames"][-1].endswith(":broken")
    events = [line["event"] for line in lines]
    assert {"Started server process [7]", "Task t raised: withheld", "failed with %s", "uncaught exception"} <= {
        *events
    }
    assert "Task exception was never retrieved" in events


def test_an_exception_is_described_with_its_causes() -> None:
    try:
        try:
            raise KeyError(CANARY)
        except KeyError as error:
            raise ExceptionGroup(CANARY, [ValueError(CANARY)]) from error
    except ExceptionGroup as error:
        told = describe(error)
    assert told["type"] == "builtins.ExceptionGroup"
    assert told["cause"]["type"] == "builtins.KeyError"
    assert told["group"][0]["type"] == "builtins.ValueError"
    assert CANARY not in str(told)
