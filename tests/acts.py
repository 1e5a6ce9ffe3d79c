"""What parties do, and what the tests look at afterwards: short names for the steps that most slices begin with."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text

from app.crypto.vault import Opener
from app.db import Connection, Database
from tests.conftest import Cast, Workers, referral

Document = dict[str, Any]

NO_HIT: Document = {"outcome": "no_hit"}
REASON: Document = {"reason": "no longer needed"}
QUESTION: Document = {"outcome": "more_information", "summary": "Which of the two addresses?"}


async def submitted(client: httpx.AsyncClient, headers: Mapping[str, str] | None = None, **changes: Any) -> Document:
    """A referral just accepted."""
    answer = await client.post("/v1/referrals", json=referral(**changes), headers=headers)
    assert answer.status_code == 201, answer.text
    found: Document = answer.json()
    return found


async def dispatched(
    cast: Cast, workers: Workers, *agencies: str, count: int = 1, **changes: Any
) -> tuple[httpx.AsyncClient, list[Document]]:
    """South Wales and `count` referrals of its that these agencies have in their inboxes."""
    force = await cast.play("SWP")
    made = [await submitted(force, addressees=list(agencies), **changes) for _ in range(count)]
    await workers.run()
    return force, made


async def inbox(client: httpx.AsyncClient, **query: Any) -> list[Document]:
    """One page of an inbox."""
    answer = await client.get("/v1/inbox", params=query)
    assert answer.status_code == 200, answer.text
    items: list[Document] = answer.json()["items"]
    return items


async def received(
    cast: Cast, workers: Workers, agency: str = "HMRC"
) -> tuple[httpx.AsyncClient, httpx.AsyncClient, str]:
    """A force, an agency, and the id of the one item that the agency has read."""
    force, _ = await dispatched(cast, workers, agency)
    client = await cast.play(agency)
    [item] = await inbox(client)
    return force, client, item["id"]


async def referral_of(force: httpx.AsyncClient, item: str, database: Database) -> Document:
    """The referral of a dispatch, as its originator sees it."""
    [row] = await rows(database, "SELECT referral_id FROM dispatch WHERE id = :id", id=UUID(item))
    answer = await force.get(f"/v1/referrals/{row['referral_id']}")
    found: Document = answer.json()
    return found


async def rows(database: Database, statement: str, **parameters: Any) -> list[Document]:
    """What a query of the test's own finds."""
    async with database.transaction() as connection:
        return [dict(row._mapping) for row in await connection.execute(text(statement), parameters)]


async def opened(database: Database) -> dict[UUID, Document]:
    """The contents of all referrals by id."""
    statement = text(
        "SELECT id, content, sealed, ring_key, wrapped FROM referral LEFT JOIN data_key ON referral_id = id"
    )
    async with database.transaction() as connection:
        opener = Opener(connection)
        return {row.id: json.loads(opener.referral(row.id, row)) for row in await connection.execute(statement)}


async def change(database: Database, statement: str, **parameters: Any) -> None:
    """What only a test does to the database."""
    async with database.transaction() as connection:
        await connection.execute(text(statement), parameters)


async def actions(database: Database, operation: str | None = None) -> list[str]:
    """The log's entries, in order."""
    found = await rows(
        database,
        "SELECT action FROM audit_event WHERE operation = coalesce(:operation, operation) ORDER BY id",
        operation=operation,
    )
    return [row["action"] for row in found]


async def table_counts(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """How many rows each table has."""
    union = " UNION ALL ".join(f"SELECT '{name}' AS name, count(*) AS number FROM {name}" for name in names)  # noqa: S608
    return {row.name: row.number for row in await connection.execute(text(union))}


async def eventually(condition: Callable[[], Awaitable[object]], seconds: float = 10) -> None:
    """Return when the condition holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.02)


def slug(answer: httpx.Response) -> str:
    """The problem type of a refusal, which must be a whole problem document."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document = answer.json()
    assert {"type", "title", "status", "detail", "request_id"} <= document.keys()
    assert document["status"] == answer.status_code
    kind: str = document["type"]
    assert kind.startswith("/problems/")
    return kind.removeprefix("/problems/")
