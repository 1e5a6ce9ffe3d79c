"""A gateway as a process of its own, with its log in a file: what only a real server and a real log can show.

And a small application for what all doors share.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.access import keys as api_keys
from app.access.policy import Role
from app.crypto.keys import Keys
from app.db import Database
from app.settings import Settings
from tests.app.things import make_app
from tests.conftest import _TEMPLATE, RING, SECRET, Cast, _administer, _database, gateway

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Served:
    """A gateway process: where it is, its database, and what it has logged so far."""

    url: str
    database_url: str
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        """Every complete line of the log."""
        return [
            json.loads(line)
            for line in self.log.read_text(encoding="utf-8").splitlines(keepends=True)
            if line.endswith("\n")
        ]

    def database(self) -> Database:
        """The gateway's database, opened for the caller's event loop."""
        return Database(
            Settings(
                database_url=self.database_url,
                secret=SecretStr(SECRET),
                key_ring=SecretStr(RING),
                database_pool=2,
            )
        )

    def key(self, party: str, role: Role | None = None) -> str:
        """A new key of a party."""

        async def issue() -> str:
            database = self.database()
            try:
                async with database.transaction() as connection:
                    return await api_keys.issue(connection, Keys(SECRET.encode()), party, role)
            finally:
                await database.close()

        return asyncio.run(issue())


@pytest.fixture(scope="module")
def served(postgres: str, valkey: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One gateway process for a module, on a database of its own."""
    with serving(postgres, valkey, tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@contextmanager
def serving(postgres: str, valkey: str, folder: Path, **settings: str) -> Iterator[Served]:
    """A gateway process on a database of its own; `settings` are further variables of its environment."""
    name = f"served_{os.getpid()}_{folder.name.replace('-', '_')}"
    asyncio.run(_administer(postgres, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} STRATEGY FILE_COPY"))
    listener = socket.create_server(("127.0.0.1", 0))
    environment = {
        "PATH": os.environ["PATH"],
        "GAIN_DATABASE_URL": _database(postgres, name),
        "GAIN_BROKER_URL": valkey,
        "GAIN_SECRET": SECRET,
        "GAIN_KEY_RING": RING,
        "GAIN_LISTEN_FD": str(listener.fileno()),
        "GAIN_LOG_LEVEL": "DEBUG",
        **settings,
    }
    log = folder / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve"],
            cwd=ROOT,
            env=environment,
            stderr=stderr,
            pass_fds=[listener.fileno()],
        )
    try:
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", environment["GAIN_DATABASE_URL"], log)
    finally:
        process.terminate()
        process.wait(timeout=10)
        listener.close()
    asyncio.run(_administer(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def app() -> FastAPI:
    """A small application with one door of things; no database."""
    return make_app()


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the small application."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", headers={"Authorization": "Bearer x"}
    ) as made:
        yield made


@pytest.fixture
async def slow_hashes(configuration: Settings, database: Database) -> AsyncIterator[Cast]:
    """The cast, before a gateway that hashes passwords as the program does."""
    async with gateway(configuration, database, hasher=None) as played:
        yield played
