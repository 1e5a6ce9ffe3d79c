"""Tokens that are given up, or revoked with their key: refused everywhere, and soon."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from app.access.keys import parse
from app.access.policy import Role
from app.db import Database
from app.settings import Settings
from tests.acts import actions, change, eventually, rows
from tests.app.bearers import bearing, forged, give_up, nobody, token
from tests.conftest import Cast, gateway

__all__ = ["nobody"]


@pytest.fixture
async def two(configuration: Settings, database: Database) -> AsyncIterator[tuple[Cast, Cast]]:
    """The same cast before two gateways."""
    async with gateway(configuration, database) as one, gateway(configuration, database) as other:
        yield one, other


async def _revoke(cast: Cast, key: str, made: str) -> None:
    parsed = parse(key)
    assert parsed is not None
    administrator = await cast.play("GAIN", Role.ADMINISTRATOR)
    assert (await administrator.post(f"/v1/keys/{parsed[0]}/revocation")).status_code == 200


@pytest.mark.parametrize("end", [give_up, _revoke], ids=["the token", "its key"])
async def test_what_is_revoked_is_refused_everywhere_within_two_seconds(
    two: tuple[Cast, Cast], database: Database, end: Callable[[Cast, str, str], Awaitable[None]]
) -> None:
    one, other = two
    key = await one.key("HMRC")
    made, kept = await token(one, key), await token(one, await one.key("HMRC"))
    clients = [bearing(cast, made) for cast in two]
    for client in clients:
        assert (await client.get("/v1/inbox")).status_code == 200
    current = await clients[1].get("/v1/inbox")
    held = asyncio.create_task(
        clients[1].get("/v1/inbox", headers={"Prefer": "wait=25", "If-None-Match": current.headers["etag"]}, timeout=30)
    )
    staying = bearing(other, kept)
    await asyncio.sleep(0)
    await end(one, key, made)
    at = time.monotonic()

    async def over() -> bool:
        return held.done() and all([(await client.get("/v1/inbox")).status_code == 401 for client in clients])

    await eventually(over, 2)
    assert time.monotonic() - at < 2
    assert (await held).status_code == 401
    assert (await staying.get("/v1/inbox")).status_code == 200


async def test_giving_a_token_up_twice_or_one_that_is_none_is_no_error(cast: Cast, database: Database) -> None:
    key = await cast.key("HMRC")
    made = await token(cast, key)
    for each in (made, made, "eyJ.not.one", forged({"sub": "x", "exp": 1})):
        await give_up(cast, key, each)
    assert [row["number"] for row in await rows(database, "SELECT count(*) AS number FROM revoked_token")] == [1]
    assert (await actions(database)).count("token.revoked") == 1


async def test_a_token_given_up_stays_so_where_a_gateways_clock_is_behind_the_databases(
    cast: Cast, configuration: Settings, database: Database
) -> None:
    key = await cast.key("HMRC")
    made = await token(cast, key)
    await give_up(cast, key, made)
    await change(database, "UPDATE revoked_token SET expires_at = now() - interval '59 minutes'")
    await give_up(cast, key, await token(cast, key))  # which clears away what is of no use any more
    async with gateway(configuration, database) as other:
        assert (await bearing(other, made).get("/v1/inbox")).status_code == 401
    await change(database, "UPDATE revoked_token SET expires_at = now() - interval '61 minutes'")
    await give_up(cast, key, await token(cast, key))
    assert [row["number"] for row in await rows(database, "SELECT count(*) AS number FROM revoked_token")] == [1]


async def test_a_token_is_given_up_by_its_own_key_alone(cast: Cast, nobody: httpx.AsyncClient) -> None:
    made = await token(cast, await cast.key("HMRC"))
    for stranger in (await cast.key("HMRC"), await cast.key("DVLA")):
        answer = await nobody.post("/v1/token/revoke", data={"token": made, "client_secret": stranger})
        assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
    assert (await nobody.post("/v1/token/revoke", data={"token": made})).status_code == 401
    missing = await nobody.post("/v1/token/revoke", data={"client_secret": await cast.key("DVLA")})
    assert missing.json()["error"] == "invalid_request"
    assert (await bearing(cast, made).get("/v1/inbox")).status_code == 200
