"""The report: a table, a plot, and every round as JSON."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import leather
import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Effort, Figure

_WIDEST = 3.0
"""Bars end here: what is three times as good as it must be needs no longer one."""


@dataclass(frozen=True, slots=True)
class Report:
    """A run. `seconds` is how long it took."""

    figures: list[Figure]
    notes: list[str]
    machine: str
    seconds: float
    effort: Effort

    def print(self, console: Console) -> None:
        """The table and the notes."""
        kind = "quick, rough figures" if self.effort.quick else "full"
        title = f"{kind}: medians of {self.effort.rounds} interleaved rounds; {self.machine}; {self.seconds:.0f} s"
        table = Table(title=title, title_justify="left", caption_justify="left")
        for heading in ("figure", "ours", "baseline", ""):
            table.add_column(heading, justify="right" if heading in ("ours",) else "left")
        for heading in ("ratio", "from – to", "reach", "go for", "reached"):
            table.add_column(heading, justify="right")
        for figure in self.figures:
            table.add_row(*_cells(figure))
        # A table is for a file as much as for a screen: cut to 80 columns it says nothing.
        Console(width=max(console.width, 150)).print(table)
        for note in [*self.notes, *(f"{figure.name}: {note}" for figure in self.figures for note in figure.notes)]:
            console.print(f"• {note}")

    def write(self, folder: Path) -> Path:
        """Keep every round as JSON and the plot as SVG; returns the JSON's path."""
        folder.mkdir(exist_ok=True)
        stem = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ") + ("-quick" if self.effort.quick else "")
        document = {
            "machine": self.machine,
            "seconds": self.seconds,
            "rounds": self.effort.rounds,
            "quick": self.effort.quick,
            "notes": self.notes,
            "figures": [figure.document() for figure in self.figures],
        }
        path = folder / f"{stem}.json"
        path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        self._plot(folder / f"{stem}.svg")
        return path

    def _plot(self, path: Path) -> None:
        shown = [(figure.share_of_reach, f"{figure.name} ÷ {figure.baseline}") for figure in self.figures]
        bars = [(round(min(share, _WIDEST), 2), name) for share, name in shown if share is not None]
        if not bars:
            return
        chart = leather.Chart("How far each figure is (1: what must be reached; bars end at 3)")
        chart.add_bars(bars)
        chart.add_x_scale(0, _WIDEST)
        chart.add_x_axis(ticks=[0, 0.5, 1, 1.5, 2, 2.5, 3])
        chart.to_svg(str(path), width=1000, height=60 + 34 * len(bars))


def _cells(figure: Figure) -> list[str]:
    ratio, reached, base = figure.ratio, figure.reached, figure.baseline_median
    less = "≤" if figure.lower else "≥"
    return [
        figure.name,
        f"{_number(figure.ours)} {figure.unit}",
        figure.baseline,
        "" if base is None else f"{_number(base)} {figure.unit}",
        "" if ratio is None else _number(ratio),
        "" if ratio is None else f"{_number(min(figure.ratios))} – {_number(max(figure.ratios))}",
        "" if figure.reach is None else f"{less} {figure.reach:g}",
        "" if figure.go_for is None else f"{figure.go_for:g}",
        "" if reached is None else ("[green]yes[/green]" if reached else "[red]no[/red]"),
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
