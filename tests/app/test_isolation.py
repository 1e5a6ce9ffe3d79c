"""The isolation matrix: every route, for every role, from every position towards the rows it asks for.

What is expected is computed from the policy alone: 403 where the role may not use the route; 404 where the rows are not
its, told as what does not exist; 2xx where they are. A list shows what its caller may see and nothing else.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from pydantic import SecretStr

from app.access.policy import Relation, Role, relation
from app.access.routes import declared_action
from app.db import Database
from app.main import OPEN_PATHS, create_app
from app.settings import Settings
from app.wake import Nobody
from tests.acts import slug
from tests.app.isolation_requests import (
    ADDRESSED,
    BASE,
    NORTH_ADDRESSED,
    REQUESTS,
    Ask,
    Caller,
    Position,
    Target,
    nothing,
)
from tests.app.isolation_scene import Scene
from tests.conftest import SECRET
from workers.tasks.seal import Sealing

Operation = tuple[str, str]
OPEN = {("GET", path) for path in OPEN_PATHS | {"/static"}} | {("HEAD", "/openapi.json")}
_SOUTH, _NORTH = 540, 160  # targets: a shared one for each route, and one for each caller that may change it


def _app(configuration: Settings | None = None) -> FastAPI:
    nowhere = Settings(
        database_url="postgresql+asyncpg://nobody@127.0.0.1:1/none", broker_url="none", secret=SecretStr(SECRET)
    )
    return create_app(configuration or nowhere, Nobody())


def _operations(app: FastAPI) -> dict[Operation, Any]:
    """Method and path of every route of the route table, in the OpenAPI document or not, and its endpoint."""
    found = {}
    for context in iter_route_contexts(app.routes):
        for method in getattr(context.original_route, "methods", None) or {"GET"}:
            found[method, str(context.path)] = getattr(context.original_route, "endpoint", None)
    return found


def test_every_route_stands_in_the_matrix() -> None:
    app = _app()
    table = set(_operations(app))
    document = {(method.upper(), path) for path, item in app.openapi()["paths"].items() for method in item}
    assert document <= table
    assert table == set(REQUESTS) | OPEN, "give each route its line in tests/app/isolation_scene.py"


@pytest.fixture
async def played(configuration: Settings, database: Database) -> AsyncIterator[tuple[FastAPI, Scene]]:
    """A gateway, not asked from its own machine, with a scene on it; its log is sealed and signed."""
    app = _app(configuration)
    async with app.router.lifespan_context(app):
        scene = Scene(app, database)
        await scene.build(_SOUTH, _NORTH)
        await Sealing(configuration, database).round(every=0)
        yield app, scene
        await scene.close()


class Matrix:
    """Asks everything of everybody, and keeps what came otherwise than expected."""

    def __init__(self, app: FastAPI, scene: Scene) -> None:
        self._app = app
        self._scene = scene
        self._endpoints = _operations(app)
        self.wrong: list[str] = []
        self.cells: Counter[str] = Counter()

    def cases(self, *, reached: bool) -> list[tuple[Operation, Caller]]:
        """The cells whose caller reaches the rows it asks for (or asks for a list), or those that are refused."""
        # Claims last: they take items, for a while, out of other consumers' hands.
        operations = sorted(REQUESTS, key=lambda operation: operation[1] == "/v1/inbox/claims")
        cells = [
            (operation, caller)
            for operation in operations
            for caller in self._scene.callers
            # What people change of their own account is asked for in tests/app/test_accounts.py and test_sessions.py.
            if not (caller.is_person and operation[1].startswith("/account"))
        ]
        return [cell for cell in cells if (self._status(*cell) < 400) is reached]

    async def refused(self, operation: Operation, caller: Caller, target: Target) -> None:
        """403 or 404, the same as for what does not exist."""
        expected, ask = self._status(operation, caller), REQUESTS[operation]
        if operation == ("GET", "/"):
            expected = 303  # a role that the page is not for is led to its own
        answer = await asked(self._app, operation, caller, target)
        self._expect(operation, caller, expected, answer.status_code, answer.text)
        if ask.id and answer.status_code < 500:
            absent = await asked(self._app, operation, caller, nothing())
            if _told(answer) != _told(absent):
                self.wrong.append(f"{operation} {caller}: {_told(answer)} is not as for what does not exist")

    async def let_in(self, operation: Operation, caller: Caller, target: Target) -> None:
        """2xx, and nothing in it that is not the caller's to see."""
        ask = REQUESTS[operation]
        answer = await asked(self._app, operation, caller, target)
        rule = self.rule(operation, caller)
        mine = rule is None or caller.reaches(rule)
        if ask.each and answer.is_success:
            await self._each(operation, caller, target, mine, answer)
            return
        expected = ask.status if ask.status and (mine or not ask.id) else 200
        status = 200 if expected == 200 and answer.is_success else answer.status_code
        self._expect(operation, caller, expected, status, answer.text)
        if ask.shows:
            found = any(getattr(one, ask.shows) in answer.text for one in self._scene.everything(caller.asks_north))
            if found is not mine:
                self.wrong.append(f"{operation} {caller}: shows {found}, its own {mine}")
        if ask.counts:
            await self._counted(operation, caller, mine, answer)

    async def _each(
        self, operation: Operation, caller: Caller, target: Target, mine: bool, answer: httpx.Response
    ) -> None:
        [result] = answer.json()["items"]
        self._expect(operation, caller, 200 if mine else 404, 200 if result["status"] < 300 else result["status"], "")
        if not mine:
            [absent] = (await asked(self._app, operation, caller, nothing())).json()["items"]
            if {**absent, "id": ""} != {**result, "id": ""}:
                self.wrong.append(f"{operation} {caller}: {result} is not as for what does not exist")

    async def _counted(self, operation: Operation, caller: Caller, mine: bool, answer: httpx.Response) -> None:
        agency = NORTH_ADDRESSED if caller.asks_north else ADDRESSED
        [queue] = [one for one in answer.json()["items"] if one["agency"] == agency]
        counted = sum(queue[state] for state in ("held", "queued", "delivered", "acknowledged", "query")) > 0
        if counted is not mine:
            self.wrong.append(f"{operation} {caller}: counts {counted}, its own {mine}")

    def _expect(self, operation: Operation, caller: Caller, expected: int, status: int, text: str) -> None:
        self.cells[f"{expected // 100}xx" if expected < 400 else str(expected)] += 1
        if status != expected:
            self.wrong.append(f"{operation} {caller}: {status} in place of {expected}: {text[:300]}")

    def rule(self, operation: Operation, caller: Caller) -> Relation | None:
        action = declared_action(self._endpoints[operation])
        return None if action is None else relation(caller.role, action)

    def _status(self, operation: Operation, caller: Caller) -> int:
        if declared_action(self._endpoints[operation]) is None:
            return 200
        rule = self.rule(operation, caller)
        if rule is None:
            return 403
        return 200 if not REQUESTS[operation].id or caller.reaches(rule) else 404


