"""A form with a file, read as it comes: its fields first, then the file piece by piece. Nothing goes to a disk."""

from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import BAD_BATCH, MEDIA_TYPE, Problem

_MOST_OF_FIELDS = 8 * 1024
"""Bytes of all fields together, with their names: a form's token and its key take a few hundred."""


class FileForm:
    """A `multipart/form-data` body whose file is its last part, as our own forms send it.

    `open` reads up to the file: `fields` holds what stood before it, `filename` its name, empty where none was chosen.
    """

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise Problem(MEDIA_TYPE)
        self.fields: dict[str, str] = {}
        self.filename = ""
        self._body = body
        self._data: deque[bytes] = deque()
        self._header, self._value, self._disposition = b"", b"", b""
        self._name, self._field, self._held = "", b"", 0
        self._in_file = self._found = self._over = False
        self._parser = MultipartParser(boundary, self._callbacks())

    async def open(self) -> None:
        """Read up to the file, or to the end where there is none. Raises `Problem` (400) for what cannot be read."""
        while not self._found and await self._more():
            pass

    async def file(self) -> AsyncIterator[bytes]:
        """The file, in the pieces in which it comes. Raises `Problem` (400) where the form breaks off."""
        while True:
            while self._data:
                yield self._data.popleft()
            if not await self._more():
                break
        while self._data:
            yield self._data.popleft()
        if not self._over:
            raise Problem(BAD_BATCH)

    async def _more(self) -> bool:
        try:
            chunk = await anext(self._body)
        except StopAsyncIteration:
            return False
        try:
            self._parser.write(chunk)
        except MultipartParseError:
            raise Problem(BAD_BATCH) from None
        return True

    def _callbacks(self) -> Any:
        return {
            "on_part_begin": self._part_begins,
            "on_header_field": self._take_header,
            "on_header_value": self._take_value,
            "on_header_end": self._header_ends,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._take,
            "on_part_end": self._part_ends,
            "on_end": self._ends,
        }

    def _part_begins(self) -> None:
        self._disposition = self._field = b""
        self._in_file = False

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"")
        self._hold(len(name) + 1)  # also of fields that hold nothing
        self._name = name.decode(errors="replace")
        if b"filename" in options:
            if self._found:
                raise Problem(BAD_BATCH)
            self._in_file = self._found = True
            self.filename = options[b"filename"].decode(errors="replace")

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._data.append(data[start:end])
            return
        self._hold(end - start)
        self._field += data[start:end]

    def _hold(self, more: int) -> None:
        self._held += more
        if self._held > _MOST_OF_FIELDS:
            raise Problem(BAD_BATCH)

    def _part_ends(self) -> None:
        if not self._in_file:
            self.fields[self._name] = self._field.decode(errors="replace")

    def _ends(self) -> None:
        self._over = True
