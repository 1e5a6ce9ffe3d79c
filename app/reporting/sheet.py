"""The consolidated product as a sheet to read and print: what stands where, in words. Pure; HTML and PDF show the same.

Every text in it is what somebody wrote or a word of ours; none is markup, and whoever draws it must treat none as such.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from app.parties.codes import LegalBasis
from app.referrals.codes import HandlingCode, OnwardDisclosure
from app.web.words import counted, moment, plain

_Row = Mapping[str, Any]

SOURCES = {1: "reliable", 2: "untested", 3: "not reliable"}
ASSESSMENTS = {
    "A": "known directly to the source",
    "B": "known indirectly but corroborated",
    "C": "known indirectly",
    "D": "not known",
    "E": "suspected to be false",
}
CONDITIONS = {
    "A1": "covert development",
    "A2": "covert use",
    "A3": "overt use",
    "S1": "delegated authority",
    "S2": "consult the originator",
}
_ONWARD = {
    OnwardDisclosure.PERMITTED: "permitted",
    OnwardDisclosure.CONSENT_REQUIRED: "only with the body's consent",
    None: "not stated: ask the body first",
}
_STATES = {"query": "asked for more information", "queued": "not seen yet", "delivered": "seen"}
POWERS = {
    LegalBasis.COMMON_LAW_POLICING_PURPOSE: "common law policing purpose",
    LegalBasis.ATCSA_2001_S19: "Anti-terrorism, Crime and Security Act 2001, section 19",
    LegalBasis.CRIME_AND_COURTS_ACT_2013_S7: "Crime and Courts Act 2013, section 7",
    LegalBasis.IMMIGRATION_AND_ASYLUM_ACT_1999_S20: "Immigration and Asylum Act 1999, section 20",
    LegalBasis.IMMIGRATION_AND_ASYLUM_ACT_1999_S21: "Immigration and Asylum Act 1999, section 21",
    LegalBasis.ENTERPRISE_ACT_2002_PART_9: "Enterprise Act 2002, part 9",
    LegalBasis.FSMA_2000_S348: "Financial Services and Markets Act 2000, section 348",
    LegalBasis.GANGMASTERS_LICENSING_ACT_2004_S19: "Gangmasters (Licensing) Act 2004, section 19",
    LegalBasis.OFFENDER_MANAGEMENT_ACT_2007_S14: "Offender Management Act 2007, section 14",
    LegalBasis.CRIME_AND_DISORDER_ACT_1998_S115: "Crime and Disorder Act 1998, section 115",
    LegalBasis.SOCIAL_SECURITY_ADMINISTRATION_ACT_1992: "Social Security Administration Act 1992",
    LegalBasis.DATA_PROTECTION_ACT_2018_SCH2_PARA2: "Data Protection Act 2018, schedule 2, paragraph 2",
}
COUNTS = {
    "arrests": "Arrests",
    "charged": "Charged",
    "prohibition_orders": "Prohibition orders",
    "children_safeguarded": "Children safeguarded",
    "adults_safeguarded": "Adults safeguarded",
}


@dataclass(frozen=True, slots=True)
class Item:
    """A text with a title, notes on it in one line each, and what must be heeded before it is used."""

    title: str
    text: str
    notes: Sequence[str] = ()
    caution: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the sheet: some words, then pairs of label and text, then items."""

    heading: str
    words: str = ""
    pairs: Sequence[tuple[str, str]] = ()
    items: Sequence[Item] = ()


@dataclass(frozen=True, slots=True)
class Sheet:
    """The whole. `marking` stands on every page; `cautions` before everything else; `foot` says whose copy it is."""

    title: str
    reference: str
    marking: str
    cautions: Sequence[str]
    sections: Sequence[Section]
    foot: str


def sheet(product: _Row, names: Mapping[str, str], reader: str) -> Sheet:
    """The sheet of a product (as `reporting.product` gives it), for the party that reads it; `names` of the parties."""
    written = _Written(product, names)
    sections = (
        written.subject(),
        written.why(),
        written.at_a_glance(),
        *written.findings(),
        written.answers(),
        written.declined(),
        written.outstanding(),
        written.outcome(),
        written.key(),
    )
    return Sheet(
        title=f"Consolidated product {product['reference']}",
        reference=product["reference"],
        marking=product["marking"],
        cautions=written.cautions(),
        sections=[section for section in sections if section is not None],
        foot=f"{product['reference']}, as it stood on {moment(product['made_at'])}. Copy for {written.party(reader)}.",
    )


