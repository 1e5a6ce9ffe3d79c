"""What open pages show: how each kind of page is read for whoever follows it, and painted in parts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from app.access.policy import Role
from app.access.principal import behalf_of
from app.db import Behalf, Connection
from app.reporting.board import View, board
from app.status.concerns import Running
from app.status.parts import Painter

Parts = Mapping[str, str]
"""HTML elements by their ids."""

Paint = Callable[[Any, Running], Parts]


class Sight(Protocol):
    """What one open page shows. Equal sights are read and painted once, however many pages show them."""

    @property
    def behalf(self) -> Behalf:
        """On whose behalf it is read."""

    async def read(self, connection: Connection) -> Any:
        """All that it shows, as it is now."""

    def painter(self) -> Paint:
        """What makes its parts of what was read, for one look after another."""


@dataclass(frozen=True, slots=True)
class Home:
    """The first page."""

    view: View

    @property
    def behalf(self) -> Behalf:
        """Whoever opened it, its region, or the national co-ordinators."""
        if self.view.behalf is not None:
            return self.view.behalf
        region = self.view.region
        return behalf_of(Role.NATIONAL, ()) if region is None else behalf_of(Role.COORDINATOR, [region])

    async def read(self, connection: Connection) -> Any:
        """The board."""
        return await board(connection, self.view)

    def painter(self) -> Paint:
        """The painter of the board."""
        return Painter(self.view).paint
