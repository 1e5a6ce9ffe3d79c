"""The short way to the busiest routes: past FastAPI's routing, which costs more than what they do.

A route's own `before_body` and `shortcut` run as they would on the ordinary way. Where there is no shortcut for a
request it goes that way from its start, so that everything out of order is met there and told in one wording.
"""

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Problem
from app.web import problems
from app.web.routing import StrictRequest, StrictRoute

Lanes = Mapping[tuple[str, str], StrictRoute]
"""Routes by method and path, which has no parameters."""


class Express:
    """ASGI middleware, the innermost. It looks at `lanes` when asked, for routes are added after middleware."""

    def __init__(self, app: ASGIApp, lanes: Lanes) -> None:
        self.app = app
        self.lanes = lanes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        route = self.lanes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self.app(scope, receive, send)
            return
        request = StrictRequest(scope, receive)
        scope["route"] = route  # what logs and metrics name it by
        try:
            await route.before_body(request)
            response = await route.shortcut(request)
        except Problem as problem:
            response = problems.answer(problem, scope)
        except HTTPException as error:  # the body guard's: what it has read cannot be read again
            response = problems.of_http_exception(error, scope)
        if response is None:
            await self.app(scope, _again(request, receive), send)
            return
        await response(scope, receive, send)


def _again(request: StrictRequest, receive: Receive) -> Receive:
    """`receive` for whoever reads the request from its start."""
    if not hasattr(request, "_body"):
        return receive
    waiting = [request._body]

    async def again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return again
