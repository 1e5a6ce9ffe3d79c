"""The transaction of a request: committed before the response is sent."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request

from app.db import AS_GATEWAY, Connection, Database


def database(request: Request) -> Database:
    """The database of this gateway."""
    found: Database = request.app.state.database
    return found


async def _database(request: Request) -> Database:
    # A coroutine function: any other FastAPI calls in a thread.
    return database(request)


async def transaction(request: Request) -> AsyncIterator[Connection]:
    """One transaction, committed when the endpoint returns, rolled back when it raises.

    It acts for the principal that was let in; on a public route for the gateway itself, which reads no referral.
    """
    async with database(request).transaction(getattr(request.state, "behalf", AS_GATEWAY)) as connection:
        yield connection


# FastAPI leaves a `yield` dependency after the response is sent unless its scope is the function: a 201 would then
# precede its commit.
Transaction = Annotated[Connection, Depends(transaction, scope="function")]
DatabaseOf = Annotated[Database, Depends(_database)]