def about(product: _Row, names: Mapping[str, str]) -> tuple[Section, ...]:
    """The parts of the sheet that say whom it is about and why it was asked."""
    written = _Written(product, names)
    return written.subject(), written.why()


def answered(product: _Row, names: Mapping[str, str]) -> tuple[Section, ...]:
    """The parts of the sheet that say what came back; none where nothing did."""
    written = _Written(product, names)
    found = written.findings() if product["findings"] else ()
    return tuple(part for part in (*found, written.answers(), written.declined()) if part is not None)


def done(outcome: _Row, names: Mapping[str, str]) -> Section:
    """One outcome, as `referrals.outcomes` gives it."""
    written = _Written({}, names)
    pairs = [(label, str(outcome[name])) for name, label in COUNTS.items() if outcome[name] is not None]
    pairs += [("Assets frozen", f"£{outcome['assets_frozen']}")] if outcome["assets_frozen"] else []
    useful = ", ".join(map(written.party, outcome["useful_agencies"]))
    pairs += [("Answers that contributed", useful)] if useful else []
    item = Item("", outcome["summary"] or "", _seized(outcome))
    return Section(f"Action of {_day(outcome['acted_on'])}", "", pairs, [item])


class _Written:
    """One product, put in words part by part."""

    def __init__(self, product: _Row, names: Mapping[str, str]) -> None:
        self._product = product
        self._names = names

    def party(self, code: str) -> str:
        """A party by its name, with its code."""
        name = self._names.get(code)
        return f"{name} ({code})" if name else code

    def cautions(self) -> list[str]:
        """What must be heeded before anything of it is used."""
        product = self._product
        told = [f"Handling of this product as a whole: {_handling(product['handling'])}."]
        if product["warnings"]:
            told.append(f"Warnings about the subject: {', '.join(map(plain, product['warnings']))}.")
        if product["consent_required_from"]:
            bodies = ", ".join(map(self.party, product["consent_required_from"]))
            told.append(f"Goes to no other party or product without the consent of: {bodies}.")
        told += map(self._consented, product["consents_given"])
        if any(fact["onward_disclosure"] is None for group in product["findings"] for fact in group["facts"]):
            told.append("Where onward disclosure is not stated, ask the body before passing anything on.")
        return told

    def subject(self) -> Section:
        """Who or what it is about, as it was submitted."""
        given = self._product["subject"]
        pairs = [("Kind", plain(given["kind"]))]
        pairs += [("Name", name)] if (name := given.get("name") or _name(given)) else []
        pairs += [("Born", _day(given["date_of_birth"]))] if given.get("date_of_birth") else []
        pairs += [("Also known as", _name(alias)) for alias in given.get("aliases") or ()]
        pairs += [("Address", _address(address)) for address in given.get("addresses") or ()]
        pairs += [(_headed(one["type"]), one["value"]) for one in given.get("identifiers") or ()]
        return Section("Subject", pairs=pairs)

    def why(self) -> Section:
        """Why it was asked, by whom, and on what power."""
        product, why = self._product, self._product["why"]
        pairs = [
            ("Originator", self.party(product["originator"])),
            ("Submitted", moment(product["created_at"])),
            ("Priority", plain(product["priority"])),
            ("State", plain(product["state"])),
            ("Answers due", moment(product["respond_by"])),
            ("Criterion", plain(why["criterion"]).replace("ocg", "OCG")),
            ("Crime types", ", ".join(map(plain, why["crime_types"]))),
            ("Purpose", why["purpose"]),
            ("Information sought", why["information_sought"]),
            ("Legal basis of the originator", _power(why["legal_basis"])),
            ("Operation", product["operation_name"]),
            ("Organised crime group", _group(product["ocg"])),
            ("Contact", _contact(product["contact"])),
            ("Originator's own reference", product["client_reference"]),
        ]
        return Section("Why it was asked", pairs=[(label, text) for label, text in pairs if text])

    def at_a_glance(self) -> Section:
        """The figures: each body once, as its latest round stands."""
        totals = self._product["totals"]
        reasons = ", ".join(f"{plain(reason)} {number}" for reason, number in totals["decline_reasons"].items())
        pairs = [(_headed(name), str(totals[name])) for name in ("asked", "hits", "no_hits", "declined")]
        pairs += [("Why declined", reasons)] if reasons else []
        pairs += [
            (_headed(name), str(totals[name])) for name in ("expired", "undeliverable", "cancelled") if totals[name]
        ]
        pairs += [("Still to answer", str(totals["outstanding"])), ("Facts", str(totals["facts"]))]
        return Section("At a glance", pairs=pairs)

    def findings(self) -> Iterable[Section]:
        """What was found, by kind, each fact with what holds for it."""
        groups = self._product["findings"]
        if not groups:
            yield Section("Findings", "Nothing has been found so far.")
        for group in groups:
            number = counted(len(group["facts"]), "fact")
            bodies = ", ".join(map(self.party, group["agencies"]))
            items = [self._fact(fact) for fact in group["facts"]]
            yield Section(
                f"Findings: {plain(group['kind'])}", f"{number} from {bodies}, the best graded first.", (), items
            )

    def answers(self) -> Section | None:
        """Every body that answered, with what it said of its answer."""
        items = [
            Item(
                title=f"{self._body(answer)}: {plain(answer['outcome'])}",
                text=answer["summary"] or "",
                notes=[*_holds(answer), *self._how(answer)],
                caution=self._caution(answer),
            )
            for answer in self._product["answers"]
        ]
        return Section("Answers", "Oldest first.", (), items) if items else None

    def declined(self) -> Section | None:
        """Every body that declined, and why."""
        items = [
            Item(f"{self._body(one)}: {plain(one['reason'])}", one["summary"] or "", list(self._how(one)))
            for one in self._product["declined"]
        ]
        return Section("Declined", "", (), items) if items else None

    def outstanding(self) -> Section:
        """Who has not answered."""
        product = self._product
        items = [
            Item(
                title=f"{self._body(one)}: {'overdue' if one['overdue'] else _STATES.get(one['state'], one['state'])}",
                text=f"It asks: {one['question']}" if one["question"] else "",
                notes=[f"Due {moment(one['due_at'])}", _seen(one)],
            )
            for one in product["outstanding"]
        ]
        items += [Item(f"{self._body(one)}: {plain(one['state'])}", "") for one in product["unanswered"]]
        return Section("Who has not answered", "" if items else "Every body asked has answered.", (), items)

    def outcome(self) -> Section | None:
        """What the originator has recorded since."""
        product = self._product
        if not product["outcomes"]:
            return None
        totals = product["outcome_totals"]
        pairs = [(label, str(totals[name])) for name, label in COUNTS.items() if totals[name] is not None]
        pairs += [("Assets frozen", f"£{totals['assets_frozen']}")] if totals["assets_frozen"] else []
        pairs += [("Seized", f"£{totals['seized']}")] if totals["seized"] else []
        disruptions = ", ".join(f"{kind} {number}" for kind, number in totals["disruptions"].items())
        pairs += [("Disruption", disruptions)] if disruptions else []
        useful = ", ".join(map(self.party, totals["useful_agencies"]))
        pairs += [("Answers that contributed", useful)] if useful else []
        standing = (one for one in product["outcomes"] if one["replaced_by"] is None)
        items = [Item(f"Action of {_day(one['acted_on'])}", one["summary"] or "", _seized(one)) for one in standing]
        return Section("Outcome", "Recorded by the originator; all actions together.", pairs, items)

    def key(self) -> Section:
        """The codes, for whoever has only the paper."""
        return Section(
            "Key",
            "Grading is source evaluation and intelligence assessment (3×5×2). Handling P: lawful sharing permitted;"
            " C: lawful sharing permitted with conditions.",
            [(f"Source {number}", words) for number, words in SOURCES.items()]
            + [(f"Assessment {code}", words) for code, words in ASSESSMENTS.items()]
            + [(f"Condition {code}", words) for code, words in CONDITIONS.items()],
        )

    def _fact(self, fact: _Row) -> Item:
        return Item(
            title=self._body(fact),
            text=fact["text"],
            notes=[*_holds(fact), *_basis(fact), f"Answered {moment(fact['answered_at'])}"],
            caution=self._caution(fact),
        )

    def _body(self, of: _Row) -> str:
        return self.party(of["agency"]) + (f", round {of['round']}" if of["round"] > 1 else "")

    def _consented(self, given: _Row) -> str:
        to = self.party(given["recipient"]) if given["recipient"] else given["recipient_outside"]
        under = f" Conditions: {given['conditions']}" if given["conditions"] else ""
        return f"{self._body(given)} has consented that its answer goes to {to}.{under}"

    def _caution(self, of: _Row) -> str:
        if of["onward_disclosure"] != OnwardDisclosure.CONSENT_REQUIRED:
            return ""
        return f"Not to go further without the consent of {self.party(of['agency'])}."

    def _how(self, of: _Row) -> Iterable[str]:
        yield from _basis(of)
        if not of["legal_basis"] and of["gateway"]:
            yield f"Legal basis not stated; proposed when it was asked: {_power(of['gateway'])}"
        if of["contact"]:
            yield f"Contact: {of['contact']}"
        yield f"Answered {moment(of['answered_at'])}"


