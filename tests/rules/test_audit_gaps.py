"""Ids that were given out and not seen: none is forgotten, none is looked for twice."""

from hypothesis import given
from hypothesis import strategies as st

from app.audit import gaps

ids = st.sets(st.integers(1, 60))


def listed(ranges: gaps.Ranges) -> list[int]:
    """Every id in the ranges."""
    return [number for start, end in ranges for number in range(start, end)]


@given(ids, ids)
def test_what_is_found_leaves_the_rest(first: set[int], second: set[int]) -> None:
    holes = gaps.without([(1, 61)], sorted(first))
    assert listed(holes) == sorted(set(range(1, 61)) - first)
    rest = gaps.without(holes, sorted(second - first))
    assert listed(rest) == sorted(set(range(1, 61)) - first - second)
    assert all(start < end for start, end in rest)


@given(ids, st.integers(0, 61))
def test_what_is_given_up_is_what_lies_before(found: set[int], last: int) -> None:
    holes = gaps.without([(1, 61)], sorted(found))
    assert listed(gaps.after(holes, last)) == [number for number in listed(holes) if number > last]


@given(ids)
def test_ranges_are_written_and_read(found: set[int]) -> None:
    holes = gaps.without([(1, 61)], sorted(found))
    assert gaps.read(gaps.written(holes)) == holes
