"""An agency's push endpoint in a thread of its own, and all the ways in which such an endpoint fails."""

import asyncio
import gzip
import io
import itertools
import threading
import time
from collections.abc import Mapping

import orjson

from tests.workers.outside import OK, Agency, Behaviour, answer

_CHUNK = b"x" * 65_536
RETRY_AFTER_SECONDS = 2


async def _reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _trickle(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(1)


async def _hundred_megabytes(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
    for _ in range(1_600):
        writer.write(_CHUNK)
        await writer.drain()


def _bomb() -> bytes:
    """100 MB of nothing in some hundred bytes."""
    inner = io.BytesIO()
    with gzip.GzipFile(fileobj=inner, mode="wb") as file:
        for _ in range(1_600):
            file.write(bytes(len(_CHUNK)))
    return gzip.compress(inner.getvalue())


BEHAVIOURS: Mapping[str, Behaviour] = {
    "500": answer("500 Internal Server Error", b"Quill"),
    "429": answer("429 Too Many Requests", Retry_After=str(RETRY_AFTER_SECONDS)),
    "301": answer("301 Moved Permanently", Location="http://127.0.0.1:9/elsewhere"),
    "reset": _reset,
    "a byte a second": _trickle,
    "100 MB": _hundred_megabytes,
    "gzip bomb": answer("200 OK", _bomb(), Content_Encoding="gzip, gzip"),
    "malformed JSON": answer("200 OK", b'{"outcome": "hit", ', Content_Type="application/json"),
    "410": answer("410 Gone"),
}
"""Those that begin with a 2xx have taken the notice, and nobody reads what more they say."""


class PushedAgency:
    """An endpoint that does to each call what it is told to, and remembers when which dispatch was called about."""

    def __init__(self) -> None:
        self._turns = itertools.cycle([OK])
        self.calls: list[tuple[float, str, Behaviour]] = []
        """When, which dispatch, what was done with the call."""
        self._listening = threading.Event()
        self.url = ""
        self._agency = Agency(self._behave)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="a pushed agency", daemon=True)
        self._thread.start()
        assert self._listening.wait(10), "the endpoint does not start"

    def behave(self, *behaviours: Behaviour) -> None:
        """Do this to the next calls, in turn if it is several."""
        self._turns = itertools.cycle(behaviours)

    def times(self, dispatch: str) -> list[float]:
        """When it was called about a dispatch."""
        return [at for at, called, _ in self.calls if called == dispatch]

    def stop(self) -> None:
        """Close it."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)

    async def _behave(self, writer: asyncio.StreamWriter) -> None:
        turn = next(self._turns)
        about = orjson.loads(self._agency.calls.pop().body)["data"]["id"]
        self.calls.append((time.monotonic(), about, turn))
        await turn(writer)

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        async with self._agency.running():
            self.url = self._agency.url
            self._listening.set()
            await self._ended.wait()