async def asked(
    app: FastAPI, operation: Operation, caller: Caller, target: Target, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    """What this caller is answered who asks a route for this target, as `REQUESTS` has it."""
    (method, path), ask = operation, REQUESTS[operation]
    path = path.replace("{agency}", ADDRESSED).replace("{code}", ADDRESSED)
    path = path.replace("{dispatch_id}", target.dispatch)
    path = path.replace("{sequence}", "0").replace("{slug}", "contact")
    path = path.replace("{id}", getattr(target, ask.id) if ask.id else "") + (f"?{ask.query}" if ask.query else "")
    client = caller.browser if ask.page else caller.client
    if operation[1].endswith("/live"):
        return await _first_of_stream(app, caller, path)
    if ask.lines:
        kind = {"Content-Type": "application/x-ndjson", **(headers or {})}
        return await client.request(method, path, content=ask.lines(), headers=kind)
    body = ask.body(target) if ask.body else None
    data = ask.form(caller) if ask.form else None
    return await client.request(method, path, json=body, data=data, headers=headers)


def _told(answer: httpx.Response) -> tuple[Any, ...]:
    """What an answer tells but for the id and the time of the request, and the nonce of its scripts."""
    text = re.sub(r'"request_id":"[^"]*"', "", answer.text)
    text = re.sub(r"<code[^>]*>[0-9a-f-]{36}</code>", "", text)
    text = re.sub(r'nonce="[^"]+"', "", text)
    varying = ("x-request-id", "date", "content-length")
    headers = [
        (name, re.sub(r"'nonce-[^']+'", "", value)) for name, value in answer.headers.items() if name not in varying
    ]
    return answer.status_code, text, sorted(headers)


async def _first_of_stream(app: FastAPI, caller: Caller, address: str) -> httpx.Response:
    """A stream of events up to its first news. httpx's ASGI transport reads to the end, which does not come."""
    sent, enough = [], asyncio.Event()
    path, _, query = address.partition("?")

    async def send(message: Any) -> None:
        sent.append(message)
        over = message["type"] == "http.response.body" and not message.get("more_body", False)
        if over or b"data: " in message.get("body", b""):
            enough.set()

    async def receive() -> Any:
        await enough.wait()
        return {"type": "http.disconnect"}

    headers = [(b"host", BASE.removeprefix("http://").encode()), (b"cookie", caller.browser.headers["cookie"].encode())]
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
    }
    scope |= {
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
    }
    serving = asyncio.create_task(
        app({**scope, "client": ("192.0.2.200", 1), "server": ("gain.test", 80)}, receive, send)
    )
    async with asyncio.timeout(10):
        await enough.wait()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    body = b"".join(message.get("body", b"") for message in sent)
    return httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=body)


