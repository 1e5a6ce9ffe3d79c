"""`gain demo` as a user runs it: it completes whatever happens to the worker, and leaves nothing behind."""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from tests.journeys.processes import GAIN, System, started
from workers.simulation.roster import SIMULATED

Start = Callable[..., System]
_PROGRESS = re.compile(r"([1-9]\d*) of 308 answers in")


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The folder in which the demonstration finds a place for its data."""
    made = tmp_path / "temporary"
    made.mkdir()
    return made


@pytest.fixture
def start(temporary: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a demonstration; what is left of it at the end of the test is killed."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(
            started((*GAIN, "demo", *options), tmp_path / "stderr.txt", {"TMPDIR": str(temporary), "COLUMNS": "100"})
        )


def read_until(demonstration: System, pattern: str | re.Pattern[str]) -> str:
    """What it prints up to the first line that holds the pattern. Fails where it ends before."""
    assert demonstration.process.stdout is not None
    told = ""
    for line in demonstration.process.stdout:
        told += line
        if re.search(pattern, line):
            demonstration.remember()
            return told
    pytest.fail(f"it ended early: {told}{demonstration.said}")


def rest(demonstration: System) -> str:
    """What it still prints before it ends."""
    assert demonstration.process.stdout is not None
    told = demonstration.process.stdout.read()
    demonstration.process.wait()
    return told


def workers_of(demonstration: System) -> list[psutil.Process]:
    """The Celery worker with its child processes."""
    found = psutil.Process(demonstration.process.pid).children(recursive=True)
    return [process for process in found if process.cmdline()[-2:] == ["app.cli", "worker"]]


@pytest.mark.timeout(240)
def test_it_completes_all_the_same_when_the_worker_is_killed(start: Start, temporary: Path) -> None:
    demonstration = start()
    told = read_until(demonstration, _PROGRESS)
    killed = workers_of(demonstration)
    assert len(killed) == 3
    for process in killed:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    told += rest(demonstration)
    assert demonstration.process.returncode == 0, told + demonstration.said
    assert "308 of 308 answers in" in told
    assert all(re.search(rf"^{agency} ", told, re.MULTILINE) for agency in SIMULATED)
    assert "OFFICIAL-SENSITIVE" in told
    assert "worker ended (signal 9, Killed)" in told
    assert demonstration.survivors() == []
    assert list(temporary.iterdir()) == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_ends_all_of_it_and_leaves_nothing(
    start: Start, temporary: Path, number: signal.Signals, code: int
) -> None:
    demonstration = start()
    read_until(demonstration, "referrals submitted")
    assert any(temporary.iterdir())
    demonstration.process.send_signal(number)
    demonstration.process.send_signal(number)
    rest(demonstration)
    assert demonstration.process.returncode == code, demonstration.said
    assert demonstration.survivors() == []
    assert list(temporary.iterdir()) == []
    assert "Traceback" not in demonstration.said


@pytest.mark.timeout(120)
def test_its_data_can_be_kept(start: Start, temporary: Path) -> None:
    demonstration = start("--keep", "--speed", "0")
    told = rest(demonstration)
    assert demonstration.process.returncode == 0, told + demonstration.said
    [kept] = temporary.glob("gain-demo-*/data")
    assert f"gain up --simulate --data-dir {kept}" in told
    assert (kept / "postgres").is_dir()
