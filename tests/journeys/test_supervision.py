"""What `gain up` promises about its processes, on a small system: real data services, stand-ins for our own parts."""

import json
import shutil
import signal
import socket
import stat
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.journeys.processes import SMALL_SYSTEM, System, eventually, runs, started
from tests.journeys.test_embedded import query

Start = Callable[..., System]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def start(data: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a small system on a free port; what is left of it at the end of the test is killed."""
    with ExitStack() as stack:
        numbers = iter(range(100))
        yield lambda *more: stack.enter_context(
            started((*SMALL_SYSTEM, str(data), "0", *more), tmp_path / f"stderr{next(numbers)}.txt")
        )


def asks(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own gateway
        return str(answer.read().decode())


def test_a_stop_ends_every_process_within_ten_seconds_and_keeps_the_data(start: Start, data: Path) -> None:
    system = start("deaf")
    query(asks(system.ready()), "CREATE TABLE kept (word text)", "INSERT INTO kept VALUES ('here')")
    assert len(system.remember()) > 8
    assert system.stop() < 10  # one of the parts does not hear SIGTERM
    assert system.process.returncode == 0
    assert system.survivors() == []
    assert sorted(p.name for p in data.iterdir()) == [
        "gain_auditor.password",
        "gain_gateway.password",
        "gain_worker.password",
        "key.ring",
        "lock",
        "logs",
        "postgres",
        "postgres.password",
        "secret",
    ]
    again = start()
    assert query(asks(again.ready()), "SELECT word FROM kept") == [("here",)]


def test_ctrl_c_stops_it_and_a_second_one_at_once(start: Start) -> None:
    system = start("deaf")
    system.ready()
    began = time.monotonic()
    system.process.send_signal(signal.SIGINT)
    eventually(lambda: "stopping" in system.said)
    eventually(lambda: time.monotonic() - began > 0.5)
    system.process.send_signal(signal.SIGINT)
    system.process.wait(5)
    assert time.monotonic() - began < 4  # the deaf part alone would have taken five and a half
    assert system.survivors() == []


@pytest.mark.parametrize("part", ["worker", "gateway", "valkey", "postgres"])
def test_a_killed_part_is_told_in_one_line_and_comes_back(start: Start, data: Path, part: str) -> None:
    system = start()
    url = system.ready()
    killed = system.part(part, data)
    grandchildren = killed.children() if part == "worker" else []
    killed.kill()
    eventually(lambda: f"gain: {part} ended (signal 9, Killed)" in system.said)
    eventually(lambda: any(p.pid != killed.pid for p in named(system, part, data)))
    eventually(lambda: query(asks(url), "SELECT 1") == [(1,)] if part == "gateway" else True)
    assert system.said.count("\n") == 1
    assert not [p for p in grandchildren if runs(p)]
    system.remember()
    assert system.stop() < 10
    assert system.survivors() == []


def named(system: System, part: str, data: Path) -> list[psutil.Process]:
    try:
        return [system.part(part, data)]
    except (StopIteration, FileNotFoundError):
        return []


def test_committed_data_outlives_a_crash_of_postgresql(start: Start, data: Path) -> None:
    system = start()
    database = asks(system.ready())
    query(database, "CREATE TABLE kept (word text)", "INSERT INTO kept VALUES ('here')")
    system.part("postgres", data).kill()
    eventually(lambda: "gain: postgres ended" in system.said)

    def is_back() -> bool:
        try:
            return query(database, "SELECT word FROM kept") == [("here",)]
        except OSError:
            return False
        except Exception as error:
            return type(error).__name__ != "CannotConnectNowError" and pytest.fail(str(error))

    eventually(is_back)


def test_the_parts_do_not_outlive_a_killed_supervisor(start: Start, data: Path) -> None:
    system = start()
    system.ready()
    parts = psutil.Process(system.process.pid).children()
    assert len(parts) == 4
    system.process.kill()
    system.process.wait()
    psutil.wait_procs(parts, timeout=10)
    for link in ("postgres.socket", "valkey.private"):
        shutil.rmtree((data / link).resolve())
    assert [p for p in parts if runs(p)] == []


def test_the_next_start_ends_what_a_killed_supervisor_left(start: Start) -> None:
    killed = start("deaf")
    query(asks(killed.ready()), "CREATE TABLE kept (word text)", "INSERT INTO kept VALUES ('here')")
    killed.process.kill()
    killed.process.wait()
    again = start()
    assert query(asks(again.ready()), "SELECT word FROM kept") == [("here",)]
    assert killed.survivors() == []  # neither the deaf part nor what the worker had started


def test_a_second_start_on_the_same_data_directory_is_refused_in_one_line(start: Start, data: Path) -> None:
    first = start()
    url = first.ready()
    second = start()
    assert second.process.wait(10) == 1
    assert second.said == (
        f"gain: the data directory {data} is in use by another gain (process {first.process.pid}): "
        "stop that, or give another --data-dir\n"
    )
    assert asks(url)


def test_a_port_in_use_is_refused_before_anything_is_made(data: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started((*SMALL_SYSTEM, str(data), str(port)), tmp_path / "stderr.txt") as system:
            assert system.process.wait(10) == 1
    assert system.said == f"gain: cannot listen on 127.0.0.1 port {port}: Address already in use; give another --port\n"
    assert not data.exists()


def test_a_data_directory_that_cannot_be_written_is_refused_in_one_line(start: Start, data: Path) -> None:
    data.write_text("a file, where root cannot make a folder either")
    system = start()
    assert system.process.wait(10) == 1
    assert system.said == f"gain: cannot use {data} as data directory: File exists\n"


def test_secrets_are_readable_to_their_owner_alone(start: Start, data: Path) -> None:
    start().ready()
    for name in ("secret", "postgres.password", "gain_gateway.password", "gain_worker.password", "runtime.json"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600
    assert json.loads((data / "runtime.json").read_text())["kind"] == "up"
    assert stat.S_IMODE((data / "logs").stat().st_mode) == 0o700


def test_no_password_stands_in_a_command_line(start: Start, data: Path) -> None:
    system = start()
    system.ready()
    password = (data / "postgres.password").read_text()
    lines = [" ".join(p.cmdline()) for p in system.remember()]
    assert len(lines) > 8
    assert not [line for line in lines if password in line or "redis://:" in line]
