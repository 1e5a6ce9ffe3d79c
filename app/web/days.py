"""A day as a form's three fields give it: the date input of the design system, day, month and year."""

from dataclasses import dataclass
from datetime import date

from starlette.datastructures import FormData


@dataclass(frozen=True, slots=True)
class GivenDay:
    """What was typed, as it was typed; `date` is the day that it makes, None where it is none."""

    day: str = ""
    month: str = ""
    year: str = ""

    @classmethod
    def of(cls, day: date) -> "GivenDay":
        """The fields filled in with a day."""
        return cls(str(day.day), str(day.month), str(day.year))

    @classmethod
    def read(cls, fields: FormData, name: str) -> "GivenDay":
        """The fields of this name in a form that was sent."""
        return cls(*(str(fields.get(f"{name}-{part}", "")).strip()[:10] for part in ("day", "month", "year")))

    @property
    def date(self) -> date | None:
        """The day, where the three make one."""
        try:
            return date(int(self.year), int(self.month), int(self.day))
        except ValueError:
            return None
