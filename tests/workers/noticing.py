"""Agencies that are told by push or by e-mail, and what came of it."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import text

from app.db import Database
from app.parties.channels import set_mailbox, set_push_endpoint
from app.parties.hosts import ApprovedHosts
from tests.workers.outside import ADMINISTRATOR
from workers.channels import Channels

HOSTS = ApprovedHosts.parse("127.0.0.1=127.0.0.0/8", development=True)
DESK = "desk@council.example"
DISPATCHES = "SELECT *, due_delivery_at - now() AS wait FROM dispatch"
Opened = Callable[..., Channels]


async def rows(database: Database, statement: str, **parameters: Any) -> list[Any]:
    """What a query finds."""
    async with database.transaction() as connection:
        return list((await connection.execute(text(statement), parameters)).all())


async def change(database: Database, statement: str, **parameters: Any) -> None:
    """Change something behind the broker's back."""
    async with database.transaction() as connection:
        await connection.execute(text(statement), parameters)


async def pushed_to(database: Database, url: str, agency: str = "HMRC") -> None:
    """Have an agency pushed to."""
    await change(database, "UPDATE party SET channel = 'push' WHERE code = :agency", agency=agency)
    async with database.transaction() as connection:
        await set_push_endpoint(connection, ADMINISTRATOR, HOSTS, agency, url)


async def written_to(database: Database, agency: str = "HMRC") -> None:
    """Have an agency written to."""
    await change(database, "UPDATE party SET channel = 'email' WHERE code = :agency", agency=agency)
    async with database.transaction() as connection:
        await set_mailbox(connection, ADMINISTRATOR, agency, DESK)


async def make_due(database: Database) -> None:
    """Let the waits between tries be over."""
    await change(database, "UPDATE dispatch SET due_delivery_at = now() WHERE due_delivery_at IS NOT NULL")
