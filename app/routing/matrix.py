"""Who is asked, and why. Pure: facts of a referral, the matrix and the parties go in, choices come out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from app.parties.records import Directory, PartyRecord

NAMED = "named"
"""The rule of a dispatch whose addressee the originator named."""

ANY = "*"
"""A gateway's sender or recipient that fits every party."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A crime type leads to an agency; `reason` is a readable sentence without its full stop."""

    rule: str
    crime_type: str
    agency: str
    reason: str


@dataclass(frozen=True, slots=True)
class Gateway:
    """The legal basis proposed from a sender to a recipient, each a party's code, a party kind, or `*`."""

    sender: str
    recipient: str
    legal_basis: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """One release: rules in the order of their names, gateways in the order in which they are tried."""

    release: int
    rules: tuple[Rule, ...]
    gateways: tuple[Gateway, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the decision needs of a referral. No addressees (None or empty): the matrix chooses.

    `on` is the day on which it is decided, for who is away then.
    """

    originator: str
    crime_types: Sequence[str]
    addressees: Sequence[str] | None = None
    on: date | None = None


class Choice(NamedTuple):
    """One agency to be asked: by which rule of which release, why, on which gateway (None: no gateway is proposed).

    `needs_release` holds this dispatch, and no other, until a co-ordinator releases it.
    """

    agency: str
    rule: str
    release: int
    reason: str
    gateway: str | None
    needs_release: bool


def decide(facts: Facts, matrix: Matrix, parties: Directory) -> list[Choice]:
    """The agencies to be asked, each once, never the originator itself.

    Named addressees are all chosen, whatever their policy, in the order named. Otherwise an agency is chosen where a
    rule has one of the crime types, the agency's territory meets the originator's ground and its policy takes the crime
    type; in the order of the rules. Raises `UnknownParty`.
    """
    originator = parties[facts.originator]
    chosen = _named(facts.addressees) if facts.addressees else _by_crime_type(facts, matrix, parties)
    gateways = _gateways_from(originator, matrix.gateways)
    choices = []
    for agency, (rule, reason) in chosen.items():
        if agency == originator.code:
            continue
        recipient = parties[agency]
        gateway = _gateway_to(recipient, gateways)
        why = noted(reason, recipient, facts.on)
        choices.append(Choice(agency, rule, matrix.release, why, gateway, recipient.policy.needs_release))
    return choices


def noted(reason: str, recipient: PartyRecord, on: date | None) -> str:
    """The reason, and until when the recipient is away, where it has said so. It is asked all the same."""
    until = recipient.policy.away_until(on) if on is not None else None
    return reason if until is None else f"{reason}; out of office until {until:%-d %B %Y}"


def propose_gateway(sender: PartyRecord, recipient: PartyRecord, gateways: Iterable[Gateway]) -> str | None:
    """The gateway proposed in this direction, or None; an agency's answer is the direction agency to originator."""
    return _gateway_to(recipient, _gateways_from(sender, gateways))


def _named(addressees: Sequence[str]) -> dict[str, tuple[str, str]]:
    return dict.fromkeys(addressees, (NAMED, "named by the originator"))


def _by_crime_type(facts: Facts, matrix: Matrix, parties: Directory) -> dict[str, tuple[str, str]]:
    ground = parties.ground(facts.originator)
    wanted = frozenset(facts.crime_types)
    matching: dict[str, list[Rule]] = {}
    for rule in matrix.rules:
        if rule.crime_type in wanted and _takes(parties[rule.agency], rule.crime_type, ground):
            matching.setdefault(rule.agency, []).append(rule)
    return {agency: (rules[0].rule, _reason(rules)) for agency, rules in matching.items()}


def _takes(agency: PartyRecord, crime_type: str, ground: frozenset[str]) -> bool:
    accepted = agency.policy.crime_types
    return not agency.territory.isdisjoint(ground) and (accepted is None or crime_type in accepted)


def _reason(rules: Sequence[Rule]) -> str:
    """The first rule's sentence, and the other crime types that lead to the same agency."""
    first = rules[0]
    others = dict.fromkeys(rule.crime_type for rule in rules if rule.crime_type != first.crime_type)
    if not others:
        return first.reason
    return f"{first.reason}; also for {', '.join(crime_type.replace('_', ' ') for crime_type in others)}"


def _gateways_from(sender: PartyRecord, gateways: Iterable[Gateway]) -> list[Gateway]:
    return [gateway for gateway in gateways if gateway.sender in _names(sender)]


def _gateway_to(recipient: PartyRecord, gateways: Iterable[Gateway]) -> str | None:
    names = _names(recipient)
    for gateway in gateways:
        if gateway.recipient in names:
            return gateway.legal_basis
    return None


def _names(party: PartyRecord) -> tuple[str, str, str]:
    return party.code, party.kind, ANY
