"""Ranges of event ids, half-open and in order: what was given out and not yet seen. Pure."""

from collections.abc import Iterable, Sequence

Ranges = Sequence[tuple[int, int]]


def without(ranges: Ranges, found: Iterable[int]) -> list[tuple[int, int]]:
    """The ranges less these ids, which are in order and lie within them."""
    rest: list[tuple[int, int]] = []
    waiting = iter(found)
    number = next(waiting, None)
    for start, end in ranges:
        while number is not None and number < end:
            if number > start:
                rest.append((start, number))
            start, number = number + 1, next(waiting, None)
        if start < end:
            rest.append((start, end))
    return rest


def after(ranges: Ranges, last: int) -> list[tuple[int, int]]:
    """What of the ranges lies beyond `last`."""
    return [(max(start, last + 1), end) for start, end in ranges if end > last + 1]


def written(ranges: Ranges) -> str:
    """The ranges as PostgreSQL writes an int8multirange."""
    return "{" + ",".join(f"[{start},{end})" for start, end in ranges) + "}"


def read(multirange: str) -> list[tuple[int, int]]:
    """The ranges in the text of an int8multirange."""
    inner = multirange.strip("{}")
    if not inner:
        return []
    pairs = (part.strip("[)").split(",") for part in inner.replace("),[", ")|[").split("|"))
    return [(int(start), int(end)) for start, end in pairs]
