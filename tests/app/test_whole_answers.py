"""An answer leaves by one system call, and nothing that a client waits for is held back for it."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message
from uvicorn.server import ServerState

from app.runtime.gateway import Connection


class Recording(asyncio.Transport):
    """The writes that reach the system."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed.set()

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def resume_reading(self) -> None:
        """Nothing was paused."""


async def _whole(_: Request) -> Response:
    return Response(b"whole", media_type="text/plain")


async def _unchanged(_: Request) -> Response:
    return Response(status_code=304)


async def _stream(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        await cast("asyncio.Event", request.app.state.go_on).wait()
        yield b"second"

    return StreamingResponse(parts())


class _Broken(Response):
    async def __call__(self, scope: object, receive: object, send: object) -> None:
        head: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]}
        await send(head)  # type: ignore[operator]
        raise RuntimeError("half way")


async def _broken(_: Request) -> Response:
    return _Broken()


async def _settled(transport: Recording, enough: int) -> bytes:
    async with asyncio.timeout(5):
        while len(transport.writes) < enough:
            await asyncio.sleep(0)
    return b"".join(transport.writes)


@pytest.fixture
async def connection() -> tuple[Connection, Recording]:
    """A connection to an application, and what is written to it."""
    paths = {"/whole": _whole, "/unchanged": _unchanged, "/stream": _stream, "/broken": _broken}
    app = Starlette(routes=[Route(path, endpoint) for path, endpoint in paths.items()])
    app.state.go_on = asyncio.Event()
    config = uvicorn.Config(
        app, http=Connection, lifespan="off", log_config=None, access_log=False, proxy_headers=False
    )
    config.load()
    transport = Recording()
    made = Connection(config, ServerState(), {}, asyncio.get_running_loop())
    made.connection_made(transport)
    return made, transport


def _ask(connection: Connection, line: str, headers: str = "") -> None:
    connection.data_received(f"{line} HTTP/1.1\r\nhost: test\r\n{headers}\r\n".encode())


async def test_head_and_body_leave_together(connection: tuple[Connection, Recording]) -> None:
    asked, transport = connection
    for number in (1, 2):
        _ask(asked, "GET /whole")
        said = await _settled(transport, number)
        assert said.endswith(b"\r\n\r\nwhole")
        assert len(transport.writes) == number


@pytest.mark.parametrize("line", ["HEAD /whole", "GET /unchanged"])
async def test_an_answer_without_a_body_is_not_held_back(connection: tuple[Connection, Recording], line: str) -> None:
    asked, transport = connection
    _ask(asked, line)
    assert (await _settled(transport, 1)).endswith(b"\r\n\r\n")


async def test_a_stream_begins_at_once(connection: tuple[Connection, Recording]) -> None:
    asked, transport = connection
    _ask(asked, "GET /stream")
    said = await _settled(transport, 2)
    assert said.endswith(b"\r\nfirst\r\n")
    cast("Starlette", asked.app).state.go_on.set()
    assert (await _settled(transport, 4)).endswith(b"0\r\n\r\n")


async def test_an_answer_that_breaks_off_shows_its_head_and_ends(connection: tuple[Connection, Recording]) -> None:
    asked, transport = connection
    _ask(asked, "GET /broken")
    async with asyncio.timeout(5):
        await transport.closed.wait()
    assert b"".join(transport.writes).startswith(b"HTTP/1.1 200 OK\r\n")
