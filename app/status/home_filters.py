"""What the first page is narrowed to: read from its address, and written into every address that keeps it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, Query, Request

from app.access.policy import Action
from app.access.principal import Principal
from app.access.routes import CurrentPrincipal
from app.db import Connection
from app.errors import NOT_FOUND, Problem
from app.parties.codes import Priority
from app.parties.directory import Directory
from app.reporting.needs import Group, Scope
from app.reporting.queues import region_of
from app.web.database import Transaction

Choices = Sequence[tuple[str, str]]

GROUP_NAMES: Mapping[Group, str] = {
    Group.CRITICAL: "Critically overdue",
    Group.OVERDUE: "Overdue",
    Group.SOON: "Due soon",
    Group.DECISION: "Needs a decision",
}


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters given, empty where none; `choices` are what each can be set to."""

    region: str
    agency: str
    priority: str
    group: str
    own: str
    regions: tuple[str, ...] | None
    choices: Mapping[str, Choices]

    @property
    def scope(self) -> Scope:
        """What of the cases is looked at."""
        return Scope(
            regions=(self.region,) if self.region else self.regions,
            group=Group(self.group) if self.group else None,
            agency=self.agency or None,
            priority=Priority(self.priority) if self.priority else None,
        )

    @property
    def board_region(self) -> str | None:
        """Whose queues and referrals are shown: those of the region chosen, or else of the caller's own."""
        return self.region or (None if self.regions is None else self.own)

    def address(self, path: str, **changes: str | None) -> str:
        """This path with the filters as they are, and with changes."""
        kept = {"region": self.region, "agency": self.agency, "priority": self.priority, "group": self.group}
        given = {name: value for name, value in {**kept, **changes}.items() if value}
        return f"{path}?{urlencode(given)}" if given else path


async def _filters(
    request: Request,
    principal: CurrentPrincipal,
    connection: Transaction,
    region: Annotated[str, Query(max_length=32)] = "",
    agency: Annotated[str, Query(max_length=32)] = "",
    priority: Annotated[str, Query(max_length=32)] = "",
    group: Annotated[str, Query(max_length=32)] = "",
) -> Filters:
    """The filters of this request. Raises `Problem` (404) for a value that is none, or a region that is another's."""
    choices = await _choices(request, connection, principal)
    given = {"region": region, "agency": agency, "priority": priority, "group": group}
    for name, value in given.items():
        if value and value not in {code for code, _ in choices[name]}:
            raise Problem(NOT_FOUND)
    everything = region_of(principal, Action.SEE_STATUS_PAGE) is None
    return Filters(own=principal.party, regions=None if everything else principal.parties, choices=choices, **given)


async def _choices(request: Request, connection: Connection, principal: Principal) -> dict[str, Choices]:
    directory: Directory = await request.app.state.directory.get(connection)
    oversees_all = region_of(principal, Action.SEE_STATUS_PAGE) is None
    codes = [party.code for party in directory.regions()] if oversees_all else list(principal.parties)
    return {
        "region": [("", "All" if len(codes) > 1 else codes[0]), *((code, directory[code].name) for code in codes)],
        "agency": [("", "All"), *((party.code, f"{party.code}: {party.name}") for party in directory.agencies())],
        "priority": [("", "All"), *((one.value, one.value.capitalize()) for one in Priority)],
        "group": [("", "All"), *((one.value, name) for one, name in GROUP_NAMES.items())],
    }


HomeFilters = Annotated[Filters, Depends(_filters)]
