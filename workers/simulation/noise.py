"""How registers get people wrong: spelling, swapped day and month, maiden names, old addresses, missing fields."""

from dataclasses import dataclass
from datetime import date
from random import Random

_CONFUSED = (("ph", "f"), ("y", "ie"), ("ll", "l"), ("ck", "k"), ("tt", "t"), ("ee", "ea"), ("ar", "er"), ("on", "en"))


@dataclass(frozen=True, slots=True)
class Noise:
    """How often (0 to 1) a register is wrong in each way."""

    spelling: float = 0.05
    swapped: float = 0.03
    maiden: float = 0.3
    old_address: float = 0.15
    short_name: float = 0.3
    no_birth: float = 0.02
    no_address: float = 0.03
    no_identifier: float = 0.08


CLEAN = Noise(spelling=0.01, swapped=0.005, maiden=0.1, short_name=0.05, no_birth=0.0, no_identifier=0.0)
CARELESS = Noise(
    spelling=0.12, swapped=0.08, maiden=0.4, old_address=0.3, no_birth=0.15, no_address=0.1, no_identifier=0.4
)


def misspelt(name: str, rng: Random) -> str:
    """A name as somebody heard it, or with a slip of the keyboard; never the name itself where it has three letters."""
    lower = name.lower()
    heard = [(right, wrong) for right, wrong in _CONFUSED if right in lower[1:]]
    if heard and rng.random() < 0.6:
        right, wrong = rng.choice(heard)
        at = lower.index(right, 1)
        return name[:at] + wrong + name[at + len(right) :]
    if len(name) < 3:
        return name
    at = rng.randrange(1, len(name) - 1)
    if name[at] != name[at + 1] and rng.random() < 0.4:
        return name[:at] + name[at + 1] + name[at] + name[at + 2 :]
    return name[:at] + name[at] + name[at:]


def swapped(birth: date) -> date:
    """Day and month changed over, where that is a date; otherwise the date as it is."""
    return birth.replace(day=birth.month, month=birth.day) if birth.day <= 12 else birth
