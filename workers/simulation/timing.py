"""When a body answers: a pure function of seed and dispatch, so that nothing is lost with a process."""

from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from math import exp, log
from statistics import NormalDist

from workers.simulation.characters import Character

_OPENS, _CLOSES = 9, 17
_DAY_HOURS = _CLOSES - _OPENS
_HASTE = {"urgent": 0.05, "priority": 0.4}
LONGEST = timedelta(days=6)
"""The tail of every latency ends here: at the default speed of 20,000 that is 26 seconds."""

_NORMAL = NormalDist()


def chance(seed: int, dispatch_id: str, what: str) -> float:
    """A number in (0, 1) that is always the same for the same dispatch and question."""
    digest = blake2b(f"{seed}:{what}:{dispatch_id}".encode("utf-8", "replace"), digest_size=7).digest()
    return (int.from_bytes(digest) + 0.5) / 2**56


def answers_after(
    character: Character, seed: int, dispatch_id: str, reference: str, priority: str, received: datetime
) -> timedelta:
    """How long after `received` (aware) the body answers, in life time, opening hours included."""
    deviation = _NORMAL.inv_cdf(chance(seed, dispatch_id, "latency"))
    hours = exp(log(character.median_hours) + character.spread * deviation) * _HASTE.get(priority, 1.0)
    if character.automatic or priority == "urgent":
        return min(timedelta(hours=hours), LONGEST)
    if priority == "routine":
        hours += _DAY_HOURS * _days_in_line(character, reference)
    return min(_at_work(received.astimezone(UTC), hours) - received, LONGEST)


def _days_in_line(character: Character, reference: str) -> int:
    """Whole working days a routine referral waits for its turn within the quota.

    Its number tells its place, so that no counter has to survive a kill: of the numbers that fall to a week, a body
    takes up `quota` a day.
    """
    digits = reference.rpartition("-")[2]
    number = int(digits[-9:]) if digits.isascii() and digits.isdigit() else 1
    return (number - 1) % (5 * character.quota) // character.quota


def _at_work(start: datetime, hours: float) -> datetime:
    """`start` plus so many hours between nine and five on weekdays (UTC; bank holidays are worked)."""
    moment = start
    while True:
        opens = moment.replace(hour=_OPENS, minute=0, second=0, microsecond=0)
        closes = opens.replace(hour=_CLOSES)
        begin = max(moment, opens)
        if moment.weekday() < 5 and begin < closes:
            left = (closes - begin).total_seconds() / 3600
            if hours <= left:
                return begin + timedelta(hours=hours)
            hours -= left
        moment = opens.replace(hour=0) + timedelta(days=1)
        if moment - start > LONGEST:
            return start + LONGEST


def real_seconds_left(life: timedelta, received: datetime, now: datetime, speed: float) -> float:
    """Seconds of real time until the answer is due, 0 or less when it is; at speed 0 everything is instant."""
    if speed <= 0:
        return 0.0
    return life.total_seconds() / speed - (now - received).total_seconds()
