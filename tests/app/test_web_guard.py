"""A body that is too large, too slow or badly announced is refused, and the client can read the refusal."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
import uvicorn
from fastapi import APIRouter, Body, FastAPI, Request
from starlette.types import Message

from app.errors import CREDENTIAL_REQUIRED, Problem
from app.runtime.gateway import Connection
from app.web.guard import BodyLimit
from app.web.install import install
from app.web.routing import StrictRequest, StrictRoute

LIMIT = 64 * 1024
SLOW_SECONDS = 0.5
UPLOAD_LIMIT = 1024 * 1024
DRAINED = 8 * 1024 * 1024  # more than the sockets buffer: an undrained client does meet the reset
DRAIN_SECONDS = 1.0


class Authenticated(StrictRoute):
    async def before_body(self, request: StrictRequest) -> None:
        if "authorization" not in request.headers:
            raise Problem(CREDENTIAL_REQUIRED)


router = APIRouter(route_class=Authenticated)


@router.post("/things")
async def things(value: Annotated[Any, Body()]) -> dict[str, int]:
    return {"length": len(value)}


@router.post("/uploads")
async def uploads(request: Request) -> dict[str, int]:
    return {"length": sum([len(chunk) async for chunk in request.stream()])}


@router.get("/nothing")
async def nothing() -> None:
    return None


def make_app() -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.stopping = asyncio.Event()
    app.include_router(router, prefix="/v1")
    larger = {"/v1/uploads": BodyLimit(UPLOAD_LIMIT, 10.0)}
    install(app, BodyLimit(LIMIT, SLOW_SECONDS), larger, drain=BodyLimit(DRAINED, DRAIN_SECONDS))
    return app


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """A real server, on the connections that production uses."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(make_app(), http=Connection, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield listening.getsockname()
    server.should_exit = True
    thread.join(timeout=10)
    listening.close()
    assert not thread.is_alive()


@dataclass
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    document: Any = None


