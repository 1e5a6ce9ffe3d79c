"""Reading NDJSON as it arrives: a line is the body of one submission. Pure.

Lines stand alone, so what is wrong with one is told of that one. An empty line counts, and is no row.
"""

from collections.abc import Iterator

from app.errors import BODY_TOO_LARGE, NOT_JSON, Problem
from app.referrals.batches.reading import Read
from app.web import strict_json


class Lines:
    """The rows of one NDJSON file. `longest` is the most bytes of a line."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._pieces: list[bytes] = []
        self._length = 0
        self._number = 0

    def feed(self, chunk: bytes) -> Iterator[Read]:
        """The rows that are whole by now."""
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            self._hold(piece)
            yield from self._line()
        self._hold(rest)

    def end(self) -> Iterator[Read]:
        """The last row, which need not end with a line break."""
        if self._length:
            yield from self._line()

    def _hold(self, piece: bytes) -> None:
        """Of a line that is too long nothing is held but its length."""
        self._length += len(piece)
        if self._length > self._longest:
            self._pieces.clear()
        else:
            self._pieces.append(piece)

    def _line(self) -> Iterator[Read]:
        line, length = b"".join(self._pieces).strip(), self._length
        self._pieces.clear()
        self._length = 0
        self._number += 1
        if length > self._longest:
            yield Read(self._number, fault=Problem(BODY_TOO_LARGE, f"The line has more than {self._longest} bytes."))
        elif line:
            yield _read(self._number, line)


def _read(number: int, line: bytes) -> Read:
    try:
        return Read(number, strict_json.parse(line))
    except strict_json.NotJson as error:
        return Read(number, fault=Problem(NOT_JSON, error.reason))
