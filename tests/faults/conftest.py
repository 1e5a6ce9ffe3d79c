"""Fault tests: one running system for all of them, an account of each, and the report.

`make test` runs the short form; `make faults` all of them. `report` says what is counted.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from app.db import Database
from app.parties.channels import set_push_endpoint
from app.parties.hosts import ApprovedHosts
from app.settings import Settings
from tests.faults import report
from tests.faults.endpoint import PUSHED, PushedAgency
from tests.faults.plant import RING, SECRET, Plant, running, until
from tests.faults.recording import PERSONAL, Account, Recorder
from tests.workers.outside import ADMINISTRATOR

_HOSTS = ApprovedHosts.parse("127.0.0.1=127.0.0.0/8", development=True)
_CHANNEL = text("UPDATE party SET channel = :channel WHERE code = :agency")
_ACCOUNTS = pytest.StashKey[dict[str, Account]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the faults of the long form out of the short one; what looks at all they left comes last."""
    items.sort(key=lambda item: item.get_closest_marker("afterwards") is not None)
    if config.getoption("faults", "short") == "long":
        return
    left_out = [item for item in items if item.get_closest_marker("fault") and not item.get_closest_marker("short")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def plant() -> Iterator[Plant]:
    """The running system."""
    with tempfile.TemporaryDirectory(prefix="gain-faults-") as folder, running(Path(folder)) as plant:
        plant.broker.look_for(*PERSONAL)
        yield plant


@asynccontextmanager
async def recording(plant: Plant, request: pytest.FixtureRequest) -> AsyncIterator[Recorder]:
    """A recording client of a system that is whole before and after; its account goes into the report."""
    await asyncio.to_thread(plant.mend)
    configuration = Settings(
        database_url=plant.database_url,
        secret=SecretStr(SECRET),
        key_ring=SecretStr(RING),
        database_wait_seconds=5,
    )
    database = Database(configuration)
    if not plant.usual:
        await _warm_up(plant, database)
        await asyncio.to_thread(plant.mend)
    recorder = Recorder(plant, database)
    await recorder.open()
    try:
        yield recorder
        await asyncio.to_thread(plant.mend)
        await recorder.release_everything()
    finally:
        request.config.stash.setdefault(_ACCOUNTS, {})[request.node.name] = recorder.account
        await asyncio.to_thread(plant.mend)
        await recorder.close()
        await database.close()


async def _warm_up(plant: Plant, database: Database) -> None:
    """Have it work as much as a fault test makes it; what it holds afterwards is what it is to hold after each."""
    recorder = Recorder(plant, database)
    await recorder.open()
    await recorder.load(60, per_second=40)
    await recorder.settle()
    await recorder.close()
    await asyncio.sleep(1)  # a closed connection is noticed by the gateway's loop, which nothing tells us of
    plant.usual = plant.footprint()


@pytest.fixture
async def recorder(plant: Plant, request: pytest.FixtureRequest) -> AsyncIterator[Recorder]:
    """The recording client. The test settles its account; nothing may be wrong with it."""
    async with recording(plant, request) as recorder:
        yield recorder


@pytest.fixture
async def pushed(recorder: Recorder) -> AsyncIterator[PushedAgency]:
    """The endpoint of an agency that is pushed to; it works, and the worker knows of it."""
    endpoint = PushedAgency()
    try:
        await recorder.key(PUSHED)
        async with recorder.database.transaction() as connection:
            await connection.execute(_CHANNEL, {"channel": "push", "agency": PUSHED})
            await set_push_endpoint(connection, ADMINISTRATOR, _HOSTS, PUSHED, endpoint.url)
        first = await recorder.submit([PUSHED])
        assert first is not None
        # Every worker learns of the channel within 5 s; what was sent out before is adopted after 15 ticks.
        await asyncio.to_thread(until, lambda: endpoint.calls, 60, "the agency is told")
        yield endpoint
    finally:
        async with recorder.database.transaction() as connection:
            await connection.execute(_CHANNEL, {"channel": "inbox", "agency": PUSHED})
        await asyncio.to_thread(endpoint.stop)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The report, on the terminal and in `build/`."""
    accounts = config.stash.get(_ACCOUNTS, {})
    if not accounts:
        return
    lines = report.lines(accounts)
    terminalreporter.section("faults")
    for line in lines:
        terminalreporter.write_line(line)
    file = report.write(config.rootpath / "build", config.getoption("faults"), lines)
    terminalreporter.write_line(f"Written to {file.relative_to(config.rootpath)}")