class Client:
    """A client on a bare socket: it sends exactly what it is told, and notices a reset."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        self.received = b""

    def close(self) -> None:
        self.socket.close()

    def head(self, *lines: str, path: str = "/v1/things", key: bool = True) -> None:
        told = ["Content-Type: application/json", *(["Authorization: Bearer x"] if key else []), *lines]
        self.socket.sendall("\r\n".join([f"POST {path} HTTP/1.1", "Host: test", *told, "", ""]).encode())

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> Answer:
        while b"\r\n\r\n" not in self.received:
            self._more()
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self.received) < length:
            self._more()
        body, self.received = self.received[:length], self.received[length:]
        is_json = headers.get("content-type", "").endswith("json")
        return Answer(int(first.split()[1]), headers, json.loads(body) if is_json else body)

    def _more(self) -> None:
        data = self.socket.recv(65536)
        assert data, "the connection ended before the answer"
        self.received += data


@pytest.fixture
def client(address: tuple[str, int]) -> Iterator[Client]:
    with closing(Client(address)) as made:
        yield made


def document(size: int) -> bytes:
    return b'"' + b"x" * (size - 2) + b'"'


def chunked(data: bytes, size: int = 8000) -> bytes:
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


def assert_refused(answer: Answer, status: int, slug: str) -> None:
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.document["type"] == f"/problems/{slug}"
    assert answer.document["request_id"] == answer.headers["x-request-id"]


def test_a_body_of_exactly_the_limit_is_taken(client: Client) -> None:
    client.head(f"Content-Length: {LIMIT}")
    client.send(document(LIMIT))
    answer = client.answer()
    assert (answer.status, answer.document) == (200, {"length": LIMIT - 2})


@pytest.mark.parametrize("ending", ["Connection: keep-alive", "Connection: close"])
def test_an_announced_body_over_the_limit_is_sent_whole_and_then_reads_its_413(client: Client, ending: str) -> None:
    size = DRAINED - 1000
    client.head(f"Content-Length: {size}", ending)
    client.send(document(size))
    assert_refused(client.answer(), 413, "body-too-large")


def test_a_chunked_body_over_the_limit_reads_its_413(client: Client) -> None:
    client.head("Transfer-Encoding: chunked")
    client.send(chunked(document(DRAINED // 2)) + b"0\r\n\r\n")
    assert_refused(client.answer(), 413, "body-too-large")


def test_a_413_comes_before_the_body_is_judged_as_json(client: Client) -> None:
    client.head(f"Content-Length: {LIMIT + 1}")
    client.send(b"{" * (LIMIT + 1))
    assert_refused(client.answer(), 413, "body-too-large")


def test_the_connection_serves_on_after_a_drained_413(client: Client) -> None:
    client.head(f"Content-Length: {LIMIT + 1}")
    client.send(document(LIMIT + 1))
    refused = client.answer()
    assert refused.status == 413
    assert "connection" not in refused.headers
    client.head("Content-Length: 4")
    client.send(b'"ab"')
    assert client.answer().document == {"length": 2}


def test_a_client_that_never_stops_sending_is_cut_off(client: Client) -> None:
    client.head("Transfer-Encoding: chunked")
    part = chunked(b"x" * 8000)
    sent = 0
    with pytest.raises(OSError, match=r"reset|Broken pipe"):  # noqa: PT012  the reset comes at some send
        while sent < 20 * DRAINED:
            client.send(part)
            sent += len(part)
    assert sent < 5 * DRAINED  # what the sockets buffer comes on top


def test_a_client_that_stalls_after_too_much_reads_its_413_when_the_drain_ends(client: Client) -> None:
    started = time.monotonic()
    client.head(f"Content-Length: {LIMIT * 10}")
    client.send(b"x" * LIMIT)
    answer = client.answer()
    assert_refused(answer, 413, "body-too-large")
    assert answer.headers["connection"] == "close"
    assert DRAIN_SECONDS * 0.9 < time.monotonic() - started < DRAIN_SECONDS + 2


def test_a_body_that_dribbles_reads_a_408_at_its_deadline(client: Client) -> None:
    started = time.monotonic()
    client.head("Content-Length: 1000")
    stopped = threading.Event()

    def dribble() -> None:
        while not stopped.wait(0.05):
            try:
                client.send(b"x")
            except OSError:
                return

    thread = threading.Thread(target=dribble)
    thread.start()
    try:
        answer = client.answer()
    finally:
        stopped.set()
        thread.join()
    assert_refused(answer, 408, "body-timeout")
    assert answer.headers["connection"] == "close"
    assert SLOW_SECONDS * 0.9 < time.monotonic() - started < SLOW_SECONDS + 2


def test_a_client_that_waits_for_a_word_is_refused_before_it_sends(client: Client) -> None:
    client.head(f"Content-Length: {LIMIT + 1}", "Expect: 100-continue")
    started = time.monotonic()
    assert_refused(client.answer(), 413, "body-too-large")
    assert time.monotonic() - started < DRAIN_SECONDS


def test_a_client_that_waits_for_a_word_gets_it_for_a_fit_body(client: Client) -> None:
    client.head("Content-Length: 4", "Expect: 100-continue")
    assert client.answer().status == 100
    client.send(b'"ab"')
    assert client.answer().document == {"length": 2}


@pytest.mark.parametrize("size", [10, LIMIT + 1, DRAINED - 1000])
def test_a_missing_credential_is_told_before_anything_about_the_body(client: Client, size: int) -> None:
    client.head(f"Content-Length: {size}", "Connection: close", key=False)
    client.send(b"{" * size)
    answer = client.answer()
    assert_refused(answer, 401, "credential-required")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_an_address_that_is_not_there_is_told_however_large_the_body(client: Client) -> None:
    client.head(f"Content-Length: {LIMIT * 4}", "Connection: close", path="/v1/nowhere")
    client.send(b"x" * (LIMIT * 4))
    assert_refused(client.answer(), 404, "not-found")


def test_a_path_with_a_larger_limit_streams_up_to_it(client: Client) -> None:
    client.head(f"Content-Length: {UPLOAD_LIMIT}", path="/v1/uploads")
    client.send(b"x" * UPLOAD_LIMIT)
    assert client.answer().document == {"length": UPLOAD_LIMIT}


def test_a_path_with_a_larger_limit_still_has_one(client: Client) -> None:
    client.head("Transfer-Encoding: chunked", path="/v1/uploads")
    client.send(chunked(b"x" * (UPLOAD_LIMIT + 1)) + b"0\r\n\r\n")
    assert_refused(client.answer(), 413, "body-too-large")


@pytest.mark.parametrize("length", ["abc", "-1", "+5", "1_0", "0x10", "5, 6"])
def test_a_length_that_is_no_number_gets_400(client: Client, length: str) -> None:
    client.head(f"Content-Length: {length}")
    assert_refused(client.answer(), 400, "bad-request")


@pytest.mark.parametrize("length", [b"abc", b"-1", b"+5", b"1_0", b" 5", "٣".encode(), b"9" * 5000])
async def test_the_guard_itself_refuses_a_length_that_is_no_number(length: bytes) -> None:
    """A server with a laxer parser than ours may stand in front one day."""
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/things",
        "query_string": b"",
        "headers": [(b"content-length", length), (b"authorization", b"x"), (b"content-type", b"application/json")],
    }
    await make_app()(scope, receive, send)
    assert sent[0]["status"] == 400
    assert json.loads(sent[1]["body"])["type"] == "/problems/bad-request"


def test_a_request_without_a_body_is_not_held_up(client: Client) -> None:
    client.send(b"GET /v1/nothing HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer x\r\n\r\n")
    started = time.monotonic()
    assert client.answer().status == 200
    assert time.monotonic() - started < SLOW_SECONDS
