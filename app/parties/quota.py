"""How many notices an agency takes. Pure. Its inbox shows everything all the same; urgent ones are never held back."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """Notices a minute and a day (None: no limit), and how many dispatches one notice can carry."""

    per_minute: int | None = None
    per_day: int | None = None
    together: int = 1

    def left(self, minute: int, day: int) -> int | None:
        """How many dispatches may still be told of, after so many notices; None: no limit."""
        lefts = [most - sent for most, sent in ((self.per_minute, minute), (self.per_day, day)) if most is not None]
        return max(0, min(lefts)) * self.together if lefts else None

    def notices(self, dispatches: int) -> int:
        """How many notices so many dispatches take."""
        return -(-dispatches // self.together)
