"""An agency's own platform: takes a notice, answers 204 after 50 ms, and tallies. GET gives the tally. Its port is the
argument."""

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

DELAY_SECONDS = 0.05


class _Tally:
    count = 0
    most = 0
    now = 0
    first = 0.0
    last = 0.0


class _Connection(asyncio.Protocol):
    """One keep-alive connection; a request is whole when its body is."""

    tally = _Tally()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        size = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        if len(body) < size:
            return
        self._buffer = b""
        if head.startswith(b"GET"):
            self._tell()
            return
        tally = self.tally
        tally.now += 1
        tally.most = max(tally.most, tally.now)
        tally.first = tally.first or time.monotonic()
        asyncio.get_running_loop().call_later(DELAY_SECONDS, self._answer)

    def _answer(self) -> None:
        self.tally.now -= 1
        self.tally.count += 1
        self.tally.last = time.monotonic()
        self._write(b"HTTP/1.1 204 No Content\r\n\r\n")

    def _tell(self) -> None:
        """The tally so far, which begins anew."""
        tally = self.tally
        told = json.dumps({"count": tally.count, "most": tally.most, "first": tally.first, "last": tally.last}).encode()
        type(self).tally = _Tally()
        self._write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(told), told))

    def _write(self, data: bytes) -> None:
        self._transport.write(data)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
