"""A spark line: how a number went over some hours, as the points of a line without axes. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 96, 20
"""The space that it is drawn in; a margin of 1 keeps the line whole."""


@dataclass(frozen=True, slots=True)
class Spark:
    """The points as an SVG `polyline` takes them, empty where there is nothing to draw; the sum, and the most."""

    points: str
    total: int
    most: int


def spark(numbers: Sequence[int]) -> Spark:
    """The line of these numbers, the oldest first; the height is that of the most."""
    total, most = sum(numbers), max(numbers, default=0)
    if not most or len(numbers) < 2:
        return Spark("", total, most)
    step = (WIDTH - 2) / (len(numbers) - 1)
    points = (f"{1 + step * n:.1f},{HEIGHT - 1 - (HEIGHT - 2) * number / most:.1f}" for n, number in enumerate(numbers))
    return Spark(" ".join(points), total, most)
