"""A gateway that is polled, and what holds a poll of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.audit.record import Actor
from app.db import Database
from app.main import create_app
from app.referrals.fan_out import FanOut
from app.settings import Settings
from app.wake import Nobody
from tests.acts import eventually
from tests.conftest import Cast, referral

WORKER = Actor("GAIN", "worker")
HOLD = {"Prefer": "wait=20"}
SOON = 5.0
"""Seconds within which a held request must end; far below the wait it asked for."""


class House:
    """A gateway in this process, and who calls it."""

    def __init__(self, app: FastAPI, database: Database) -> None:
        self.app = app
        self.database = database
        self.cast = Cast(database, httpx.ASGITransport(app, raise_app_exceptions=False))

    @property
    def held(self) -> int:
        held: int = self.app.state.waits.held
        return held

    async def submit(self, *addressees: str, **changes: Any) -> str:
        """Submit a referral and have it fanned out; its id."""
        force = await self.cast.play("SWP")
        accepted = await force.post("/v1/referrals", json=referral(addressees=list(addressees), **changes))
        assert accepted.status_code == 201, accepted.text
        await fan_out(self.database)
        return str(accepted.json()["id"])

    async def holding(self, agency: httpx.AsyncClient, **headers: str) -> asyncio.Task[httpx.Response]:
        """A poll of this agency that is held by now."""
        before = self.held
        poll = asyncio.create_task(agency.get("/v1/inbox", headers=HOLD | headers))
        await until(lambda: self.held > before)
        return poll


async def fan_out(database: Database) -> None:
    """What a worker does with accepted referrals; the agencies here are reached by their inboxes alone."""
    await FanOut().run(database, WORKER, [])


async def until(condition: Callable[[], bool], seconds: float = SOON) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def settled(agency: httpx.AsyncClient, path: str = "/v1/inbox") -> str:
    """The tag of a list that has come to rest: the first changes of a start are behind it."""
    tags: list[str] = []

    async def at_rest() -> bool:
        tags.append((await agency.get(path)).headers["ETag"])
        return len(tags) > 1 and tags[-1] == tags[-2]

    await eventually(at_rest, SOON)
    return tags[-1]


async def soon(poll: Awaitable[httpx.Response]) -> httpx.Response:
    """The answer of a held poll, which must come long before its time is up."""
    async with asyncio.timeout(SOON):
        return await poll


@contextlib.asynccontextmanager
async def running(configuration: Settings, database: Database) -> AsyncIterator[House]:
    """A gateway that listens."""
    app = create_app(configuration, Nobody())
    async with app.router.lifespan_context(app):
        house = House(app, database)
        await until(lambda: app.state.versions.of("HMRC") > 0)
        yield house
        await house.cast.close()


@pytest.fixture
async def house(configuration: Settings, database: Database) -> AsyncIterator[House]:
    """A gateway whose pool has two connections."""
    async with running(configuration.model_copy(update={"database_pool": 2}), database) as opened:
        yield opened
