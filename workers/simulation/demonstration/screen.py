"""What is seen while the bodies work: a live table at a terminal, a line now and then anywhere else."""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from workers.simulation.demonstration.standing import Standing, is_open, moment

_COLUMNS = {
    "queued": ("Queued", "cyan"),
    "delivered": ("Seen", "cyan"),
    "acknowledged": ("Ackn.", "cyan"),
    "hit": ("Hit", "bold green"),
    "no_hit": ("No hit", "default"),
    "declined": ("Decl.", "yellow"),
    "undeliverable": ("Undel.", "bold red"),
}
"""Word, heading and style. The headings are those of the states; `Seen` is `delivered`."""

_AROUND = 8  # lines of a live table that are not bodies
_FIXED = 79  # columns that a row takes without the body's name
_WIDE = 104  # columns from which there is room for names
_PLAIN_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at the exchange, `seconds` after the first submission; `queues` are the rows of `GET /v1/queues`."""

    standings: Sequence[Standing]
    queues: Mapping[str, Mapping[str, Any]]
    expected: int
    seconds: float
    at: datetime

    @property
    def settled(self) -> int:
        """How many dispatches are final."""
        return sum(one.settled for one in self.standings)


class Screen:
    """Shows snapshots on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, transient=True, refresh_per_second=4) if _moves(console) else None
        self._next = 0.0

    def __enter__(self) -> "Screen":
        self._around().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._around().__exit__(*error)

    def _around(self) -> AbstractContextManager[Any]:
        return self._live or nullcontext()

    def show(self, snapshot: Snapshot) -> None:
        """Show a snapshot; on what is no terminal only every few seconds, and when all is final."""
        if self._live is not None:
            self._live.update(table(snapshot, self._console.width, self._console.height - _AROUND))
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + _PLAIN_SECONDS
            self._console.print(line(snapshot), soft_wrap=True)


def _moves(console: Console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal


def table(snapshot: Snapshot, width: int, rows: int | None = None) -> RenderableType:
    """The bodies at `width` columns, at most `rows` of them: those with the most to do first, where not all fit."""
    shown, left = _fitting(snapshot.standings, rows)
    grid = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
    grid.add_column("Body", no_wrap=True)
    if width >= _WIDE:
        grid.add_column("", no_wrap=True, style="dim", max_width=width - _FIXED)
    for heading, _ in _COLUMNS.values():
        grid.add_column(heading, justify="right", no_wrap=True)
    grid.add_column("Median", justify="right", no_wrap=True)
    grid.add_column("Last word", no_wrap=True)
    for one in shown:
        grid.add_row(*_cells(one, snapshot, width))
    more = [Text(f"… and {left} more", style="dim")] if left else []
    return Group(grid, *more, Text(), _bar(snapshot, width))


def _fitting(standings: Sequence[Standing], rows: int | None) -> tuple[Sequence[Standing], int]:
    if rows is None or rows >= len(standings):
        return standings, 0
    busiest = sorted(standings, key=lambda one: -sum(n for word, n in one.words.items() if is_open(word)))
    kept = {one.agency for one in busiest[: max(rows - 1, 1)]}
    return [one for one in standings if one.agency in kept], len(standings) - len(kept)


def _cells(one: Standing, snapshot: Snapshot, width: int) -> list[Text]:
    name = [Text(str(snapshot.queues.get(one.agency, {}).get("name", "")))] if width >= _WIDE else []
    done = bool(one.words) and not any(is_open(word) for word in one.words)
    return [
        Text(one.agency, style="bold green" if done else "bold"),
        *name,
        *(_number(one.words.get(word, 0), style) for word, (_, style) in _COLUMNS.items()),
        Text(f"{one.median:.1f} s" if one.median is not None else ""),
        _last_word(one, snapshot),
    ]


def _number(number: int, style: str) -> Text:
    return Text(str(number), style=style) if number else Text("·", style="dim")


def _last_word(one: Standing, snapshot: Snapshot) -> Text:
    """What it said last, or else when it was last heard of."""
    if one.last_at is not None:
        return Text(f"{one.last_word.replace('_', ' ')} {_ago(one.last_at, snapshot.at)}")
    seen = snapshot.queues.get(one.agency, {}).get("last_seen_at")
    return Text(f"seen {_ago(moment(seen), snapshot.at)}" if seen else "", style="dim")


def _ago(then: datetime, now: datetime) -> str:
    return f"{max(0, round((now - then).total_seconds()))} s ago"


def _bar(snapshot: Snapshot, width: int) -> RenderableType:
    bar = Table.grid(padding=(0, 1))
    told = f"{snapshot.settled} of {snapshot.expected} answers in after {snapshot.seconds:.1f} s"
    length = max(10, min(60, width - len(told) - 2))
    bar.add_row(
        ProgressBar(snapshot.expected, snapshot.settled, length, complete_style="green", finished_style="green"), told
    )
    return bar


def line(snapshot: Snapshot) -> str:
    """A snapshot as one line of text."""
    words = {word: sum(one.words.get(word, 0) for one in snapshot.standings) for word in _COLUMNS}
    told = " · ".join(f"{word.replace('_', ' ')} {number}" for word, number in words.items() if number)
    finished = sum(one.settled > 0 and not any(is_open(word) for word in one.words) for one in snapshot.standings)
    return (
        f"{snapshot.seconds:5.1f} s  {snapshot.settled} of {snapshot.expected} answers in, "
        f"{finished} of {len(snapshot.standings)} bodies done{': ' + told if told else ''}"
    )
