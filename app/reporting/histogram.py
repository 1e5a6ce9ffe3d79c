"""Answer times as a histogram: four buckets for each doubling of the seconds, from one second to half a year. Pure.

What is told of a bucket is its middle (geometric), so a median or a 90th percentile is at most 9.1 % from the answer
time that stands at that place (2 ** (1/8) = 1.0905): docs/decisions/0025-reports.md.
"""

import math
from collections.abc import Mapping

PER_DOUBLING = 4
LAST = 95
"""Everything longer than 2 ** (95/4) seconds, 163 days, is in the last bucket."""


def bucket(seconds: float) -> int:
    """The bucket of an answer time, as the trigger in PostgreSQL computes it (migration 0017)."""
    return min(LAST, math.floor(PER_DOUBLING * math.log2(max(1.0, seconds))))


def middle(number: int) -> float:
    """The seconds that stand for a bucket."""
    return float(2 ** ((number + 0.5) / PER_DOUBLING))


def quantile(counts: Mapping[int, int], share: float) -> int | None:
    """The seconds within which this share (0 to 1) of the answers came, from answers by bucket; None without any.

    It is the answer at the place `ceil(share * number)`, counted from the quickest, as `percentile_disc` has it.
    """
    total = sum(counts.values())
    if total <= 0:
        return None
    place = max(1, math.ceil(share * total - 1e-9))
    passed = 0
    for number in sorted(counts):
        passed += counts[number]
        if passed >= place:
            return round(middle(number))
    raise ValueError("a bucket holds less than nothing")
