"""`gain up --no-broker`: the whole way of a referral with real processes, and no Valkey and no Celery anywhere."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.runtime.credentials import issue
from app.settings import Settings
from tests.conftest import referral
from tests.journeys.processes import GAIN, System, eventually, runs, started
from tests.journeys.test_up import call
from workers.simulation.roster import SIMULATED


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def system(data: Path, tmp_path: Path) -> Iterator[System]:
    options = ("--port", "0", "--data-dir", str(data), "--no-broker", "--simulate", "--speed", "0")
    with started((*GAIN, "up", *options), tmp_path / "stderr.txt") as running:
        yield running


def processes(system: System, data: Path) -> list[psutil.Process]:
    """Those of the worker that do the work."""
    return [child for child in system.part("worker", data).children() if runs(child)]


@pytest.mark.timeout(240)
def test_every_body_answers_without_a_broker_and_though_a_worker_process_is_killed(system: System, data: Path) -> None:
    url = system.ready()
    key = issue(data, "SWP")

    def refer() -> str:
        made = call(f"{url}/v1/referrals", key, referral(addressees=sorted(SIMULATED)))
        return f"{url}/v1/referrals/{made['id']}"

    def all_have_answered(address: str) -> bool:
        found = call(address, key)
        ended = [dispatch["state"] in ("answered", "declined") for dispatch in found["dispatches"]]  # type: ignore[attr-defined]
        return found["state"] == "completed" and len(ended) == 22 and all(ended)

    first = refer()
    eventually(lambda: all_have_answered(first), 60)
    names = [process.name() for process in system.remember()]
    assert not [name for name in names if "valkey" in name]
    assert not (data / "valkey.private").exists()
    assert call(f"{url}/health/ready", key) == {"status": "ready", "checks": {"database": "ok", "keys": "ok"}}

    number = Settings().worker_processes
    eventually(lambda: len(processes(system, data)) == number)
    killed = processes(system, data)[0]
    killed.kill()
    second = refer()
    eventually(lambda: all_have_answered(second), 60)
    eventually(lambda: len(processes(system, data)) == number)
    assert killed.pid not in [process.pid for process in processes(system, data)]

    system.remember()
    assert system.stop() < 10
    assert system.process.returncode == 0
    assert system.survivors() == []
    assert "worker ended" not in system.said
