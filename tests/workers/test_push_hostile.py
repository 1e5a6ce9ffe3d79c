"""What comes of a push to a server that answers badly, for ever, or not at all."""

import asyncio
import contextlib
import gzip
import io
from collections.abc import AsyncIterator

import psutil
import pytest

from tests.workers.outside import OK, Agency, Behaviour, answer
from tests.workers.pushing import adapter, envelope, failure, session
from workers import safe_http
from workers.adapters import push
from workers.adapters.contract import Delivered
from workers.safe_http import SafeClient

__all__ = ["session"]
CHUNK = b"x" * 65_536


async def _reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _silence(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def _trickle_head(writer: asyncio.StreamWriter) -> None:
    for letter in b"HTTP/1.1 200 OK\r\nServer: slow\r\nX-Long: " + b"x" * 10_000:
        writer.write(bytes([letter]))
        await writer.drain()
        await asyncio.sleep(0.02)


async def _trickle_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def _endless_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"x" * 1000 + b"\r\n")
        await writer.drain()


async def _hundred_megabytes(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
    for _ in range(1600):
        writer.write(CHUNK)
        await writer.drain()


async def _endless_chunks(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + CHUNK + b"\r\n")
        await writer.drain()


async def _broken_off(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    await writer.drain()
    writer.close()


async def _no_chunks(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nthanks\r\n")


async def _no_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\xff this is not HTTP \r\n\r\n")
    await writer.drain()
    writer.close()


async def _two_lengths(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")


async def _endless_continue(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        await writer.drain()
        await asyncio.sleep(0.001)


def _bomb() -> bytes:
    """100 MB of nothing in a few hundred bytes; made in pieces, so that making it takes no memory."""
    inner = io.BytesIO()
    with gzip.GzipFile(fileobj=inner, mode="wb") as file:
        for _ in range(1_600):
            file.write(bytes(len(CHUNK)))
    return gzip.compress(inner.getvalue())


NO_ANSWER: dict[str, Behaviour] = {
    "reset": _reset,
    "hangs up": _hang_up,
    "silence": _silence,
    "a byte at a time": _trickle_head,
    "endless headers": _endless_headers,
    "not HTTP": _no_http,
    "two lengths": _two_lengths,
    "endless 100": _endless_continue,
}
HOSTILE_BODIES: dict[str, Behaviour] = {
    "a byte at a time": _trickle_body,
    "100 MB": _hundred_megabytes,
    "endless chunks": _endless_chunks,
    "gzip bomb": answer("200 OK", _bomb(), Content_Encoding="gzip, gzip"),
    "broken off": _broken_off,
    "no chunks": _no_chunks,
}


@contextlib.asynccontextmanager
async def _growing() -> AsyncIterator[list[float]]:
    """The memory this process holds, in megabytes, looked at all the time."""
    process = psutil.Process()
    seen = [process.memory_info().rss / 1e6]

    async def look() -> None:
        while True:
            await asyncio.sleep(0.005)
            seen.append(process.memory_info().rss / 1e6)

    looking = asyncio.create_task(look())
    yield seen
    looking.cancel()


@contextlib.asynccontextmanager
async def _in_time_and_little_memory(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The deadline is shortened, so that a dozen of them end soon; that it is kept is what is tested."""
    monkeypatch.setattr(push, "DEADLINE_SECONDS", 1.0)
    async with _growing() as megabytes, asyncio.timeout(3):
        yield
    assert max(megabytes) - megabytes[0] < 20


@pytest.mark.parametrize("behaviour", NO_ANSWER)
async def test_a_server_without_an_answer_is_a_failed_try_in_time_and_in_little_memory(
    session: SafeClient, behaviour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _in_time_and_little_memory(monkeypatch):
        error = await failure(session, NO_ANSWER[behaviour])
    assert not error.permanent


@pytest.mark.parametrize("behaviour", HOSTILE_BODIES)
async def test_a_2xx_tells_the_agency_whatever_its_body_in_time_and_in_little_memory(
    session: SafeClient, behaviour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has taken the notice: another would be a repetition. What it still sends is cut off."""
    async with Agency(HOSTILE_BODIES[behaviour]).running() as agency, _in_time_and_little_memory(monkeypatch):
        assert await adapter(session, agency.url).deliver(envelope()) == Delivered()
        while agency.open_now and behaviour != "gzip bomb":  # which is small, and whole: its connection is kept
            await asyncio.sleep(0.01)


async def test_a_body_without_end_takes_no_deadline_away(session: SafeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that comes just before the deadline, and then little: told, and not a moment later."""
    monkeypatch.setattr(push, "DEADLINE_SECONDS", 0.5)
    monkeypatch.setattr(safe_http, "_BODY_SECONDS", 60.0)

    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        await _trickle_body(writer)

    async with Agency(late).running() as agency, asyncio.timeout(5):
        assert await adapter(session, agency.url).deliver(envelope()) == Delivered()


async def test_after_a_hostile_server_the_next_agency_is_told(session: SafeClient) -> None:
    for behaves in (_reset, _no_http, _two_lengths):
        await failure(session, behaves)
    async with Agency(OK).running() as agency:
        assert await adapter(session, agency.url).deliver(envelope()) == Delivered()
