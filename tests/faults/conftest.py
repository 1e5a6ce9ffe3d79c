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

from app.db import Database
from app.settings import Settings
from tests.faults import report
from tests.faults.plant import RING, SECRET, Plant, running
from tests.faults.recording import PERSONAL, Account, Recorder

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
    await recorder.settle(40)
    await recorder.close()
    await asyncio.sleep(1)  # a closed connection is noticed by the gateway's loop, which nothing tells us of
    plant.usual = plant.footprint()


@pytest.fixture
async def recorder(plant: Plant, request: pytest.FixtureRequest) -> AsyncIterator[Recorder]:
    """The recording client. The test settles its account; nothing may be wrong with it."""
    async with recording(plant, request) as recorder:
        yield recorder


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
