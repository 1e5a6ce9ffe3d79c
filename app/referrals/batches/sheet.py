"""Reading CSV (RFC 4180) as it arrives: bytes in, rows out, no more held than one row. Pure.

A file that is no CSV is refused as a whole, for behind an open quote nobody can tell rows apart. Rows are counted as a
spreadsheet counts them: the headings are row 1, and an empty row counts.
"""

import codecs
import csv
from collections.abc import Iterator

from app.errors import BAD_BATCH, INVALID_BODY, Problem
from app.referrals.batches.columns import Columns
from app.referrals.batches.reading import Read

_MOST_LINES = 1_000
"""Lines that one row may span. What is not closed by then never is; and each is read again when more has come."""


class Sheet:
    """The rows of one CSV file. `longest` is the most characters of a row."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("strict")
        self._pieces: list[str] = []
        self._piece_length = 0
        self._lines: list[str] = []
        self._number = 0
        self._columns: Columns | None = None

    def feed(self, chunk: bytes) -> Iterator[Read]:
        """The rows that are whole by now. Raises `Problem` for what is no CSV, and for headings that are not ours."""
        text = self._decoded(chunk, last=False)
        self._pieces.append(text)
        self._piece_length += len(text)
        if "\n" in text:
            *lines, rest = "".join(self._pieces).split("\n")
            self._pieces, self._piece_length = [rest], len(rest)
            self._lines += [line + "\n" for line in lines]
            yield from self._rows(last=False)
        held = sum(map(len, self._lines)) + self._piece_length
        if held > self._longest or len(self._lines) > _MOST_LINES:
            raise self._no_csv("is too long. Is a quotation mark left open?")

    def end(self) -> Iterator[Read]:
        """The last row, which need not end with a line break."""
        self._pieces.append(self._decoded(b"", last=True))
        rest = "".join(self._pieces)
        if rest:
            self._lines.append(rest)
        yield from self._rows(last=True)
        if self._columns is None:
            raise Problem(BAD_BATCH, f"The file is empty. {BAD_BATCH.advice}")

    def _decoded(self, chunk: bytes, *, last: bool) -> str:
        try:
            return self._decoder.decode(chunk, last)
        except UnicodeDecodeError:
            raise self._no_csv("or one soon after it is not UTF-8. Save the file as “CSV UTF-8”.") from None

    def _rows(self, *, last: bool) -> Iterator[Read]:
        whole = 0
        taken = 0
        starved = False

        def lines() -> Iterator[str]:
            nonlocal taken, starved
            for line in self._lines:
                taken += 1
                yield line
            starved = True

        csv.field_size_limit(self._longest)  # Python's own is half of what a row may have
        reader = csv.reader(lines(), strict=True)
        try:
            for cells in reader:
                whole = taken
                self._number += 1
                yield from self._row(cells)
        except csv.Error:
            if last or not starved:
                raise self._no_csv("is no CSV. Is a quotation mark out of place?") from None
        finally:
            del self._lines[:whole]

    def _row(self, cells: list[str]) -> Iterator[Read]:
        if not any(cell.strip() for cell in cells):
            return
        columns = self._columns
        if columns is None:
            self._columns = Columns(cells)
        elif not columns.fits(cells):
            yield Read(self._number, fault=Problem(INVALID_BODY, "It has more cells than there are columns."))
        elif any("\x00" in cell for cell in cells):
            yield Read(self._number, fault=Problem(INVALID_BODY, "A cell holds NUL."))
        else:
            yield Read(self._number, columns.document(cells), place=lambda pointer: _place(columns, cells, pointer))

    def _no_csv(self, why: str) -> Problem:
        return Problem(BAD_BATCH, f"Row {self._number + 1} {why} Nothing of the file was taken.")


def _place(columns: Columns, cells: list[str], pointer: str) -> str:
    """Where in the file: the column, or the row as a whole."""
    name = columns.column(cells, pointer)
    return f"column/{name}" if name else ""
