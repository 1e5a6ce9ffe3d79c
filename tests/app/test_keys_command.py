"""`gain keys …`: a key alone on stdout, a register that shows none, rotation and revocation by id."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from app.access.keys import parse
from app.access.policy import Role
from app.cli import cli
from app.crypto.keyring import Bare, new_ring
from app.db import Database
from app.runtime.refusal import StartRefused
from app.settings import Settings
from tests.acts import eventually, rows
from tests.conftest import SECRET, Cast

Gain = Callable[..., subprocess.CompletedProcess[str]]
HEAD = "id\tparty\trole\tcreated\texpires\tlast used\trevoked\tscope\tnetworks\treplaces\tlabel"


@pytest.fixture
def gain(database_url: str, tmp_path: Path) -> Gain:
    """Runs `gain keys …` on the test's database."""
    variables = {"PATH": os.environ["PATH"], "GAIN_DATABASE_URL": database_url}
    variables["PYTHONPATH"] = str(Path(__file__).parents[2])

    def run(*arguments: str, environment: str = "development") -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "app.cli", "keys", *arguments, "--data-dir", str(tmp_path)]
        env = {**variables, "GAIN_ENVIRONMENT": environment, "GAIN_SECRET": os.environ.get("GAIN_SECRET", SECRET)}
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)

    return run


def printed(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    return line


def id_of(key: str) -> str:
    parsed = parse(key)
    assert parsed is not None
    return parsed[0]


async def status_of(cast: Cast, key: str) -> int:
    client: httpx.AsyncClient = cast.client({"Authorization": f"Bearer {key}"})
    return (await client.get("/v1/inbox")).status_code


async def test_the_life_of_a_key_by_command(gain: Gain, cast: Cast, database: Database) -> None:
    limits = ["--scope", "read", "--scope", "answer", "--network", "127.0.0.0/8", "--expires-in-days", "30"]
    old = printed(gain("issue", "HMRC", *limits, "--label", "desk"))
    id = id_of(old)
    assert await status_of(cast, old) == 200

    listed = gain("list", "--party", "HMRC").stdout.splitlines()
    assert listed[0] == HEAD
    entry = dict(zip(listed[0].split("\t"), listed[1].split("\t"), strict=True))
    assert (entry["id"], entry["scope"], entry["networks"], entry["label"]) == (
        id,
        "answer,read_inbox,read_policy",
        "127.0.0.0/8",
        "desk",
    )
    assert old.split("_")[3] not in str(listed)

    new = printed(gain("rotate", id, "--overlap-hours", "1"))
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


async def test_production_does_not_start_with_keys_of_a_demonstration_in_force(
    gain: Gain, configuration: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    production = {
        "ENVIRONMENT": "production",
        "DATABASE_URL": configuration.database_url,
        "BROKER_URL": "none",
        "SECRET": secrets.token_urlsafe(48),
        "KEY_RING": new_ring(Bare()).text(),
    }
    for name, value in production.items():
        monkeypatch.setenv(f"GAIN_{name}", value)
    monkeypatch.setattr("app.cli._check_database", lambda *_: None)  # it refuses the servers of tests: they forget

    monkeypatch.setattr("app.runtime.gateway.serve", lambda *_: None)

    def start() -> BaseException | None:
        """Why the gateway does not start."""
        return CliRunner().invoke(cli, ["serve"]).exception

    def key(environment: str) -> str:
        return id_of(printed(gain("issue", "HMRC", environment=environment)))

    key("production")
    assert await asyncio.to_thread(start) is None
    ours, revoked = key("development"), key("development")
    gain("revoke", revoked)
    refused = await asyncio.to_thread(start)
    assert isinstance(refused, StartRefused)
    assert f"keys of a demonstration or a test: {ours}. Revoke them" in str(refused)


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
