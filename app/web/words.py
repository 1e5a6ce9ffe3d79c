"""Times and codes in words, for pages. Pure. What a person reads is London's clock; what a machine reads is UTC."""

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

LONDON = ZoneInfo("Europe/London")

_STEPS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def ago(at: datetime, now: datetime) -> str:
    """How long since: `just now`, `3 minutes ago`. Coarse, so that a live page changes when it matters."""
    seconds = (now - at).total_seconds()
    if seconds < 10:
        return "just now"
    return f"{length(seconds)} ago"


def age(at: datetime, now: datetime) -> str:
    """How old: `under a minute`, `11 days`."""
    return length((now - at).total_seconds())


def away(at: datetime, now: datetime) -> str:
    """A due time as seen from now: `in 10 days`, or `2 hours overdue` once it has passed."""
    seconds = (at - now).total_seconds()
    if seconds < 0:
        return f"{length(-seconds)} overdue"
    return f"in {length(seconds, whole=False)}"


def length(seconds: float, *, whole: bool = True) -> str:
    """A time span in its largest unit, `whole` units only or else the nearest: `under a minute`, `1 hour`."""
    slack = 1.0 if whole else 0.95  # a second after it was given, a term of 4 hours still reads so
    for size, unit in _STEPS:
        if seconds >= slack * size:
            return counted(int(seconds // size) if whole else round(seconds / size), unit)
    return "under a minute"


def span(seconds: float) -> str:
    """A time span to two figures or so, to be compared: `40 seconds`, `35 minutes`, `31 hours`, `4.2 days`."""
    if seconds < 90:
        return counted(round(seconds), "second")
    if seconds < 5_400:
        return counted(round(seconds / 60), "minute")
    if seconds < 172_800:
        return counted(round(seconds / 3_600), "hour")
    return f"{seconds / 86_400:.1f} days"


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun: `1 agency`, `2 agencies`, `1,234 agencies`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def joined(names: Sequence[str], most: int = 3) -> str:
    """Names in a sentence: `A`, `A and B`, `A, B and C`; of more than `most`, `A, B and 4 others`."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} others"
    return " and ".join([", ".join(names[:-1]), *names[-1:]] if len(names) > 1 else names)


def moment(at: datetime) -> str:
    """A time in full: `Sunday 22 November 2026, 13:25 GMT`."""
    return f"{at.astimezone(LONDON):%A %-d %B %Y, %H:%M %Z}"


def clock(at: datetime) -> str:
    """A time of day to the second: `13:25:07`."""
    return f"{at.astimezone(LONDON):%H:%M:%S}"


def machine(at: datetime) -> str:
    """A time for the `datetime` attribute, to the second: `2026-11-22T13:25:07Z`."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def plain(code: str) -> str:
    """A code of the domain as words: `modern_slavery` is `modern slavery`."""
    return code.replace("_", " ")
