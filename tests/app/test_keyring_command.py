"""`gain keyring …`: whoever changes what opens all content is named in the log, or the ring stays as it was."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.db import Database
from tests.acts import change, rows
from tests.conftest import RING, SECRET, Cast

Gain = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    """The file of the ring."""
    file = tmp_path / "key.ring"
    file.write_text(RING)
    file.chmod(0o600)
    return file


@pytest.fixture
def gain(database_url: str, tmp_path: Path, ring: Path) -> Gain:
    """Runs `gain …` on the test's database."""
    environment = {"PATH": os.environ["PATH"], "GAIN_DATABASE_URL": database_url, "GAIN_SECRET": SECRET}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2]), "GAIN_KEY_RING_FILE": str(ring)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "app.cli", *arguments, "--data-dir", str(tmp_path)]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60)

    return run


def ids(ring: Path) -> list[str]:
    """The keys of the ring, without the mark of the current one."""
    return [line.partition(":")[0].removeprefix("*") for line in ring.read_text().split()]


async def logged(database: Database) -> list[tuple[str, str, str]]:
    """What was done to the ring: operation, action, and the key's id."""
    query = "SELECT operation, action, party, actor, detail FROM audit_event WHERE action LIKE 'keyring.%' ORDER BY id"
    found = await rows(database, query)
    assert all(row["party"] == "GAIN" and row["actor"].startswith("command:") for row in found)
    return [(row["operation"], row["action"], row["detail"]["key"]) for row in found]


async def test_whoever_adds_rotates_or_removes_a_key_of_the_ring_is_logged(
    gain: Gain, ring: Path, database: Database
) -> None:
    [first] = ids(ring)
    for arguments in (("add",), ("rotate",), ("remove", first)):
        done = gain("keyring", *arguments)
        assert done.returncode == 0, done.stderr
    [second] = ids(ring)
    assert await logged(database) == [
        ("alteration", "keyring.added", second),
        ("alteration", "keyring.rotated", second),
        ("alteration", "keyring.removed", first),
    ]


async def test_a_ring_whose_change_cannot_be_logged_stays_as_it_was(gain: Gain, ring: Path, database: Database) -> None:
    await change(database, "ALTER TABLE audit_event RENAME TO gone")
    assert gain("keyring", "add").returncode != 0
    assert ring.read_text() == RING


async def test_a_refused_removal_is_not_told_as_one(gain: Gain, ring: Path, database: Database) -> None:
    assert gain("keyring", "remove", ids(ring)[0]).returncode != 0
    assert await logged(database) == []


@pytest.mark.parametrize("register", ["keys", "users"])
async def test_whoever_lists_keys_or_people_by_command_is_logged(
    gain: Gain, cast: Cast, database: Database, register: str
) -> None:
    if register == "keys":
        await cast.key("HMRC")
    else:
        gain("users", "add", "TARIAN", "desk@tarian.example", "--name", "Dana Desk")
    done = gain(register, "list")
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()[1:]
    action = {"keys": "keys.listed", "users": "accounts.listed"}[register]
    query = "SELECT operation, party, actor, detail FROM audit_event WHERE action = :action"
    [event] = await rows(database, query, action=action)
    assert (event["operation"], event["party"]) == ("consultation", "GAIN")
    assert event["actor"].startswith("command:")
    assert event["detail"] == {"ids": [line.split("\t")[0 if register == "keys" else -1]]}
