"""What every test may use: a real PostgreSQL with a fresh migrated database, the gateway, the cast, a worker's pump."""

import asyncio
import itertools
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from argon2 import PasswordHasher
from pydantic import SecretStr
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from app.access import keys as api_keys
from app.access.accounts.passwords import Passwords
from app.access.policy import Role
from app.crypto.keys import Keys
from app.db import AS_ADMINISTRATOR, Database
from app.main import create_app
from app.runtime.embedded import EmbeddedPostgres, EmbeddedValkey
from app.runtime.migrate import prepare
from app.runtime.roles import GATEWAY, LOGINS, WORKER, Login, verifier
from app.settings import Settings
from app.wake import Nobody
from workers.adapters.contract import Adapter
from workers.channels import Reach
from workers.pump import Pump

SECRET = "a secret for tests that is long enough to be one"
RING = "ring-of-tests:" + "A" * 43
PASSWORD = "of-tests"
"""What every login of the test databases has as its password."""

QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
"""Passwords are hashed as they are kept, in milliseconds: what takes the program a quarter of a second."""

_LONG = ("tests/app/test_contract", "tests/app/test_lifecycle", "tests/journeys/")
"""Files that take minutes, or whole systems."""

_ROOM_BYTES = 4 * 2**30
_TEMPLATE = "gain_template"
_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long` runs every fault and the state machines at length, `--short` (the default) a part of them."""
    parser.addoption("--long", dest="faults", action="store_const", const="long", default="short")
    parser.addoption("--short", dest="faults", action="store_const", const="short")
    parser.addoption("--rewrite", action="store_true", help="write docs/database-roles.md's list anew before comparing")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in the order in which workers best take them: what is long in few tests first, then by number of tests.

    So no worker is left with minutes of work when the others have ended.
    """
    number = Counter(item.path for item in items)
    items.sort(key=lambda item: (not item.nodeid.startswith(_LONG), -number[item.path]))


@pytest.fixture(scope="session")
def servers() -> Iterator[Path]:
    """A folder for servers, not pytest's own: a second pytest closes that to the user PostgreSQL has under root.

    In memory where there is room: every test has a database of its own, which is hundreds of files.
    """
    with tempfile.TemporaryDirectory(prefix="gain-test-", dir=_memory()) as folder:
        yield Path(folder)


def _memory() -> Path | None:
    """The folder of Linux that is in memory; None where there is none, or it has no room for every worker's server."""
    folder = Path("/dev/shm")
    if not os.access(folder, os.W_OK | os.X_OK):
        return None
    room = min(shutil.disk_usage(folder).free, psutil.virtual_memory().available)
    return folder if room > _ROOM_BYTES else None


@pytest.fixture(scope="session")
def postgres(servers: Path) -> Iterator[str]:
    """The URL of a PostgreSQL 18 with a migrated and seeded template database."""
    with EmbeddedPostgres(servers / "postgres", durable=False) as server:
        asyncio.run(_make_template(server.url))
        yield server.url


async def _make_template(url: str) -> None:
    await _administer(url, f"CREATE DATABASE {_TEMPLATE}")
    await prepare(_database(url, _TEMPLATE))
    for login in LOGINS:
        await _administer(url, f"ALTER ROLE {login.name} PASSWORD '{verifier(PASSWORD)}'")


async def _administer(url: str, statement: str) -> None:
    engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.exec_driver_sql(statement)
    await engine.dispose()


def _database(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def valkey(servers: Path) -> Iterator[str]:
    """The URL of a Valkey."""
    with EmbeddedValkey(servers / "valkey") as server:
        yield server.url


@pytest.fixture
async def database_url(postgres: str) -> AsyncIterator[str]:
    """The URL of a fresh database with the newest schema and the reference data."""
    name = f"gain_{next(_numbers)}"
    await _administer(postgres, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} STRATEGY FILE_COPY")
    yield _database(postgres, name)
    await _administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


def signed_in(url: str, login: Login) -> str:
    """This database's URL, as a process of the program signs in to it."""
    return make_url(url).set(username=login.name, password=PASSWORD).render_as_string(hide_password=False)


@pytest.fixture
def configuration(database_url: str, valkey: str, tmp_path: Path) -> Settings:
    """The settings of a gateway on the fresh database."""
    return Settings(
        database_url=signed_in(database_url, GATEWAY),
        broker_url=valkey,
        secret=SecretStr(SECRET),
        key_ring=SecretStr(RING),
        data_dir=tmp_path,
    )


@pytest.fixture
def as_worker(configuration: Settings, database_url: str) -> Settings:
    """The settings of a worker or scheduler on the fresh database."""
    return configuration.model_copy(update={"database_url": signed_in(database_url, WORKER)})


@pytest.fixture
def as_owner(configuration: Settings, database_url: str) -> Settings:
    """The settings of a command that the owner of the fresh database gives."""
    return configuration.model_copy(update={"database_url": database_url})


@pytest.fixture
async def database(as_owner: Settings) -> AsyncIterator[Database]:
    """The fresh database, opened by its owner: what acts for somebody is bound by that one's role all the same."""
    opened = Database(as_owner)
    yield opened
    await opened.close()


class Cast:
    """Clients of the gateway, one for each party: the owner, the colleague, the stranger."""

    def __init__(self, database: Database, transport: httpx.AsyncBaseTransport) -> None:
        self._database = database
        self._transport = transport
        self._clients: list[httpx.AsyncClient] = []

    async def key(self, party: str, role: Role | None = None, terms: api_keys.Terms | None = None) -> str:
        """A new key of a party."""
        async with self._database.transaction(AS_ADMINISTRATOR) as connection:
            return await api_keys.issue(connection, Keys(SECRET.encode()), party, role, terms=terms)

    async def play(self, party: str, role: Role | None = None) -> httpx.AsyncClient:
        """A client with a new key of a party."""
        return self.client({"Authorization": f"Bearer {await self.key(party, role)}"})

    def client(self, headers: Mapping[str, str]) -> httpx.AsyncClient:
        """A client with these headers."""
        client = httpx.AsyncClient(transport=self._transport, base_url="http://gain.test", headers=dict(headers))
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """Close every client."""
        for client in self._clients:
            await client.aclose()


@asynccontextmanager
async def gateway(
    configuration: Settings,
    database: Database,
    *,
    client: str = "127.0.0.1",
    hasher: PasswordHasher | None = QUICK,
    **changes: Any,
) -> AsyncIterator[Cast]:
    """The cast, before a gateway in this process with changed settings.

    `client` is the address they come from, `hasher` that of passwords: None is the program's own.
    """
    app = create_app(configuration.model_copy(update=changes), Nobody())
    app.state.passwords = Passwords(hasher)
    async with app.router.lifespan_context(app):
        played = Cast(database, httpx.ASGITransport(app, raise_app_exceptions=False, client=(client, 1)))
        yield played
        await played.close()


@pytest.fixture
async def cast(configuration: Settings, database: Database) -> AsyncIterator[Cast]:
    """The cast, before a gateway in this process."""
    async with gateway(configuration, database) as played:
        yield played


class Workers:
    """The worker's pump, run in this process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, adapters: Reach | Mapping[str, Adapter] | None = None) -> None:
        """Move everything that is due now."""
        async with asyncio.timeout(30):
            await Pump(self._database, Keys(SECRET.encode()), adapters or {}).run(seconds=10)


@pytest.fixture
def workers(database: Database) -> Workers:
    """Workers without a broker."""
    return Workers(database)


def referral(**changes: Any) -> dict[str, Any]:
    """The contract's example of a referral, with changes; a change to None leaves the field out."""
    body: dict[str, Any] = {
        "subject": {
            "kind": "person",
            "family_name": "Quill",
            "given_names": "Rhys Alun",
            "date_of_birth": "1984-03-07",
            "aliases": [{"family_name": "Quille", "given_names": "Rhys"}],
            "addresses": [{"lines": ["Plot 9, Heol y Mynydd"], "postcode": "CF48 1AA"}],
            "identifiers": [{"type": "vehicle_registration", "value": "CX14 ABC"}],
        },
        "ocg": {"reference": "SWP-0142", "band": "4b", "score": 37},
        "criterion": "mapped_ocg",
        "crime_types": ["drug_trafficking", "modern_slavery"],
        "priority": "routine",
        "purpose": "Identify vehicles, employment and premises linked to the subject before a day of action.",
        "information_sought": "Vehicles kept and driven since 2024; current employer.",
        "warnings": ["violent"],
        "operation_name": "Example",
        "contact": {"name": "Intelligence desk", "email": "desk@example.invalid"},
        "legal_basis": "common_law_policing_purpose",
        "marking": "OFFICIAL-SENSITIVE",
        "grading": {"source": 2, "assessment": "B"},
        "handling": {"code": "P", "conditions": []},
        "addressees": ["HMRC", "EA"],
        "client_reference": "SWP/2026/991",
    }
    body |= changes
    return {name: value for name, value in body.items() if value is not None}


HIT: dict[str, Any] = {
    "outcome": "hit",
    "summary": "Keeper of a van since March 2024.",
    "facts": [{"kind": "vehicle", "text": "CX14 ABC, a grey van."}],
    "grading": {"source": 1, "assessment": "A"},
    "handling": {"code": "P"},
}
