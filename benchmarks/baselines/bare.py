"""The bare endpoint: FastAPI and one INSERT by asyncpg, no validation, no key, no log; and one that does nothing."""

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from fastapi import FastAPI, Response
from uuid_utils.compat import uuid7

from benchmarks.stage import driver_url

TABLE = """
    CREATE TABLE IF NOT EXISTS bare (
        id uuid PRIMARY KEY, content bytea NOT NULL, created_at timestamptz NOT NULL DEFAULT now())
"""
_INSERT = "INSERT INTO bare (id, content) VALUES ($1, $2)"
_CONNECTIONS = 16


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.pool = await asyncpg.create_pool(
        driver_url(os.environ["GAIN_DATABASE_URL"]), min_size=_CONNECTIONS, max_size=_CONNECTIONS
    )
    async with app.state.pool.acquire() as connection:
        await connection.execute(TABLE)
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=_lifespan, openapi_url=None)


@app.post("/v1/referrals", status_code=201)
async def insert(body: dict[str, Any]) -> dict[str, UUID]:
    made = uuid7()
    await app.state.pool.execute(_INSERT, made, orjson.dumps(body))
    return {"id": made}


@app.get("/v1/inbox")
async def nothing() -> Response:
    return Response(b'{"items":[],"next":null}', media_type="application/json")