@pytest.mark.timeout(900)
async def test_nobody_reaches_what_is_not_theirs_and_everybody_what_is(played: tuple[FastAPI, Scene]) -> None:
    app, scene = played
    matrix = Matrix(app, scene)
    shared = {
        (operation, north): await scene.target(ask, north=north)
        for operation, ask in REQUESTS.items()
        for north in (False, True)
        if ask.id
    }
    before = await scene.content()
    for operation, caller in matrix.cases(reached=False):
        target = shared.get((operation, caller.asks_north), nothing())
        await matrix.refused(operation, caller, target)
    assert await scene.content() == before, "a refused request has changed something"
    for operation, caller in matrix.cases(reached=True):
        ask = REQUESTS[operation]
        fresh = operation[0] == "POST" and bool(ask.id or ask.each)
        any_target = shared.get((operation, False), scene.everything(caller.asks_north)[0])
        target = await scene.target(ask, north=caller.asks_north) if fresh else any_target
        await matrix.let_in(operation, caller, target)
    number = sum(matrix.cells.values())
    assert matrix.wrong == [], "\n".join(matrix.wrong)
    people = sum(caller.is_person for caller in scene.callers)
    own = people * sum(path.startswith("/account") for _, path in REQUESTS)
    assert number == len(REQUESTS) * len(Role) * len(Position) - own
    told = ", ".join(f"{count} × {outcome}" for outcome, count in sorted(matrix.cells.items()))
    print(
        f"\nisolation: {len(REQUESTS)} routes × {len(Role)} roles × {len(Position)} positions,"
        f" {own} of people's own accounts apart: {number} cells, {told}"
    )


async def test_what_is_open_to_anybody_is_the_same_for_everybody(played: tuple[FastAPI, Scene]) -> None:
    app, scene = played
    transport = httpx.ASGITransport(app, client=("192.0.2.201", 1))
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as nobody:
        for path in [*sorted(OPEN_PATHS), "/static/gain.css"]:
            address = path.replace("{slug}", "not-found")
            bare = await nobody.get(address)
            assert bare.status_code == 200, address
            for caller in scene.callers:
                assert _told(await caller.client.get(address)) == _told(bare), f"{address} for {caller}"


async def test_a_message_reaches_no_dispatch_of_anothers_referral(played: tuple[FastAPI, Scene]) -> None:
    """The referral in the address is one's own, the dispatch in the body is not."""
    _, scene = played
    owner = next(one for one in scene.callers if one.role is Role.ORIGINATOR)
    own, other = await scene.target(Ask(), north=False), await scene.target(Ask(), north=True)
    body = {"dispatch_id": other.dispatch, "text": "For another's agency."}
    answer = await owner.client.post(f"/v1/referrals/{own.referral}/messages", json=body)
    assert (answer.status_code, slug(answer)) == (404, "not-found")
