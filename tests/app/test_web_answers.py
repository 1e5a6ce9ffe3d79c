"""What every answer carries, pages, the document, metrics, readiness, and logs without any value."""

import asyncio
import json
import re
import subprocess
import sys
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI, Request
from jinja2 import UndefinedError

from app import errors, metrics
from app.crypto.keys import Keys
from app.logs import describe
from app.settings import Settings
from app.web import pages
from app.web.health import Readiness
from tests.app.things import CANARY
from tests.conftest import SECRET


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
    assert "script-src 'nonce-" in policy
    assert "script-src" not in (await client.get("/health/live")).headers["content-security-policy"]
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
from tests.app.things import make_app

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