def _basis(of: _Row) -> Iterable[str]:
    if of["legal_basis"]:
        yield f"Legal basis: {_power(of['legal_basis'])}"


def _power(slug: str) -> str:
    """A power or gateway by its Act; one that a later release names, by its slug."""
    return POWERS[LegalBasis(slug)] if slug in set(LegalBasis) else plain(slug)


def _holds(of: _Row) -> Iterable[str]:
    """Grading, handling and onward disclosure of something said, as far as they were given."""
    if of["grading"]:
        source, assessment = of["grading"]["source"], of["grading"]["assessment"]
        yield f"Grading {source}{assessment}: {SOURCES[source]}, {ASSESSMENTS[assessment]}"
    if of["handling"]:
        yield f"Handling {_handling(of['handling'])}"
    if of["grading"] or of["onward_disclosure"]:
        yield f"Onward disclosure: {_ONWARD[of['onward_disclosure']]}"


def _handling(handling: _Row) -> str:
    if handling["code"] == HandlingCode.P:
        return "P, lawful sharing permitted"
    conditions = ", ".join(f"{code} {CONDITIONS[code]}" for code in handling["conditions"])
    return f"C, lawful sharing permitted with conditions: {conditions}"


def _name(of: _Row) -> str:
    return ", ".join(part for part in (of.get("family_name"), of.get("given_names")) if part)


