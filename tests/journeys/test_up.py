"""`gain up` as a user runs it: the real gateway, worker and scheduler on the embedded services."""

import asyncio
import json
import secrets
import socket
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from app.runtime.credentials import issue
from app.runtime.data_dir import DataDir
from app.runtime.system import running_system
from tests.journeys.processes import GAIN, System, eventually, started

pytestmark = pytest.mark.skipif(
    not all(map(find_spec, ("app.main", "workers.celery_app", "workers.tasks.scheduler"))),
    reason="the gateway or the workers are not written yet",
)
Start = Callable[[], System]

REFERRAL = {
    "subject": {"kind": "person", "family_name": "Quill", "given_names": "Rhys", "date_of_birth": "1984-03-07"},
    "criterion": "mapped_ocg",
    "crime_types": ["drug_trafficking"],
    "priority": "routine",
    "purpose": "See that it is still there after a restart.",
    "legal_basis": "common_law_policing_purpose",
    "marking": "OFFICIAL-SENSITIVE",
    "grading": {"source": 2, "assessment": "B"},
    "handling": {"code": "P", "conditions": []},
    "addressees": ["HMRC"],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def start(data: Path, tmp_path: Path) -> Iterator[Start]:
    """Start the system on a free port; what is left of it at the end of the test is killed."""
    with ExitStack() as stack:
        numbers = iter(range(100))
        argv = (*GAIN, "up", "--port", "0", "--data-dir", str(data))
        yield lambda: stack.enter_context(started(argv, tmp_path / f"stderr{next(numbers)}.txt"))


def key_for(party: str, data: Path, tmp_path: Path) -> str:
    """What `gain keys issue` prints."""
    argv = (*GAIN, "keys", "issue", party, "--data-dir", str(data))
    with started(argv, tmp_path / "keys.txt") as command:
        printed, _ = command.process.communicate(timeout=60)
        assert command.process.returncode == 0, command.said
    return printed.strip()


def call(url: str, key: str, body: object = None) -> dict[str, object]:
    request = urllib.request.Request(  # noqa: S310 - our own gateway
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        found: dict[str, object] = json.load(answer)
        return found


@pytest.mark.timeout(180)
def test_a_referral_is_still_there_after_a_stop_and_a_new_start(start: Start, data: Path, tmp_path: Path) -> None:
    system = start()
    url = system.ready()
    key = key_for("SWP", data, tmp_path)
    made = call(f"{url}/v1/referrals", key, REFERRAL)
    eventually(lambda: call(f"{url}/v1/referrals/{made['id']}", key)["state"] == "in_progress")
    system.remember()
    assert system.stop() < 10
    assert system.process.returncode == 0
    assert system.survivors() == []

    again = start()
    found = call(f"{again.ready()}/v1/referrals/{made['id']}", key)
    assert found["reference"] == made["reference"]
    assert again.stop() < 10


@pytest.mark.timeout(180)
def test_a_key_can_be_issued_before_anything_runs(start: Start, data: Path, tmp_path: Path) -> None:
    key = key_for("SWP", data, tmp_path)
    assert not [p for p in psutil.process_iter() if p.name() == "postgres" and str(data) in " ".join(p.cmdline())]
    url = start().ready()
    assert call(f"{url}/v1/referrals", key)["items"] == []


@pytest.mark.timeout(180)
def test_a_killed_worker_comes_back_and_the_work_goes_on(start: Start, data: Path, tmp_path: Path) -> None:
    system = start()
    url = system.ready()
    key = key_for("SWP", data, tmp_path)
    system.part("worker", data).kill()
    made = call(f"{url}/v1/referrals", key, REFERRAL)
    eventually(lambda: "gain: worker ended (signal 9, Killed)" in system.said)
    eventually(lambda: call(f"{url}/v1/referrals/{made['id']}", key)["state"] == "in_progress", 30)


@pytest.mark.timeout(180)
def test_a_whole_system_can_be_had_for_the_length_of_a_block(data: Path) -> None:
    with running_system(data, simulate=True, speed=0) as url:
        key = issue(data, "SWP")
        made = call(f"{url}/v1/referrals", key, REFERRAL)
        eventually(lambda: call(f"{url}/v1/referrals/{made['id']}", key)["state"] == "completed", 60)
    assert not DataDir(data).is_held()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0


@pytest.mark.timeout(180)
def test_each_part_signs_in_as_itself_and_none_as_the_owner(start: Start, data: Path, tmp_path: Path) -> None:
    url = start().ready()
    key = key_for("SWP", data, tmp_path)
    made = call(f"{url}/v1/referrals", key, REFERRAL)
    eventually(lambda: call(f"{url}/v1/referrals/{made['id']}", key)["state"] == "in_progress")
    found = signed_in(str(DataDir(data).state()["database_url"]))
    assert found.keys() == {"gain_gateway", "gain_worker"}
    assert "production would refuse" not in (data / "logs" / "gateway.log").read_text(encoding="utf-8")
    environment = {
        "GAIN_ENVIRONMENT": "production",
        "GAIN_BROKER_URL": "none",
        "GAIN_SECRET": secrets.token_urlsafe(48),
    }
    ring = f"k:{secrets.token_urlsafe(32)}"
    owner = {"GAIN_DATABASE_URL": str(DataDir(data).state()["database_url"]), "GAIN_KEY_RING": ring}
    with started((*GAIN, "serve"), tmp_path / "owner.txt", environment | owner) as refused:
        assert refused.process.wait(60) == 1
    assert refused.said.startswith("gain: production refuses this database: gain is a superuser; ")
    assert "; gain owns tables. Sign in as gain_gateway" in refused.said


def signed_in(url: str) -> dict[str, int]:
    """How many connections of the program there are, by the user they signed in as."""

    async def ask() -> dict[str, int]:
        engine = create_async_engine(url, poolclass=NullPool)
        async with engine.connect() as connection:
            rows = await connection.execute(
                text(
                    "SELECT usename, count(*) AS number FROM pg_stat_activity"
                    " WHERE application_name = 'gain' GROUP BY usename"
                )
            )
            found = {row.usename: row.number for row in rows}
        await engine.dispose()
        return found

    return asyncio.run(ask())


def test_an_unknown_party_is_told_in_one_line(data: Path, tmp_path: Path) -> None:
    argv = (*GAIN, "keys", "issue", "NOBODY", "--data-dir", str(data))
    with started(argv, tmp_path / "stderr.txt") as command:
        assert command.process.wait(60) == 1
    assert command.said == "gain: there is no party with the code 'NOBODY'\n"
