"""What email would have needed against what it took: numbers counted from the API and times measured, nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from workers.simulation.demonstration.standing import outcomes, waits

_Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Played:
    """What the demonstration saw. `events` are the entries of every timeline.

    `receipts` are the seconds each submission took; `seconds` run from the first one until everything was final.
    """

    referrals: Sequence[_Document]
    products: Sequence[_Document]
    events: Sequence[_Document]
    receipts: Sequence[float]
    coordinator: str
    speed: float
    seconds: float


def comparison(played: Played) -> RenderableType:
    """Both tables: the work, and the time."""
    return Group(_work(played), Text(), _time(played), Text(), Text(_caveat(played.speed), style="dim"))


def _work(played: Played) -> RenderableType:
    grid = _table("The work", "By email", "Here")
    asked = sum(len(referral["dispatches"]) for referral in played.referrals)
    heard = outcomes(played.referrals)
    replies = heard["hit"] + heard["no_hit"] + heard["declined"]
    subjects, bodies = len(played.referrals), len({d["agency"] for r in played.referrals for d in r["dispatches"]})
    facts = sum(product["totals"]["facts"] for product in played.products)
    flagged = sum(_under_consent(product) for product in played.products)
    acts = sum(event["party"] == played.coordinator for event in played.events)
    chased = sum("chase" in event["event"] for event in played.events)
    for label, email, here in (
        (
            "Requests to write and send",
            f"{asked} = {subjects} × {bodies}",
            f"{subjects} submitted, the broker made the {asked}",
        ),
        ("Replies to match with their request", f"{replies}", f"0: {replies} were matched as they came"),
        ("Refusals to note with their reason", f"{heard['declined']}", "0: each came with its reason"),
        ("Facts to copy with grading and handling", f"{facts}", f"0: they stand in {subjects} products"),
        ("Facts to mark ‘consent first’", f"{flagged}", "0: marked by the body that gave them"),
        (
            "Messages to log, sent and received",
            f"{asked + replies}",
            f"0: {len(played.events)} log entries were written with the changes",
        ),
        ("Messages through the co-ordinator’s hands", f"{asked + replies}", f"{acts}"),
        ("Reminders sent", "not counted", f"{chased}"),
    ):
        grid.add_row(label, email, here)
    return grid


def _time(played: Played) -> RenderableType:
    grid = _table("The time, measured", "Median", "Slowest")
    for label, seconds in (
        ("From sending a referral to its receipt, durably stored", sorted(played.receipts)),
        ("From submission until a body has it", waits(played.referrals, "delivered_at")),
        ("From submission to a body’s answer", waits(played.referrals, "answered_at")),
    ):
        grid.add_row(label, _seconds(median(seconds)), _seconds(seconds[-1]))
    grid.add_row(
        f"Until all {len(waits(played.referrals, 'answered_at'))} answers were in", "", _seconds(played.seconds)
    )
    return grid


def _table(*headings: str) -> Table:
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    grid.add_column(headings[0])
    for heading in headings[1:]:
        grid.add_column(heading, justify="left")
    return grid


def _under_consent(product: _Document) -> int:
    facts = (fact for group in product["findings"] for fact in group["facts"])
    return sum(fact["onward_disclosure"] == "consent_required" for fact in facts)


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _caveat(speed: float) -> str:
    pace = "answer at once" if speed <= 0 else f"work {speed:,.0f} times faster than life"
    return (
        f"The simulated bodies {pace}: the times to their answers are theirs, sped up. Everything else ran at its own "
        "speed. Email’s numbers follow from these counts, one message for each request and each reply; no time is "
        "claimed for it, for none was measured."
    )
