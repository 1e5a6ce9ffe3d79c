"""What the pages of the web inbox share: their route, whose they are, and what is told where a deed is refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Request, Response
from sqlalchemy import Row
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse

from app.access.pages import PageRoute
from app.access.principal import Principal
from app.db import Connection
from app.errors import NOT_FOUND, Problem
from app.inbox.web_inbox.listing import standing
from app.referrals.presence import Presence
from app.web import pages
from app.web.routing import StrictRequest

HOME = "/my-inbox"

pages.add_templates(Path(__file__).parents[1] / "templates")


class InboxPage(PageRoute):
    """A page of the web inbox: whoever opens one has been heard of, as who polls the API has."""

    async def before_body(self, request: StrictRequest) -> None:
        """Recognise the caller, then note the party."""
        await super().before_body(request)
        presence: Presence = request.app.state.presence
        presence.note(request.state.principal.party)


def account_of(principal: Principal) -> UUID | None:
    """The account of whoever is signed in; a key's session has none."""
    return UUID(principal.credential) if principal.person is not None else None


def address_of(id: UUID) -> str:
    """The page of an item."""
    return f"{HOME}/{id}"


def go(address: str) -> Response:
    """On to another page, after a form was sent."""
    return RedirectResponse(address, 303)


def told(request: Request, status: int, heading: str, *paragraphs: str, back: str, back_words: str) -> Response:
    """A page that says in words what a deed has come to, where it was not done."""
    return pages.render(
        "inbox_told.html",
        request=request,
        status=status,
        heading=heading,
        paragraphs=paragraphs,
        back=back,
        back_words=back_words,
    )


async def found(connection: Connection, principal: Principal, id: UUID) -> Row[*tuple[Any, ...]]:
    """How an item of the caller's inbox stands. Raises `Problem` (404) where it is not in it."""
    rows: Sequence[Row[*tuple[Any, ...]]] = await standing(connection, principal.party, [id])
    if not rows:
        raise Problem(NOT_FOUND)
    return rows[0]


class Lenient(dict[str, Any]):
    """A document in a template: what was left out of it is empty."""

    def __missing__(self, name: str) -> str:
        return ""


def lenient(said: Any) -> Any:
    """A document, and all within it, as templates read it."""
    if isinstance(said, dict):
        return Lenient({name: lenient(value) for name, value in said.items()})
    return [lenient(value) for value in said] if isinstance(said, list) else said


async def _form(request: Request) -> FormData:
    return await request.form()


Sent = Annotated[FormData, Depends(_form)]
"""What the form holds that was sent, in an endpoint."""
