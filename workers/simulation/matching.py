"""The search of a register: a few candidates from the indexes, compared one by one. A subject is hostile input."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rapidfuzz import fuzz, process
from rapidfuzz.distance import JaroWinkler

from workers.simulation.likeness import Match, match_person, near_dates, same_address
from workers.simulation.plain import plain, plain_company
from workers.simulation.registers import Register
from workers.simulation.subject import Subject

_FAMILY_CUTOFF = 0.86
_COMPANY_CUTOFF = 84
_TIE_POINTS = 3.0
_MOST_CANDIDATES = 600
_MOST_TOLD = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """What a search gave: the matches best first, none for no hit; `alike` counts those that cannot be told apart."""

    matches: tuple[Match, ...] = ()
    alike: int = 0

    @property
    def tie(self) -> bool:
        """Whether several records fit the subject equally well, so that each is only a possible match."""
        return self.alike > 1


def search(register: Register, subject: Subject, threshold: float) -> Finding:
    """Find a subject of any kind in a register; a match below `threshold` (0 to 100) is none."""
    if subject.kind == "person":
        return _search_person(register, subject, threshold)
    found = {id(match.record): match for match in _related(register, subject)}
    # A company's own record stands before those of its directors.
    ordered = sorted(found.values(), key=lambda match: (-match.score, match.record.kind != "organisation"))
    matches = [match for match in ordered if match.score >= threshold]
    return Finding(tuple(matches[:_MOST_TOLD]), _namesakes(matches) if subject.kind == "organisation" else 0)


def _search_person(register: Register, subject: Subject, threshold: float) -> Finding:
    records = (register.records[position] for position in _candidates(register, subject))
    scored = [match_person(subject, record) for record in records if record.kind == "person"]
    matches = sorted((match for match in scored if match.score >= threshold), key=lambda match: -match.score)
    linked = [match for match in _linked(register, subject) if match.record.kind == "organisation"][:_MOST_TOLD]
    if not matches:
        return Finding(tuple(linked))
    best = matches[0]
    if best.identified:
        told = [match for match in matches if match.identified]
        return Finding((*told[:_MOST_TOLD], *linked))
    alike = [match for match in matches if best.score - match.score <= _TIE_POINTS]
    return Finding((*alike[:_MOST_TOLD], *linked), len(alike))


def _namesakes(companies: list[Match]) -> int:
    """How many companies a name fits equally well; 0 where an identifier settles it."""
    if not companies or companies[0].identified:
        return 0
    return sum(companies[0].score - match.score <= _TIE_POINTS for match in companies)


def _candidates(register: Register, subject: Subject) -> Iterable[int]:
    positions = dict.fromkeys(_identified(register, subject))
    if subject.birth is not None:
        for birth in near_dates(subject.birth):
            positions.update(dict.fromkeys(register.born(birth)))
    for family, given in subject.names:
        if len(positions) > _MOST_CANDIDATES:
            break
        positions.update(dict.fromkeys(_named(register, family, given)))
    return positions


def _named(register: Register, family: str, given: str) -> Iterator[int]:
    """Those whose family name is alike and whose given name begins with the same letter.

    Half a name alone never reaches a threshold; with a date of birth the birth index finds its bearer.
    """
    if not family or not given:
        return
    near = process.extract(
        family, register.families, scorer=JaroWinkler.similarity, score_cutoff=_FAMILY_CUTOFF, limit=20
    )
    for name, _, _ in near:
        for position in register.by_family[name]:
            if register.records[position].given[:1].lower() == given[0]:
                yield position


def _identified(register: Register, subject: Subject) -> Iterator[int]:
    for identifier in subject.identifiers:
        yield from register.by_identifier.get(identifier, ())


def _related(register: Register, subject: Subject) -> Iterator[Match]:
    """Records of any kind that bear on a company, premises or vehicle; weaker evidence first, to be replaced."""
    if subject.organisation:
        yield from _companies(register, plain_company(subject.organisation))
    if subject.kind == "premises":
        yield from _at(register, subject)
    yield from _linked(register, subject)


def _companies(register: Register, name: str) -> Iterator[Match]:
    near = process.extract(name, register.company_names, scorer=fuzz.ratio, score_cutoff=_COMPANY_CUTOFF, limit=5)
    for found, likeness, _ in near:
        for position in register.by_company[found]:
            words = "company name equal" if likeness == 100 else "company name alike"
            yield Match(register.records[position], likeness, words, False)


def _at(register: Register, subject: Subject) -> Iterator[Match]:
    for address in subject.addresses:
        for position in register.at(plain(address[1])):
            if same_address(address, register.records[position]):
                yield Match(register.records[position], 90.0, "address equal", False)


def _linked(register: Register, subject: Subject) -> Iterator[Match]:
    """Records that an identifier names, and companies at an address of the subject."""
    for identifier in subject.identifiers:
        words = f"{identifier.split(':', 1)[0].replace('_', ' ')} equal"
        for position in register.by_identifier.get(identifier, ()):
            yield Match(register.records[position], 100.0, words, True)
    if subject.kind != "person":
        return
    for match in _at(register, subject):
        if match.record.kind == "organisation":
            yield match
