"""A worker without a broker, in processes of its own: finds its work, says that it lives, leaves nothing behind."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT, SIGTERM

import psutil
import pytest

from app.db import Database
from app.referrals.heartbeat import Beating, silent_seconds
from app.runtime.child import die_with_parent
from app.runtime.plan import child_environment
from app.runtime.roles import WORKER
from app.settings import Settings
from tests.acts import eventually, rows, submitted
from tests.conftest import RING, SECRET, Cast, signed_in
from tests.journeys.processes import runs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def worker(database_url: str, tmp_path: Path) -> Iterator[psutil.Process]:
    """Two processes and their parent, with an agency that never answers, on the fresh database and no broker."""
    environment = {name: value for name, value in child_environment().items() if not name.startswith("GAIN_")}
    environment |= {
        "GAIN_DATABASE_URL": signed_in(database_url, WORKER),
        "GAIN_SECRET": SECRET,
        "GAIN_KEY_RING": RING,
        "GAIN_DATA_DIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.workers.polling_part"],
        env=environment,
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent(SIGTERM),
    )
    with process:
        yield psutil.Process(process.pid)
        process.kill()


async def two_children(worker: psutil.Process) -> list[psutil.Process]:
    async def there() -> bool:
        return len(worker.children()) == 2

    await eventually(there, 30)
    return worker.children()


async def test_an_idle_worker_says_that_it_lives(worker: psutil.Process, database: Database) -> None:
    async def has_beaten() -> bool:
        async with database.transaction() as connection:
            return (await silent_seconds(connection))[Beating.WORKER] is not None

    await eventually(has_beaten, 30)


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
async def test_a_stop_hands_back_what_is_in_flight_instead_of_leaving_it_to_its_lease(
    worker: psutil.Process, cast: Cast, database: Database, number: int
) -> None:
    await submitted(await cast.play("SWP"), addressees=["HMRC"])

    async def is_called() -> bool:
        return bool(await rows(database, "SELECT id FROM dispatch WHERE attempt = 1 AND due_delivery_at > now()"))

    await eventually(is_called, 30)
    children = worker.children()
    worker.send_signal(number)

    async def is_gone() -> bool:
        return not [process for process in (worker, *children) if runs(process)]

    await eventually(is_gone, 10)
    assert await rows(database, "SELECT id FROM dispatch WHERE due_delivery_at <= now() AND failures = 0")


async def test_one_that_is_told_to_end_is_replaced_and_the_others_stay(worker: psutil.Process) -> None:
    first, second = await two_children(worker)

    async def is_replaced() -> bool:
        pids = {child.pid for child in worker.children() if runs(child)}
        return second.pid in pids and first.pid not in pids and len(pids) == 2

    await eventually(lambda: _loops(first), 30)
    first.terminate()
    await eventually(is_replaced, 20)


async def test_the_processes_do_not_outlive_a_killed_parent(worker: psutil.Process) -> None:
    children = await two_children(worker)
    worker.kill()

    async def are_gone() -> bool:
        return not [child for child in children if runs(child)]

    await eventually(are_gone, 10)


async def _loops(process: psutil.Process) -> bool:
    """Whether it has come so far as to hold a connection to the database."""
    return bool(process.net_connections("unix")) or bool(process.net_connections("inet"))


def test_a_broker_is_left_out_on_purpose_only() -> None:
    assert Settings(broker_url="none").has_broker is False
    assert Settings(broker_url="redis://127.0.0.1:1/0").has_broker
