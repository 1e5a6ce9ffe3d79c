"""What a reader of rows gives: a document or what is wrong with it, row by row. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from app.errors import Problem


def _as_it_is(pointer: str) -> str:
    return pointer


@dataclass(frozen=True, slots=True)
class Read:
    """One row: its `number` in the file, its `document` before validation, or the `fault` that leaves it without one.

    `place` turns a pointer into the document into where that stands in the file.
    """

    number: int
    document: Any = None
    fault: Problem | None = None
    place: Callable[[str], str] = _as_it_is


class Reader(Protocol):
    """Reads rows out of bytes as they come, and holds no more than one row."""

    def feed(self, chunk: bytes) -> Iterator[Read]:
        """The rows that are whole by now. Raises `Problem` where the file cannot be read on."""

    def end(self) -> Iterator[Read]:
        """What is left."""
