"""One poll of an inbox: answered from memory where nothing can have changed, else by a page; held where asked to.

A 304 and an empty answer disclose nothing and consult nothing, so they leave no trace in the log, and take no
connection where memory gives them.
"""

import asyncio
from typing import Any

from fastapi import Request, Response

from app.access.principal import Principal
from app.access.routes import still_admitted
from app.db import Database
from app.inbox import items
from app.inbox.items import Window
from app.inbox.route import InboxRoute
from app.inbox.versions import Versions
from app.inbox.waits import Waits
from app.referrals.states import DispatchState
from app.web import cursor as cursors
from app.web.etag import names, none_match, weak_tag
from app.web.json import json_response
from app.web.prefer import wait_seconds
from app.web.routing import StrictRequest

LONGEST_WAIT_SECONDS = 30

_MOVED_BY_READING = frozenset({DispatchState.QUEUED, DispatchState.DELIVERED})
"""Lists that reading an inbox itself changes, of which no version tells: they have no entity tag."""

_NOTHING: dict[str, Any] = {"items": [], "next": None}


class PollRoute(InboxRoute):
    """A route that answers from memory what memory can answer, before parameters cost their validation."""

    async def shortcut(self, request: StrictRequest) -> Response | None:
        """304 for the tag of an earlier answer to the very same query; an empty inbox, asked for as a whole."""
        headers = request.headers
        if "prefer" in headers:
            return None
        versions: Versions = request.app.state.versions
        party = request.state.principal.party
        tag = _tag(request, party, versions.of(party))
        if names(headers.getlist("if-none-match"), tag):
            return Response(status_code=304, headers={"ETag": tag})
        if not request.scope["query_string"] and versions.is_empty(party) and "if-none-match" not in headers:
            return json_response(_NOTHING, headers={"ETag": tag})
        return None


class Poll:
    """A poll of the caller's own inbox."""

    def __init__(self, request: Request, principal: Principal, window: Window) -> None:
        self._request = request
        self._principal = principal
        self._window = window
        self._wait = wait_seconds(request.headers.getlist("prefer"), LONGEST_WAIT_SECONDS)
        self._database: Database = request.app.state.database
        self._versions: Versions = request.app.state.versions
        self._waits: Waits = request.app.state.waits

    async def answer(self) -> Response:
        """The page; 304 where the client has it.

        With `Prefer: wait`, what would be empty waits for an item, and what would be 304 for any change.
        """
        until = asyncio.get_running_loop().time() + self._wait
        version = self._versions.of(self._principal.party)
        known = self._is_known(version)
        page = None if known else await self._page(version)
        while page is None or not page["items"]:
            left = until - asyncio.get_running_loop().time()
            if not await self._waits.change(self._principal, version, left, self._request.receive):
                break
            async with self._waits.turn:
                await still_admitted(self._request)
                version = self._versions.of(self._principal.party)
                page = await self._page(version)
            if known:
                break
        return self._answer(page, version)

    async def _page(self, version: int) -> dict[str, Any]:
        party, whole = self._principal.party, self._window.state is None and self._window.after is None
        if whole and self._versions.is_empty(party):
            return _NOTHING
        async with self._database.transaction(self._principal.behalf) as connection:
            shown, following = await items.page(connection, self._principal.actor, self._window)
        if whole and not shown:
            self._versions.found_empty(party, version)
        filters = (party, self._window.state)
        return {"items": shown, "next": None if following is None else cursors.encode(filters, following)}

    def _is_known(self, version: int) -> bool:
        if self._window.state in _MOVED_BY_READING:
            return False
        lines = self._request.headers.getlist("if-none-match")
        return none_match(lines, _tag(self._request, self._principal.party, version))

    def _answer(self, page: dict[str, Any] | None, version: int) -> Response:
        headers = {}
        if self._window.state not in _MOVED_BY_READING:
            headers["ETag"] = _tag(self._request, self._principal.party, version)
        if self._wait:
            headers["Preference-Applied"] = f"wait={self._wait}"
        return Response(status_code=304, headers=headers) if page is None else json_response(page, headers=headers)


def _tag(request: Request, party: str, version: int) -> str:
    """The tag covers the whole query as it was sent: limit, cursor and filters, spelt otherwise, are another."""
    versions: Versions = request.app.state.versions
    return weak_tag(f"{versions.epoch}.{version}", party, request.scope["query_string"])
