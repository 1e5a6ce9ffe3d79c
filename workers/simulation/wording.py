"""Answers in plain English: what a body says of what its search found, as the body of a response (contract.md)."""

from collections.abc import Iterator
from typing import Any

from workers.simulation.characters import Character
from workers.simulation.likeness import Match
from workers.simulation.matching import Finding

_MOST_FACTS = 20


def hit(character: Character, finding: Finding) -> dict[str, Any]:
    """A hit on a finding that has at least one match."""
    return {
        "outcome": "hit",
        "summary": _summary(finding),
        "facts": list(_facts(character, finding))[:_MOST_FACTS],
        "grading": {"source": character.source, "assessment": _assessment(character, finding)},
        "handling": _handling(character.conditions),
        "onward_disclosure": "consent_required" if character.consent else "permitted",
        **_signed(character),
    }


def no_hit(character: Character) -> dict[str, Any]:
    """Nothing in the register is enough like the subject."""
    return {"outcome": "no_hit", "summary": "No record matches the details given.", **_signed(character)}


def declined(character: Character, reason: str, summary: str) -> dict[str, Any]:
    """A refusal with a reason of the domain."""
    return {"outcome": "declined", "decline_reason": reason, "summary": summary, **_signed(character)}


def malformed(referral_id: str, variant: float) -> Any:
    """An automatic reply that is no answer at all; `variant` (0 to 1) chooses which."""
    if variant < 0.4:
        return {"outcome": "received", "reference": referral_id}
    if variant < 0.8:
        return {"outcome": "hit", "summary": "See attachment."}
    return ["This mailbox is not monitored."]


def _signed(character: Character) -> dict[str, Any]:
    contact = f"{character.name}, intelligence desk, gain@{character.code.lower()}.example.invalid"
    return {"legal_basis": character.legal_basis, "contact": contact}


def _handling(conditions: tuple[str, ...]) -> dict[str, Any]:
    return {"code": "C" if conditions else "P", "conditions": list(conditions)}


def _assessment(character: Character, finding: Finding) -> str:
    return "D" if finding.tie else character.assessment


def _summary(finding: Finding) -> str:
    best = finding.matches[0]
    score = f"score {best.score:.0f} of 100: {best.reason}"
    if finding.tie:
        return (
            f"Possible match: {finding.alike} records fit equally well and cannot be told apart ({score}). "
            "Check further details before acting."
        )
    others = len(finding.matches) - 1
    more = f" {others} linked record{'s' if others > 1 else ''} too." if others else ""
    return f"Match ({score}).{more}"


def _facts(character: Character, finding: Finding) -> Iterator[dict[str, Any]]:
    for number, match in enumerate(finding.matches, start=1):
        prefix = f"Possible match {number}: " if finding.tie and number <= finding.alike else ""
        yield _recorded(match, prefix)
        for kind, template, *arguments in match.record.details:
            text = prefix + (template.format(*arguments) if arguments else template)
            yield _graded({"kind": kind, "text": text}, character)


def _graded(fact: dict[str, Any], character: Character) -> dict[str, Any]:
    """What concerns another person is reported at second hand, and held closer than the rest."""
    if fact["kind"] != "association" or character.assessment == "A":
        return fact
    return {**fact, "grading": {"source": 2, "assessment": "C"}, "handling": _handling(("A1", "S2"))}


def _recorded(match: Match, prefix: str) -> dict[str, Any]:
    record = match.record
    born = f", born {record.birth.day} {record.birth:%B %Y}" if record.birth else ""
    place = f", of {record.address.line}, {record.address.town}, {record.address.postcode}" if record.address else ""
    if record.kind == "organisation":
        return {"kind": "company", "text": f"{prefix}Recorded as {record.family}{place}."}
    return {"kind": "person", "text": f"{prefix}Recorded as {record.given} {record.family}{born}{place}."}
