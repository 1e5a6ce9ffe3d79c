"""`python -m benchmarks [--quick] [names…]`: measure, print the table, keep every round and a plot."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from rich.console import Console

from benchmarks import report
from benchmarks.measure import FULL, QUICK, Figure
from benchmarks.stage import Stage, machine

NAMES = (
    "ingest",
    "batches",
    "fan_out",
    "saturation",
    "lateness",
    "push",
    "inbox",
    "audit",
    "growth",
    "latency",
    "isolation",
    "pages",
    "endurance",
)
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
            figures, failed = _measure(stage, given.names or NAMES, console)
    outcome = report.Report(figures, stage.notes, described, time.time() - began, effort)
    outcome.print(console)
    console.print(f"Every round: {outcome.write(RESULTS)}")
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}; why stands above")


def _measure(stage: Stage, names: Sequence[str], console: Console) -> tuple[list[Figure], list[str]]:
    """The figures, and the names of what could not be measured: that costs no other its figures."""
    figures: list[Figure] = []
    failed = []
    for name in names:
        began = time.monotonic()
        try:
            with console.status(f"measuring {name} …"):
                figures += asyncio.run(import_module(f"benchmarks.{name}").run(stage))
        except Exception:
            console.print_exception(max_frames=8)
            failed.append(name)
        console.print(f"[dim]{name}: {time.monotonic() - began:.0f} s[/dim]")
    return figures, failed


if __name__ == "__main__":
    main()
