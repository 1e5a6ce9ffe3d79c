"""The route that every door's JSON goes through: credential, then the body, then its strict parse, then validation.

FastAPI alone parses the body before any dependency runs, so a bad body without a credential would get 422 and not 401.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from fastapi import Request, Response, params
from fastapi.routing import APIRoute
from starlette.datastructures import QueryParams

from app.errors import MEDIA_TYPE, NOT_JSON, Problem
from app.web import strict_json

_LOOK_SECONDS = 1.0
"""How often the sender of a body that is long in coming is looked at: an upload may take half an hour."""


class StrictRequest(Request):
    """A request whose `json()` takes strict JSON only: `Problem` with 400 for other text, 415 for other types.

    Who lets its sender in sets `look`, which raises once that is over. A page's form may leave a field empty, which
    its route sets `keeps_empty` to be told of; elsewhere `?state=` says nothing.
    """

    look: Callable[[Request], Awaitable[None]] | None = None
    keeps_empty = False

    @property
    def query_params(self) -> QueryParams:
        """The parameters of the query, those left empty as if they were not there."""
        if not self.keeps_empty and not hasattr(self, "_query_params"):
            given = super().query_params.multi_items()
            self._query_params = QueryParams([(name, value) for name, value in given if value])
        return super().query_params

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes, for as long as its sender may still send it: what comes in a second costs no look."""
        looked = time.monotonic()
        async with aclosing(super().stream()) as coming:
            async for chunk in coming:  # the last is empty, and comes when all of it is there
                if self.look is not None and time.monotonic() - looked >= _LOOK_SECONDS:
                    await self.look(self)
                    looked = time.monotonic()
                yield chunk

    async def json(self) -> Any:
        """The parsed body, the same object at each call."""
        if not hasattr(self, "_json"):
            body = await self.body()
            kind = self.headers.get("content-type")
            if kind is not None and not _is_json(kind):  # where nothing is said, the text itself must show it
                raise Problem(MEDIA_TYPE)
            try:
                self._json = strict_json.parse(body)
            except strict_json.NotJson as error:
                raise Problem(NOT_JSON, f"{error.reason} {NOT_JSON.advice}") from None
        return self._json


class StrictRoute(APIRoute):
    """A route that asks `before_body` first and reads the body strictly.

    Nothing at all is not JSON either (400), but where a body may be left out.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **told: Any) -> None:
        # FastAPI's handler is to leave to the request, too, what is JSON where no type is said.
        super().__init__(path, endpoint, **{**told, "strict_content_type": False})

    async def before_body(self, request: StrictRequest) -> None:
        """Runs before the body is read: authenticate and authorise here; raise `Problem` to refuse."""

    async def shortcut(self, request: StrictRequest) -> Response | None:
        """Runs next: an answer that needs neither the body nor validated parameters, or None to go on to those."""
        return None

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind the hook; it finds the body and its JSON already read."""
        handle = super().get_route_handler()
        takes_json = self.body_field is not None and not isinstance(self.body_field.field_info, params.Form)
        needs_body = self.body_field is not None and self.body_field.field_info.is_required()

        async def strict(request: Request) -> Response:
            request = StrictRequest(request.scope, request.receive)
            await self.before_body(request)
            answer = await self.shortcut(request)
            if answer is not None:
                return answer
            if takes_json:
                await _read_json(request, required=needs_body)
            return await handle(request)

        return strict


async def _read_json(request: StrictRequest, *, required: bool) -> None:
    """Have it parsed. Raises `Problem`: 400 also where there is nothing and something is required."""
    if await request.body():
        await request.json()
    elif required:
        raise Problem(NOT_JSON, f"The body is empty. {NOT_JSON.advice}")


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
