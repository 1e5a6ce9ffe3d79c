"""Changing one's own inbox: this process knows of the change at once, and the next poll shows it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, Request

from app.access.principal import Principal
from app.access.routes import CurrentPrincipal
from app.db import Connection, Database
from app.inbox.versions import Versions
from app.referrals.lifecycle.notify import CHANGED_IN


class _Own:
    """The inbox of the caller's party."""

    def __init__(self, principal: Principal, database: Database, versions: Versions) -> None:
        self._principal = principal
        self._database = database
        self._versions = versions

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction, committed on leaving without an error."""
        async with self._database.transaction(self._principal.behalf) as connection:
            connection.info.pop(CHANGED_IN, None)
            yield connection
            number = connection.info.pop(CHANGED_IN, None)
        if number is not None:
            self._versions.changed(number, [self._principal.party])


async def _own(request: Request, principal: CurrentPrincipal) -> _Own:
    return _Own(principal, request.app.state.database, request.app.state.versions)


OwnInbox = Annotated[_Own, Depends(_own)]
"""The caller's own inbox, in an endpoint of this door."""
