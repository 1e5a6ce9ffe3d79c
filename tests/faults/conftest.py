"""Fault tests: one running system for all of them, an account of each, and the report.

`make test` runs the short form; `make faults` all of them. The report counts, for each fault: requests attempted,
acknowledged with a 2xx, found stored as sent, lost, doubled, and whatever else was not as it must be.
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
from tests.faults.plant import RING, SECRET, Plant, running
from tests.faults.recording import PERSONAL, Account, Recorder

_ACCOUNTS = pytest.StashKey[dict[str, Account]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--long` runs every fault, `--short` (the default) a part of them."""
    parser.addoption("--long", dest="faults", action="store_const", const="long", default="short")
    parser.addoption("--short", dest="faults", action="store_const", const="short")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the faults of the long form out of the short one."""
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
    recorder = Recorder(plant, database)
    await recorder.open()
    try:
        yield recorder
    finally:
        request.config.stash.setdefault(_ACCOUNTS, {})[request.node.name] = recorder.account
        await asyncio.to_thread(plant.mend)
        await recorder.close()
        await database.close()


@pytest.fixture
async def recorder(plant: Plant, request: pytest.FixtureRequest) -> AsyncIterator[Recorder]:
    """The recording client. The test settles its account; nothing may be wrong with it."""
    async with recording(plant, request) as recorder:
        yield recorder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The report."""
    accounts = config.stash.get(_ACCOUNTS, {})
    if not accounts:
        return
    columns = ("attempted", "acknowledged", "stored", "lost", "duplicated", "unexpected")
    width = max(map(len, accounts))
    terminalreporter.section("faults")
    terminalreporter.write_line("  ".join(["fault".ljust(width), *(column.rjust(12) for column in columns)]))
    totals = dict.fromkeys(columns, 0)
    for name, account in accounts.items():
        figures = account.figures()
        totals = {column: totals[column] + figures[column] for column in columns}
        terminalreporter.write_line(_line(name, figures, width))
    terminalreporter.write_line(_line("all", totals, width))
    for name, account in accounts.items():
        for what in (*account.lost, *account.duplicated, *account.unexpected):
            terminalreporter.write_line(f"{name}: {what}")


def _line(name: str, figures: dict[str, int], width: int) -> str:
    return "  ".join([name.ljust(width), *(str(figure).rjust(12) for figure in figures.values())])
