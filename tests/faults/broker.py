"""A real Valkey behind a door that tests close: flushed, restarted empty, away, or deaf (never answers)."""

import asyncio
import socket
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from redis import Redis

from app.runtime.embedded import EmbeddedValkey

T = TypeVar("T")


class Broker:
    """The broker of a system under test. `url` stays the same whatever happens to the server behind it."""

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedValkey(folder)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="broker's door", daemon=True)
        self._thread.start()
        self._opened = asyncio.Event()
        self._opened.set()
        self._listener: asyncio.Server | None = None
        self._through: set[asyncio.StreamWriter] = set()
        self._moving: set[asyncio.Task[None]] = set()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port: int = probe.getsockname()[1]
        self._tail = b""
        self._looked_for: tuple[bytes, ...] = ()
        self.seen: list[bytes] = []
        self._run(self._start_server())
        self._run(self._listen())

    @property
    def url(self) -> str:
        """The broker's URL, through the door."""
        return f"redis://:{urlsplit(self._server.url).password}@127.0.0.1:{self._port}/0"

    def client(self) -> Redis:
        """A client of the server itself, past the door."""
        return Redis.from_url(self._server.url)

    def look_for(self, *words: str) -> None:
        """Note in `seen` which of these words go through the door."""
        self._looked_for = tuple(word.encode() for word in words)

    def flush(self) -> None:
        """Forget everything."""
        with self.client() as client:
            client.flushall()

    def restart_empty(self) -> None:
        """Kill the server and start another, which knows nothing."""
        self.away()
        self._run(self._start_server())
        self.back()

    def away(self) -> None:
        """Cut every connection, refuse every new one."""
        self._run(self._leave())

    def deaf(self) -> None:
        """Take connections and calls, and never answer."""
        self._loop.call_soon_threadsafe(self._opened.clear)

    def back(self) -> None:
        """Be there again."""
        self._loop.call_soon_threadsafe(self._opened.set)
        if self._listener is None:
            self._run(self._listen())

    def stop(self) -> None:
        """End the server and the door."""
        self.back()
        self.away()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._server.stop()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _start_server(self) -> None:
        self._server.start()  # from this thread, which lasts: the server dies with the thread that started it

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._let_in, "127.0.0.1", self._port, reuse_address=True)

    async def _leave(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._listener = None
        for task in self._moving:
            task.cancel()
        for writer in self._through:
            writer.transport.abort()
        if self._moving:
            await asyncio.wait(self._moving)

    async def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._moving.add(task)
        self._through.add(writer)
        other: asyncio.StreamWriter | None = None
        try:
            await self._opened.wait()
            answers, other = await asyncio.open_connection("127.0.0.1", urlsplit(self._server.url).port)
            self._through.add(other)
            moves = [asyncio.create_task(self._move(reader, other)), asyncio.create_task(self._move(answers, writer))]
            try:
                await asyncio.wait(moves, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for move in moves:
                    move.cancel()
                await asyncio.wait(moves)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, other):
                if end is not None:
                    end.transport.abort()
                    self._through.discard(end)
            self._moving.discard(task)

    async def _move(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            await self._opened.wait()
            self._look(chunk)
            writer.write(chunk)
            await writer.drain()

    def _look(self, chunk: bytes) -> None:
        text = self._tail + chunk
        self.seen += [word for word in self._looked_for if word in text]
        self._tail = text[-64:]
