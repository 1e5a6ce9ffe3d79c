"""The key ring of a system that runs, by the commands an operator has."""

import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.runtime.demonstration import issue_by_command
from app.runtime.plan import child_environment, gain_command
from app.runtime.refusal import StartRefused
from app.runtime.system import running_system
from tests.conftest import referral


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gain-ring-") as scratch:
        Path(scratch).chmod(0o711)  # PostgreSQL may run as a user of its own
        yield Path(scratch) / "data"


def keyring(folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit code of `gain keyring …` and all that it said."""
    argv = gain_command("keyring", *arguments, "--data-dir", str(folder))
    done = subprocess.run(argv, env=child_environment(), capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def ids(folder: Path) -> list[str]:
    """The keys of the ring's file, the current one marked."""
    return [line.partition(":")[0] for line in (folder / "key.ring").read_text().split()]


@pytest.mark.timeout(240)
def test_a_running_system_changes_its_key_and_a_lost_ring_is_told_of(folder: Path) -> None:
    with running_system(folder) as url:
        headers = {"Authorization": f"Bearer {issue_by_command(folder, 'SWP')}"}
        with httpx.Client(base_url=url, headers=headers, timeout=20) as force:
            made = [force.post("/v1/referrals", json=referral()).json()["id"] for _ in range(3)]
            [first] = [id.removeprefix("*") for id in ids(folder)]
            assert (folder / "key.ring").stat().st_mode & 0o777 == 0o600
            assert keyring(folder, "remove", first)[0] == 1
            code, said = keyring(folder, "rotate")
            assert code == 0, said
            [old, new] = ids(folder)
            assert (old, new[0]) == (first, "*")
            made.append(force.post("/v1/referrals", json=referral()).json()["id"])
            code, said = keyring(folder, "status")
            assert re.findall(r"(\S+)  (\w+)  (\d+) data keys", said) == [
                (first, "old", "0"),
                (new[1:], "current", "4"),
            ]
            assert keyring(folder, "add")[0] == 0
            assert len(ids(folder)) == 3
            assert keyring(folder, "remove", first)[0] == 0
            time.sleep(1.5)  # the gateway looks at the file every second
            for key in made:
                assert force.get(f"/v1/referrals/{key}").json()["purpose"] == referral()["purpose"]
    ring = folder / "key.ring"
    ring.rename(folder / "key.ring.kept")
    with pytest.raises(StartRefused), running_system(folder):
        pass
    assert "the key ring lacks a key" in (folder / "logs" / "migrate.log").read_text()
    (folder / "key.ring.kept").rename(ring)
    with running_system(folder) as url:
        read = httpx.get(f"{url}/v1/referrals/{made[0]}", headers=headers)
        assert json.loads(read.text)["id"] == made[0]
