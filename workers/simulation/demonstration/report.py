"""The consolidated product as text for a terminal: the main subject in full, an associate in one row."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from workers.simulation.demonstration.standing import moment

_Document = Mapping[str, Any]


def full(product: _Document) -> RenderableType:
    """Everything in one product."""
    totals = product["totals"]
    return Panel(
        Group(
            _head(product),
            Text(),
            _counts(totals),
            *_consent(product),
            *_findings(product["findings"]),
            *_section("Hits", list(_hits(product["answers"]))),
            *_section("No hits", list(_no_hits(product["answers"]))),
            *_section("Declined", [_declined(one) for one in product["declined"]]),
            *_section("Without an answer", [_named(one) for one in product["unanswered"]]),
            *_section("Outstanding", [_outstanding(one) for one in product["outstanding"]] or [Text("  nobody")]),
        ),
        title=Text(product["marking"], style="bold"),
        subtitle=Text(product["marking"], style="bold"),
        padding=(1, 2),
    )


def short(products: Sequence[_Document]) -> RenderableType:
    """Each product in a few lines."""
    return Group(*(line for product in products for line in _in_short(product)))


def _in_short(product: _Document) -> Iterator[RenderableType]:
    totals = product["totals"]
    yield Text.assemble(
        (_name(product["subject"]), "bold"),
        f" · {product['reference']} · ",
        (f"{totals['hits']} hit", "green"),
        f", {totals['no_hits']} no hit, {totals['declined']} declined",
    )
    found = Text(
        f"{totals['facts']} facts: "
        + ", ".join(f"{_words(group['kind'])} {len(group['facts'])}" for group in product["findings"])
    )
    if product["consent_required_from"]:
        found.append(f" · ⚑ {', '.join(product['consent_required_from'])}", style="bold magenta")
    yield Padding(found, (0, 0, 0, 2))


def _head(product: _Document) -> RenderableType:
    why, subject = product["why"], product["subject"]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    grid.add_row("Product", f"{product['reference']}, handling {_handling(product['handling'])}")
    grid.add_row("Subject", Text(_name(subject), style="bold"))
    for label, lines in _details(subject):
        grid.add_row(label, "\n".join(lines))
    if group := product["ocg"]:
        grid.add_row("Group", f"{group['reference']}, band {group.get('band', '–')}, score {group.get('score', '–')}")
    grid.add_row("Asked by", f"{product['originator']}, {_time(product['created_at'])}, {product['priority']}")
    grid.add_row("On", f"{_words(why['criterion'])}; {', '.join(map(_words, why['crime_types']))}")
    grid.add_row("Why", why["purpose"])
    if sought := why["information_sought"]:
        grid.add_row("Sought", sought)
    grid.add_row("Power", _words(why["legal_basis"]))
    if warnings := product["warnings"]:
        grid.add_row("Warnings", Text(", ".join(map(_words, warnings)), style="bold red"))
    return grid


def _details(subject: _Document) -> Iterator[tuple[str, list[str]]]:
    if born := subject.get("date_of_birth"):
        yield "Born", [born]
    if aliases := subject.get("aliases"):
        yield "Also", [_name(alias) for alias in aliases]
    if addresses := subject.get("addresses"):
        yield "Lives at", [", ".join([*one.get("lines", []), one.get("postcode") or ""]) for one in addresses]
    if identifiers := subject.get("identifiers"):
        yield "Known by", [f"{_words(one['type'])} {one['value']}" for one in identifiers]


def _counts(totals: _Document) -> Text:
    reasons = ", ".join(f"{_words(reason)} {number}" for reason, number in totals["decline_reasons"].items())
    told = Text.assemble(
        (f"{totals['asked']} asked", "bold"),
        f" · {totals['answered']} answered: ",
        (f"{totals['hits']} hit", "bold green"),
        f", {totals['no_hits']} no hit · ",
        (f"{totals['declined']} declined", "yellow"),
        f" ({reasons})" if reasons else "",
    )
    for state in ("undeliverable", "expired", "cancelled"):
        if totals[state]:
            told.append(f" · {totals[state]} {state}", style="bold red")
    return told.append(f" · {totals['outstanding']} outstanding · {totals['facts']} facts")


def _consent(product: _Document) -> list[RenderableType]:
    if not product["consent_required_from"]:
        return []
    bodies = ", ".join(product["consent_required_from"])
    return [Text(f"⚑ Ask before passing on what comes from: {bodies}", style="bold magenta")]


def _findings(findings: Iterable[_Document]) -> Iterator[RenderableType]:
    for group in findings:
        yield from _section(_words(group["kind"]).capitalize(), list(_facts(group["facts"])))


def _facts(facts: Sequence[_Document]) -> Iterator[RenderableType]:
    """Each text once, with all who say it and the grading and handling of each."""
    first = {fact["text"]: number for number, fact in reversed(list(enumerate(facts)))}
    ordered = sorted(facts, key=lambda fact: first[fact["text"]])
    for text, same in groupby(ordered, key=lambda fact: str(fact["text"])):
        yield Padding(Group(Text(text), Text(" · ").join(map(_source, same))), (0, 0, 0, 2))


def _source(fact: _Document) -> Text:
    told = Text(f"{fact['agency']} {_graded(fact)}", style="dim")
    if fact["onward_disclosure"] == "consent_required":
        told.append(" ⚑", style="bold magenta")
    return told


def _graded(given: _Document) -> str:
    """The 3x5x2 of an item: source, assessment, handling."""
    grading = given["grading"]
    return f"{grading['source']}{grading['assessment']} {_handling(given['handling'])}" if grading else ""


def _handling(handling: _Document) -> str:
    conditions = handling["conditions"]
    return f"{handling['code']} ({', '.join(conditions)})" if conditions else str(handling["code"])


def _hits(answers: Iterable[_Document]) -> Iterator[RenderableType]:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for one in answers:
        if one["outcome"] == "hit":
            gateway = Text(_words(one["legal_basis"] or "gateway not stated"), style="dim")
            grid.add_row(f"  {one['agency']}", _clock(one), Group(Text(one["summary"] or ""), gateway))
    if grid.row_count:
        yield grid


def _no_hits(answers: Iterable[_Document]) -> Iterator[RenderableType]:
    """What was said, once, with all who said it."""
    said: dict[str, list[str]] = {}
    for one in answers:
        if one["outcome"] == "no_hit":
            said.setdefault(one["summary"] or "No hit.", []).append(f"{one['agency']} {_clock(one)}")
    for summary, bodies in said.items():
        yield Padding(Group(Text(summary), Text(" · ".join(bodies), style="dim")), (0, 0, 0, 2))


def _clock(answer: _Document) -> str:
    return moment(answer["answered_at"]).strftime("%H:%M:%S")


def _declined(one: _Document) -> RenderableType:
    return Text(f"  {one['agency']}: {_words(one['reason'])}. {one['summary'] or ''}")


def _outstanding(one: _Document) -> RenderableType:
    late = " (overdue)" if one["overdue"] else ""
    return Text(f"  {one['agency']}: {one['state']}, due {_time(one['due_at'])}{late}. {one['question'] or ''}")


def _named(one: _Document) -> RenderableType:
    return Text(f"  {one['agency']}: {one['state']}")


def _section(title: str, lines: Sequence[RenderableType]) -> list[RenderableType]:
    return [Text(), Text(title, style="bold underline"), *lines] if lines else []


def _name(subject: _Document) -> str:
    names = [subject.get("family_name"), subject.get("given_names")]
    return ", ".join(filter(None, names)) or subject.get("name") or "unnamed"


def _words(slug: str) -> str:
    return slug.replace("_", " ")


def _time(text: str) -> str:
    at: datetime = moment(text)
    return f"{at:%d %B %Y %H:%M} UTC"
