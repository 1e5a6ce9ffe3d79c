"""`gain keys …`: a key alone on stdout, a register that shows none, rotation and revocation by id."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app.access.keys import parse
from app.access.policy import Role
from app.db import Database
from tests.acts import eventually, rows
from tests.conftest import SECRET, Cast

Gain = Callable[..., subprocess.CompletedProcess[str]]
HEAD = "id\tparty\trole\tcreated\texpires\tlast used\trevoked\tscope\tnetworks\treplaces\tlabel"


@pytest.fixture
def gain(database_url: str, tmp_path: Path) -> Gain:
    """Runs `gain keys …` on the test's database."""
    environment = {"PATH": os.environ["PATH"], "GAIN_DATABASE_URL": database_url, "GAIN_SECRET": SECRET}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "app.cli", "keys", *arguments, "--data-dir", str(tmp_path)]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60)

    return run


def printed(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    return line


async def status_of(cast: Cast, key: str) -> int:
    client: httpx.AsyncClient = cast.client({"Authorization": f"Bearer {key}"})
    return (await client.get("/v1/inbox")).status_code


async def test_the_life_of_a_key_by_command(gain: Gain, cast: Cast, database: Database) -> None:
    limits = ["--scope", "read", "--scope", "answer", "--network", "127.0.0.0/8", "--expires-in-days", "30"]
    old = printed(gain("issue", "HMRC", *limits, "--label", "desk"))
    parsed = parse(old)
    assert parsed is not None
    assert await status_of(cast, old) == 200

    listed = gain("list", "--party", "HMRC").stdout.splitlines()
    assert listed[0] == HEAD
    entry = dict(zip(listed[0].split("\t"), listed[1].split("\t"), strict=True))
    assert (entry["id"], entry["scope"], entry["networks"], entry["label"]) == (
        parsed[0],
        "answer,read_inbox,read_policy",
        "127.0.0.0/8",
        "desk",
    )
    assert parsed[1] not in str(listed)

    new = printed(gain("rotate", parsed[0], "--overlap-hours", "1"))
    assert [await status_of(cast, key) for key in (old, new)] == [200, 200]
    assert gain("revoke", old).returncode == 0

    async def over() -> bool:
        return [await status_of(cast, key) for key in (old, new)] == [401, 200]

    await eventually(over, 2)
    assert len(gain("list").stdout.splitlines()) == 2
    assert len(gain("list", "--all").stdout.splitlines()) == 3
    log = await rows(database, "SELECT action, party, actor FROM audit_event WHERE action LIKE 'key.%' ORDER BY id")
    assert [entry["action"] for entry in log] == ["key.issued", "key.rotated", "key.revoked"]
    assert {entry["party"] for entry in log} == {"GAIN"}
    assert all(entry["actor"].startswith("command:") for entry in log)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("issue", "NOBODY"), "there is no party with the code 'NOBODY'"),
        (("issue", "HMRC", "--role", Role.NATIONAL.value), "a key of HMRC may have the role agency or originator, not"),
        (
            ("issue", "HMRC", "--scope", "everything"),
            "a scope of agency is made of read, answer, decide_consent, manage_policy, read_inbox",
        ),
        (("issue", "HMRC", "--network", "10.4.0.1/16"), "a network is written like 10.4.0.0/16"),
        (("rotate", "nosuchkey000"), "there is no such key"),
        (("revoke", "nosuchkey000"), "there is no such key"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(gain: Gain, arguments: tuple[str, ...], told: str) -> None:
    done = gain(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"gain: {told}")
