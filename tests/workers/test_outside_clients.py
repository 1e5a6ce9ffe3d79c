"""The outside clients against a gateway that keeps the contract's promises and breaks its connections now and then."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import ValidationError

from app.referrals.documents import SubmittedResponse
from workers.simulation.bearer import KeyOrToken
from workers.simulation.bodies import Body, bodies
from workers.simulation.clients import Client
from workers.simulation.scenario import random_referrals

SEED = 20151112
INBOX = "/v1/inbox"


@dataclass
class Gateway:
    """One agency's inbox as contract.md tells it, for as many items as are put into it."""

    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: int = 0
    trouble: list[Callable[[httpx.Request], httpx.Response]] = field(default_factory=list)

    def put(self, referral: dict[str, Any], state: str = "delivered") -> str:
        id_ = str(uuid4())
        item = {"id": id_, "reference": "GAIN-2026-000001", "agency": "HSE", "round": 1, "state": state}
        self.items[id_] = {**item, "priority": "urgent", "messages": [], "referral": referral}
        return id_

    def handle(self, request: httpx.Request) -> httpx.Response:
        if self.trouble:
            return self.trouble.pop()(request)
        assert request.headers["Authorization"] == "Bearer key"
        if request.method == "GET":
            return self._page(request)
        body = json.loads(request.content)
        if request.url.path == f"{INBOX}/acknowledgements":
            return self._acknowledge(body["ids"])
        if request.url.path == f"{INBOX}/responses":
            results = [{"id": item["id"], "status": self._record(item.pop("id"), item)} for item in body["items"]]
            return httpx.Response(200, json={"items": results, "next": None})
        return httpx.Response(self._record(request.url.path.split("/")[-2], body), json={})

    def _page(self, request: httpx.Request) -> httpx.Response:
        wanted = request.url.params.get("state")
        states = {wanted} if wanted else {"delivered", "cancelled"}
        listed = [item for item in self.items.values() if item["state"] in states]
        start, limit = int(request.url.params.get("cursor", 0)), int(request.url.params["limit"])
        following = str(start + limit) if len(listed) > start + limit else None
        return httpx.Response(200, json={"items": listed[start : start + limit], "next": following})

    def _acknowledge(self, ids: list[str]) -> httpx.Response:
        for id_ in ids:
            cancelled = self.items[id_]["state"] == "cancelled"
            self.items[id_]["state"] = "settled" if cancelled else "acknowledged"
        return httpx.Response(200, json={"items": [{"id": id_, "status": 200} for id_ in ids], "next": None})

    def _record(self, id_: str, body: Any) -> int:
        try:
            SubmittedResponse.model_validate(body)
        except ValidationError:
            self.refused += 1
            return 422
        assert id_ not in self.answers
        self.answers[id_] = body
        self.items[id_]["state"] = "answered"
        return 201


@pytest.fixture(scope="module")
def body() -> Body:
    return bodies(SEED, frozenset({"HSE"}))["HSE"]


@pytest.fixture(scope="module")
def referrals() -> list[dict[str, Any]]:
    return random_referrals(SEED, 120)


@asynccontextmanager
async def _working(gateway: Gateway, body: Body, speed: float = 0) -> AsyncIterator[None]:
    transport = httpx.MockTransport(gateway.handle)
    async with httpx.AsyncClient(base_url="http://gateway.invalid", transport=transport) as http:
        work = asyncio.ensure_future(Client(http, body, "key", speed).work())
        try:
            yield
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_everything_in_the_inbox_is_acknowledged_and_answered_once(
    body: Body, referrals: list[dict[str, Any]]
) -> None:
    gateway = Gateway()
    ids = {gateway.put(referral) for referral in referrals}
    async with _working(gateway, body):
        await _until(lambda: len(gateway.answers) == len(ids))
    assert gateway.answers.keys() == ids


async def test_a_cancelled_item_is_acknowledged_and_not_answered(body: Body, referrals: list[dict[str, Any]]) -> None:
    gateway = Gateway()
    cancelled, open_ = gateway.put({"id": "x"}, "cancelled"), gateway.put(referrals[0])
    async with _working(gateway, body):
        await _until(lambda: open_ in gateway.answers and gateway.items[cancelled]["state"] == "settled")
    assert cancelled not in gateway.answers


async def test_after_a_restart_the_client_answers_what_it_had_acknowledged(
    body: Body, referrals: list[dict[str, Any]]
) -> None:
    gateway = Gateway()
    acknowledged = gateway.put(referrals[0], "acknowledged")
    async with _working(gateway, body):
        await _until(lambda: acknowledged in gateway.answers)


async def test_a_gateway_that_restarts_or_is_busy_loses_no_answer(body: Body, referrals: list[dict[str, Any]]) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    def busy(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, headers={"Retry-After": "0"})

    def throttled(request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers={"Retry-After": "soon"})

    def proxied(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text="<html>not the gateway</html>")

    gateway = Gateway(trouble=[proxied, throttled, busy, away])
    id_ = gateway.put(referrals[0])
    async with _working(gateway, body):
        await _until(lambda: id_ in gateway.answers)


async def test_a_malformed_answer_is_refused_and_put_right(body: Body, referrals: list[dict[str, Any]]) -> None:
    gateway = Gateway()
    while not any(body.failing(id_, 1) == "malformed" for id_ in gateway.items):
        gateway.put(referrals[0])
    async with _working(gateway, body, speed=1e9):
        await _until(lambda: len(gateway.answers) == len(gateway.items))
    assert gateway.refused


def test_sigterm_ends_the_process_cleanly() -> None:
    program = (
        "from workers.simulation.clients import run\n"
        "print('running', flush=True)\n"
        "run('http://127.0.0.1:9', {'HSE': 'key'}, 1, 0)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    # The first warning about the absent gateway shows that it serves, and so that it handles signals.
    assert "HSE" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "Traceback" not in rest


async def test_where_a_bare_key_is_refused_a_token_is_used_until_it_is_over() -> None:
    made = 0
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        nonlocal made
        if request.url.path == "/v1/token":
            assert dict(httpx.QueryParams(request.content.decode())) == {
                "grant_type": "client_credentials",
                "client_secret": "key",
            }
            made += 1
            return httpx.Response(200, json={"access_token": f"token{made}"})
        seen.append(request.headers["authorization"])
        return httpx.Response(200 if seen[-1] == f"Bearer token{made}" else 401, json={})

    async with httpx.AsyncClient(base_url="http://gateway.invalid", transport=httpx.MockTransport(handle)) as http:
        auth = KeyOrToken("key")
        for _ in range(2):
            assert (await http.post("/v1/inbox/claims", json={"limit": 1}, auth=auth)).status_code == 200
        made = 2  # the first one is over
        assert (await http.get("/v1/inbox", auth=auth)).status_code == 200
    assert seen == ["Bearer key", "Bearer token1", "Bearer token1", "Bearer token1", "Bearer token3"]


async def test_a_key_that_gets_no_token_is_told_so() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"asked": request.url.path})

    async with httpx.AsyncClient(base_url="http://gateway.invalid", transport=httpx.MockTransport(handle)) as http:
        answer = await http.get("/v1/inbox", auth=KeyOrToken("key"))
    assert (answer.status_code, answer.json()) == (401, {"asked": "/v1/token"})