def _address(address: _Row) -> str:
    return ", ".join([*address.get("lines", ()), *([address["postcode"]] if address.get("postcode") else [])])


def _group(group: _Row | None) -> str:
    if group is None:
        return ""
    told = {"band": "band", "score": "score", "morile_score": "MoRiLE score"}
    return ", ".join(
        [group["reference"], *(f"{word} {group[name]}" for name, word in told.items() if group.get(name) is not None)]
    )


def _contact(contact: _Row | None) -> str:
    return ", ".join(value for value in (contact or {}).values() if value)


def _day(day: date | str) -> str:
    return f"{date.fromisoformat(str(day)):%-d %B %Y}"


def _headed(code: str) -> str:
    words = plain(code)
    return words[:1].upper() + words[1:]


def _seen(one: _Row) -> str:
    if one["acknowledged_at"]:
        return f"Acknowledged {moment(one['acknowledged_at'])}"
    return f"Seen {moment(one['delivered_at'])}" if one["delivered_at"] else "Not seen yet"


def _seized(outcome: _Row) -> list[str]:
    told = [f"Disruption: {outcome['disruption']}"] if outcome["disruption"] else []
    for seizure in outcome["seizures"]:
        amount = [f"{seizure['quantity']}"] if seizure["quantity"] is not None else []
        amount += [f"£{seizure['value']}"] if seizure["value"] is not None else []
        told.append(f"Seized: {seizure['kind']}, {', '.join(amount)}")
    return told
