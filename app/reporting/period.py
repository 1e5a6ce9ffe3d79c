"""The months that a report is over, and how they are written. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from app.web.words import LONDON

MONTH_PATTERN = r"^20\d\d-(0[1-9]|1[0-2])$"
LONGEST_MONTHS = 60
USUAL_MONTHS = 12


class BadPeriod(ValueError):
    """The first month comes after the last, or there are too many; the text says which."""


@dataclass(frozen=True, slots=True)
class Period:
    """Whole months in London, each by its first day; `last` is the last of them."""

    first: date
    last: date

    @property
    def months(self) -> list[date]:
        """Every month, in order."""
        return list(_months(self.first, self.last))

    @property
    def words(self) -> str:
        """`December 2025 to November 2026`; one month alone is `November 2026`."""
        last = f"{self.last:%B %Y}"
        return last if self.first == self.last else f"{self.first:%B %Y} to {last}"


def period(first: str | None, last: str | None, now: datetime) -> Period:
    """The period from one month to another (`2026-11`), each included.

    Without a last month it ends with the one that `now` is in; without a first it is twelve months long. Raises
    `BadPeriod`.
    """
    ends = _month(last) if last else now.astimezone(LONDON).date().replace(day=1)
    begins = _month(first) if first else _before(ends, USUAL_MONTHS - 1)
    if begins > ends:
        raise BadPeriod("The first month comes after the last.")
    found = Period(begins, ends)
    if len(found.months) > LONGEST_MONTHS:
        raise BadPeriod(f"At most {LONGEST_MONTHS} months.")
    return found


def written(month: date) -> str:
    """A month as the URL has it: `2026-11`."""
    return f"{month:%Y-%m}"


def _month(text: str) -> date:
    year, month = text.split("-")
    return date(int(year), int(month), 1)


def _before(month: date, count: int) -> date:
    number = month.year * 12 + month.month - 1 - count
    return date(number // 12, number % 12 + 1, 1)


def _months(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first = _before(first, -1)
