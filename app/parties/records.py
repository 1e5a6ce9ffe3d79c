"""The parties as one immutable snapshot in memory, with the ground each of them covers. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.parties.codes import RECEIVING_KINDS, Channel, PartyKind
from app.parties.policy import Policy

GREAT_BRITAIN = "GB"
NATIONS = frozenset({"ENG", "WAL"})
"""The nations in which the forces of the reference data work."""


class UnknownParty(LookupError):
    """No party has this code."""


@dataclass(frozen=True, slots=True)
class PartyRecord:
    """One party as it is now; the fields are those of `app.parties.models.Party`."""

    code: str
    name: str
    kind: PartyKind
    region: str | None
    nation: str | None
    territory: frozenset[str]
    channel: Channel
    policy: Policy
    bears_on: str | None = None
    can_refer: bool = False

    @property
    def receives(self) -> bool:
        """Whether it may be an addressee."""
        return self.kind in RECEIVING_KINDS


class Directory:
    """Every party by its code, ordered by code."""

    def __init__(self, parties: Iterable[PartyRecord]) -> None:
        ordered = sorted(parties, key=lambda party: party.code)
        self._parties = {party.code: party for party in ordered}
        self.receiving = frozenset(party.code for party in ordered if party.receives)
        """The codes of every party that may be an addressee."""
        self._ground = {party.code: self._ground_of(party) for party in ordered}

    def get(self, code: str) -> PartyRecord | None:
        """The party with this code, or None."""
        return self._parties.get(code)

    def __getitem__(self, code: str) -> PartyRecord:
        """The party with this code. Raises `UnknownParty`."""
        try:
            return self._parties[code]
        except KeyError:
            raise UnknownParty(f"No party has the code {code!r}.") from None

    def __contains__(self, code: object) -> bool:
        return code in self._parties

    def __iter__(self) -> Iterator[PartyRecord]:
        return iter(self._parties.values())

    def __len__(self) -> int:
        return len(self._parties)

    def regions(self) -> tuple[PartyRecord, ...]:
        """The regions, which are also the ROCUs."""
        return self._of(PartyKind.REGION)

    def forces(self) -> tuple[PartyRecord, ...]:
        """The police forces."""
        return self._of(PartyKind.FORCE)

    def agencies(self) -> tuple[PartyRecord, ...]:
        """Every party that may be an addressee: agencies, local authorities, fire services and private bodies."""
        return tuple(party for party in self if party.receives)

    def ground(self, originator: str) -> frozenset[str]:
        """The territory codes that a referral of this originator touches. Raises `UnknownParty`.

        South Wales: GB, WAL, TARIAN, SWP. A region adds its forces and their nations. A party of no one nation (BTP,
        a national agency) touches both nations, but no local body's ground: such a body it names.
        """
        return self._ground[self[originator].code]

    def _of(self, kind: PartyKind) -> tuple[PartyRecord, ...]:
        return tuple(party for party in self if party.kind is kind)

    def _ground_of(self, party: PartyRecord) -> frozenset[str]:
        if party.kind is PartyKind.REGION:
            return self._ground_of_region(party.code)
        places = {GREAT_BRITAIN, *party.territory}
        nations = {party.nation} if party.nation else (NATIONS & party.territory or NATIONS)
        own = {party.code} if party.kind is PartyKind.FORCE else set()
        return frozenset(places | nations | own | ({party.region} if party.region else set()))

    def _ground_of_region(self, region: str) -> frozenset[str]:
        forces = [force for force in self.forces() if force.region == region]
        nations = {force.nation for force in forces if force.nation}
        return frozenset({GREAT_BRITAIN, region} | nations | {force.code for force in forces})
