"""`python -m benchmarks [--quick] [names…]`: measure, print the table, keep every round and a plot."""

import argparse
import asyncio
import tempfile
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from rich.console import Console

from benchmarks import report
from benchmarks.measure import FULL, QUICK, Figure
from benchmarks.stage import Stage, machine

NAMES = ("ingest", "fan_out", "saturation", "push", "inbox", "audit", "growth", "latency", "isolation", "endurance")
RESULTS = Path(__file__).with_name("results")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"figures to measure, of: {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="three short rounds and small tables: under two minutes")
    parser.add_argument("--rounds", type=int, help="rounds of each figure")
    parser.add_argument("--stored", type=int, help="referrals in the large database [500000; quick: 10000]")
    parser.add_argument("--data-dir", type=Path, help="a folder to keep the databases in, for another run")
    given = parser.parse_args()
    unknown = set(given.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    effort = QUICK if given.quick else FULL
    if given.rounds:
        effort = replace(effort, rounds=given.rounds)
    if given.stored:
        effort = replace(effort, stored=given.stored)
    console = Console()
    began, described = time.time(), machine()
    with tempfile.TemporaryDirectory(prefix="gain-bench-") as scratch:
        folder = given.data_dir or Path(scratch)
        with Stage(folder, effort) as stage:
            figures = _measure(stage, given.names or NAMES, console)
    outcome = report.Report(figures, stage.notes, described, time.time() - began, effort)
    outcome.print(console)
    console.print(f"Every round: {outcome.write(RESULTS)}")


def _measure(stage: Stage, names: tuple[str, ...] | list[str], console: Console) -> list[Figure]:
    figures: list[Figure] = []
    for name in names:
        began = time.monotonic()
        with console.status(f"measuring {name} …"):
            measured = asyncio.run(import_module(f"benchmarks.{name}").run(stage))
        console.print(f"[dim]{name}: {time.monotonic() - began:.0f} s[/dim]")
        figures += measured
    return figures


if __name__ == "__main__":
    main()
