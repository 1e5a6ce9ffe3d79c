"""How alike a subject and a record are: a score from 0 to 100, and why in words. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from rapidfuzz import fuzz
from rapidfuzz.distance import JaroWinkler

from workers.simulation.noise import swapped
from workers.simulation.plain import plain
from workers.simulation.registers import Record
from workers.simulation.subject import Subject

_FAMILY_WEIGHT = 0.55
_SAME_ADDRESS_SHARE = 0.4
"""How much of what is missing from certainty an equal address makes good."""
_SAME_IDENTIFIER_POINTS = 78.0
"""What an equal identifier is worth alone: a vehicle may be kept by somebody other than the subject."""
_WITHOUT_BIRTH = 0.78
"""The most that an equal name proves without a date of birth."""


@dataclass(frozen=True, slots=True)
class Match:
    """One record found: `score` 0 to 100, `reason` in words, `identified` where an identifier is equal."""

    record: Record
    score: float
    reason: str
    identified: bool


def match_person(subject: Subject, record: Record) -> Match:
    """Compare a sought person with a record of one."""
    name, name_words = max(_names(subject, record), default=(0.0, "no name to compare"))
    birth, birth_words = _birth(subject.birth, record.birth)
    score = 100 * (_WITHOUT_BIRTH * name if birth is None else (name + birth) / 2)
    words = [name_words, birth_words]
    if any(same_address(address, record) for address in subject.addresses):
        score += _SAME_ADDRESS_SHARE * (100 - score)
        words.append("address equal")
    equal = [identifier.split(":", 1)[0] for identifier in subject.identifiers if identifier in record.identifiers]
    if equal:
        score = _SAME_IDENTIFIER_POINTS + (100 - _SAME_IDENTIFIER_POINTS) * score / 100
        words.extend(f"{type_.replace('_', ' ')} equal" for type_ in dict.fromkeys(equal))
    return Match(record, score, ", ".join(filter(None, words)), bool(equal))


def same_address(address: tuple[str, str], record: Record) -> bool:
    """Whether a sought (line, postcode) is the record's, a slip in the line forgiven."""
    if record.address is None or not address[1] or address[1] != plain(record.address.postcode):
        return False
    return not address[0] or fuzz.ratio(address[0], plain(record.address.line)) >= 85


def near_dates(birth: date) -> Iterator[date]:
    """The dates of birth by which a register may hold somebody born on `birth`; the date itself first."""
    yield birth
    if swapped(birth) != birth:
        yield swapped(birth)
    for year in (birth.year - 1, birth.year + 1):
        try:
            yield birth.replace(year=year)
        except ValueError:
            continue


def _names(subject: Subject, record: Record) -> Iterator[tuple[float, str]]:
    held_family, held_given = plain(record.family), plain(record.given.split(" ", 1)[0])
    for place, (family, given) in enumerate(subject.names):
        family_likeness, given_likeness = _likeness(family, held_family), _given(given, held_given)
        score = _FAMILY_WEIGHT * family_likeness + (1 - _FAMILY_WEIGHT) * given_likeness
        words = _name_words(_word(family_likeness), _word(given_likeness))
        yield score, f"{words} (alias)" if place else words


def _name_words(family: str, given: str) -> str:
    if family == given:
        return f"family name and given name {family}"
    return f"family name {family}, given name {given}"


def _likeness(sought: str, held: str) -> float:
    """0 for what is no more alike than chance (Jaro-Winkler 0.5), 1 for equal."""
    return max(0.0, JaroWinkler.similarity(sought, held) * 2 - 1) if sought and held else 0.0


def _given(sought: str, held: str) -> float:
    if sought[:1] == held[:1] and 1 in (len(sought), len(held)):
        return 0.8
    return _likeness(sought, held)


def _word(likeness: float) -> str:
    if likeness > 0.999:
        return "equal"
    return "alike" if likeness >= 0.65 else "different"


def _birth(sought: date | None, held: date | None) -> tuple[float | None, str]:
    if sought is None or held is None:
        return None, "no date of birth to compare"
    if sought == held:
        return 1.0, "date of birth equal"
    if swapped(sought) == held:
        return 0.92, "date of birth equal with day and month swapped"
    if (sought.day, sought.month) == (held.day, held.month) and abs(sought.year - held.year) == 1:
        return 0.75, "date of birth equal but for one year"
    if (sought.year, sought.month) == (held.year, held.month):
        return 0.4, "month and year of birth equal"
    return 0.0, "date of birth different"
