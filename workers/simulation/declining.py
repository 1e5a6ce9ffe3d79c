"""What a body declines, and why (domain.md, section 4, decline_reason). Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from workers.simulation.characters import Character
from workers.simulation.holdings import HOLDINGS
from workers.simulation.subject import Subject
from workers.simulation.timing import chance


class Decline(NamedTuple):
    """A reason of the domain, and a sentence for the originator."""

    reason: str
    summary: str


def declines(
    character: Character, subject: Subject, referral: Mapping[str, Any], seed: int, dispatch_id: str
) -> Decline | None:
    """Why a body declines a referral, or None where it searches."""
    crimes = _crimes(referral)
    if character.remit and not crimes & character.remit:
        return Decline("outside_remit", "None of the crime types is within this body's remit.")
    if character.gateway and not crimes & character.gateway:
        return Decline("no_lawful_gateway", "The law lets this body disclose for other crime types only.")
    if character.groups_only and not isinstance(referral.get("ocg"), Mapping):
        return Decline("policy", "By policy this body answers about members of mapped groups only.")
    if _too_little(character, subject):
        return Decline("insufficient_detail", "A search needs the date of birth, or a number that this body issues.")
    if chance(seed, dispatch_id, "own operation") < character.own_operation:
        return Decline("conflict_with_own_operation", "Please ring the desk before any action is taken.")
    if chance(seed, dispatch_id, "capacity") < character.busy:
        return Decline("capacity", "The desk cannot take this up within the time asked.")
    return None


def _crimes(referral: Mapping[str, Any]) -> set[str]:
    given = referral.get("crime_types")
    return {crime for crime in given if isinstance(crime, str)} if isinstance(given, list) else set()


def _too_little(character: Character, subject: Subject) -> bool:
    if not character.wants_birth or subject.kind != "person" or subject.birth is not None:
        return False
    return not any(subject.has(type_) for type_ in HOLDINGS[character.code].identifiers)
