"""What a figure is: the same measured for the broker and for a baseline, round after round, and the ratio of each."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

Measurement = Callable[[], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to measure. `seconds` is the length of one load, after `warm_seconds` that do not count."""

    quick: bool
    rounds: int
    seconds: float
    warm_seconds: float
    stored: int = 0
    """Referrals of the large database; 0: as many as a full or a quick run holds."""

    def size(self, full: int, quick: int) -> int:
        """An amount of data or work."""
        return quick if self.quick else full


FULL = Effort(quick=False, rounds=5, seconds=4.0, warm_seconds=1.0)
QUICK = Effort(quick=True, rounds=3, seconds=0.5, warm_seconds=0.2)


@dataclass(slots=True)
class Figure:
    """One line of the table.

    `rounds` holds (ours, baseline) in `unit`, the baseline None where a figure has none. `reach` and `go_for` are
    ratios ours to baseline; with `lower` a smaller ratio is better.
    """

    name: str
    unit: str
    baseline: str = ""
    reach: float | None = None
    go_for: float | None = None
    lower: bool = False
    rounds: list[tuple[float, float | None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, ours: float, baseline: float | None = None) -> None:
        """One more round."""
        self.rounds.append((ours, baseline))

    @property
    def ours(self) -> float:
        return median(ours for ours, _ in self.rounds)

    @property
    def baseline_median(self) -> float | None:
        found = [baseline for _, baseline in self.rounds if baseline is not None]
        return median(found) if found else None

    @property
    def ratios(self) -> list[float]:
        return [ours / baseline for ours, baseline in self.rounds if baseline]

    @property
    def ratio(self) -> float | None:
        """The median of the rounds' ratios."""
        return median(self.ratios) if self.ratios else None

    @property
    def share_of_reach(self) -> float | None:
        """How far it is: 1 is what must be reached, more is better."""
        if self.ratio is None or not self.reach:
            return None
        return self.reach / self.ratio if self.lower else self.ratio / self.reach

    @property
    def reached(self) -> bool | None:
        share = self.share_of_reach
        return None if share is None else share >= 1

    def document(self) -> dict[str, Any]:
        """All of it, for the JSON file."""
        return {
            "name": self.name,
            "unit": self.unit,
            "baseline": self.baseline,
            "rounds": self.rounds,
            "ratios": self.ratios,
            "ours": self.ours,
            "baseline_median": self.baseline_median,
            "ratio": self.ratio,
            "reach": self.reach,
            "go_for": self.go_for,
            "lower_is_better": self.lower,
            "reached": self.reached,
            "notes": self.notes,
        }


async def interleaved(rounds: int, measurements: Sequence[Measurement]) -> list[list[float]]:
    """Each measurement once a round, in turn, every other round the other way about; the values of each."""
    values: list[list[float]] = [[] for _ in measurements]
    order = list(range(len(measurements)))
    for _ in range(rounds):
        for index in order:
            values[index].append(await measurements[index]())
        order.reverse()
    return values


def compare(figure: Figure, ours: Sequence[float], baseline: Sequence[float]) -> Figure:
    """The figure with these rounds."""
    for mine, other in zip(ours, baseline, strict=True):
        figure.add(mine, other)
    return figure
