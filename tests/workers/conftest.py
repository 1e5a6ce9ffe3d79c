"""What tests of workers share: channels to agencies, a force that has referred, and that everything holds after."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.db import Database
from app.settings import Settings
from tests import invariants
from tests.acts import submitted
from tests.conftest import Cast
from tests.workers.noticing import Opened
from workers.channels import Channels


@pytest.fixture
async def channels(configuration: Settings) -> AsyncIterator[Opened]:
    """Opens the channels of a worker with these settings."""
    opened: list[Channels] = []

    def open_with(**settings: Any) -> Channels:
        made = Settings(
            **{
                **configuration.model_dump(),
                "push_hosts": "127.0.0.1=127.0.0.0/8",
                "public_url": "https://gain.example",
                "email_from": "gain@gain.example",
                **settings,
            }
        )
        opened.append(Channels(made, seconds=0.0))
        return opened[-1]

    yield open_with
    for one in opened:
        await one.close()


@pytest.fixture
async def force(cast: Cast, database: Database) -> httpx.AsyncClient:
    """South Wales, which has referred to HMRC."""
    client = await cast.play("SWP")
    await submitted(client, addressees=["HMRC"])
    return client


@pytest.fixture
async def everything_holds(database: Database) -> Any:
    """After the test."""
    yield
    async with database.transaction() as connection:
        await invariants.check(connection)
