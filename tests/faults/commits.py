"""A way to the database that breaks at a commit: whoever asked for it never hears whether it was done.

It is cut before the commit reaches the server, which rolls back, or after the server has answered, and the answer is
lost: from the client's side the two look alike. A commit is a COMMIT, or the statement that submissions share: that is
a transaction of its own.
"""

import asyncio
import itertools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import make_url

_COMMIT = (b"COMMIT;\x00", b"COMMIT\x00")  # the text of a simple query: asyncpg's own, and ours

# Of the extended protocol: a Parse gives a statement its name, a Bind (with Execute and Sync behind it) runs it.
_STORING = re.compile(rb"P.{4}([^\0]+)\0[^\0]*INSERT INTO referral \(", re.DOTALL)
_BIND = re.compile(rb"B.{4}[^\0]*\0([^\0]+)\0", re.DOTALL)


class Talk:
    """What a client says on one connection, as far as it tells a commit."""

    def __init__(self) -> None:
        self._storing: set[bytes] = set()

    def commits(self, chunk: bytes) -> bool:
        """Whether the server commits something once it has heard this."""
        self._storing |= set(_STORING.findall(chunk))
        bound = _BIND.match(chunk)
        return chunk.endswith(_COMMIT) or (bound is not None and bound[1] in self._storing)


class CommitCutter:
    """A TCP way to a PostgreSQL that listens on a Unix socket. `cuts` counts what was cut: before, after."""

    def __init__(self, database_url: str) -> None:
        self._target = make_url(database_url)
        self._left: Iterator[str] = iter(())
        self.cuts = {"before": 0, "after": 0}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="way to the database", daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    @property
    def url(self) -> str:
        """The database's URL by this way."""
        port = self._server.sockets[0].getsockname()[1]
        return self._target.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)

    def cut(self, times: int, every: int = 1) -> None:
        """Of the next commits cut every so many-th, until it is `times`: in turn after and before it is done."""
        kinds = itertools.islice(itertools.cycle(("after", "before")), times)
        self._left = iter([kind for one in kinds for kind in (*("",) * (every - 1), one)])

    @property
    def done(self) -> int:
        """How many were cut."""
        return sum(self.cuts.values())

    def stop(self) -> None:
        """Close the way."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._let_in, "127.0.0.1", 0)

    async def _close(self) -> None:
        self._server.close()
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        socket = f"{self._target.query['host']}/.s.PGSQL.{self._target.port or 5432}"
        try:
            answers, server = await asyncio.open_unix_connection(socket)
        except OSError:
            writer.transport.abort()
            return
        lost = asyncio.Event()  # set: the next answer is the COMMIT's, and does not get through
        moves = [
            asyncio.create_task(self._ask(reader, server, lost)),
            asyncio.create_task(_answer(answers, writer, lost)),
        ]
        try:
            await asyncio.wait(moves, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for move in moves:
                move.cancel()
            await asyncio.gather(*moves, return_exceptions=True)
            writer.transport.abort()
            server.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        talk = Talk()
        while chunk := await reader.read(65_536):
            if talk.commits(chunk) and (kind := next(self._left, "")):
                self.cuts[kind] += 1
                if kind == "before":
                    return
                lost.set()
            server.write(chunk)
            await server.drain()


async def _answer(answers: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
    while chunk := await answers.read(65_536):
        if lost.is_set():
            return
        writer.write(chunk)
        await writer.drain()


@contextmanager
def cutter(database_url: str) -> Iterator[CommitCutter]:
    """A way for the length of the block."""
    way = CommitCutter(database_url)
    try:
        yield way
    finally:
        way.stop()
