"""Tables as CSV (RFC 4180) that a spreadsheet opens as what they are: no cell of text is a formula. Pure."""

import csv
import io
from collections.abc import Iterable, Sequence

MEDIA_TYPE = "text/csv"

_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a cell of text must not begin with: spreadsheets take it for a formula (OWASP, CSV injection)."""

Cell = str | int | float | None


def table(heading: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """The table in UTF-8, with the mark by which Excel knows that. Numbers stay numbers, None is empty."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(heading)
    writer.writerows([safe(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8-sig")


def safe(cell: Cell) -> Cell:
    """A cell as it is written: text that a spreadsheet would compute gets an apostrophe before it."""
    if isinstance(cell, str) and cell.lstrip(" ").startswith(_FORMULAS):
        return f"'{cell}"
    return cell
