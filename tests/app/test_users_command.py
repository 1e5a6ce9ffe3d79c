"""`gain users`, as an operator gives it, against a real database."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.access.accounts.register import Invited, find
from app.db import AS_ADMINISTRATOR, Database
from app.runtime.refusal import StartRefused
from app.runtime.users import refuse_demonstration
from app.settings import Settings
from tests.acts import rows
from tests.app.people import Someone, set_up, sign_in
from tests.browser import ORIGIN, submit
from tests.conftest import RING, SECRET, Cast

ROOT = Path(__file__).parents[2]


class Gain:
    """The command line on the fresh database."""

    def __init__(self, url: str) -> None:
        self._environment = {
            "PATH": os.environ["PATH"],
            "GAIN_DATABASE_URL": url,
            "GAIN_SECRET": SECRET,
            "GAIN_KEY_RING": RING,
        }

    def __call__(self, *words: str, code: int = 0) -> tuple[str, str]:
        """What a command prints on stdout and on stderr."""
        argv = [sys.executable, "-m", "app.cli", "users", *words]
        done = subprocess.run(argv, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr


@pytest.fixture
def gain(database_url: str) -> Gain:
    return Gain(database_url)


async def test_an_operator_adds_somebody_who_signs_in_and_is_reset_locked_and_removed(
    gain: Gain, cast: Cast, as_owner: Settings
) -> None:
    username = "ceri@tarian.example"
    out, told = gain("add", "TARIAN", "Ceri@Tarian.example", "--name", "Ceri Example")
    assert len(out.strip()) == 19
    assert username in told
    assert out.strip() not in told
    opened = Database(as_owner)
    async with opened.transaction(AS_ADMINISTRATOR) as connection:
        row = await find(connection, username)
    assert row is not None
    someone = await set_up(cast.client(ORIGIN), Invited(row.id, username, out.strip()))
    listed, _ = gain("list", "--party", "TARIAN")
    assert listed.splitlines()[1].split("\t")[:4] == [username, "TARIAN", "coordinator", "active"]
    gain("lock", username)
    assert (await sign_in(cast.client(ORIGIN), someone)).status_code == 401
    gain("unlock", username)
    assert (await sign_in(cast.client(ORIGIN), someone)).status_code == 303
    assert len(gain("reset", username)[0].strip()) == 19
    assert (await sign_in(cast.client(ORIGIN), someone)).status_code == 401
    gain("remove", username)
    assert len(gain("list")[0].splitlines()) == 1
    assert "removed" in gain("list", "--all")[0]
    query = "SELECT action, actor FROM audit_event WHERE party = 'GAIN' AND operation <> 'consultation' ORDER BY id"
    log = await rows(opened, query)
    assert [row["action"].removeprefix("account.") for row in log] == [
        *("added", "locked", "unlocked", "reset", "removed")
    ]
    assert all(row["actor"].startswith("command:") for row in log)
    await opened.close()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("add", "NOWHERE", "a@b.example", "--name", "A"), "there is no party"),
        (("add", "SWP", "a@b.example", "--name", "A", "--role", "auditor"), "may have the role originator"),
        (("add", "SWP", "not an address", "--name", "A"), "like an address of email"),
        (("add", "SWP", "a@b.example", "--name", " "), "1 to 100 characters"),
        (("reset", "nobody@b.example"), "there is no such user"),
        (("lock", "nobody@b.example"), "there is no such user"),
        (("unlock", "nobody@b.example"), "there is no such user"),
        (("remove", "nobody@b.example"), "there is no such user"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(gain: Gain, words: tuple[str, ...], told: str) -> None:
    out, said = gain(*words, code=1)
    assert out == ""
    assert told in said
    assert len(said.splitlines()) == 1


async def test_an_operator_makes_somebody_a_manager_who_changes_the_policy_until_that_ends(
    gain: Gain, cast: Cast, as_owner: Settings
) -> None:
    username = "dana@hmrc.example"
    code = gain("add", "HMRC", username, "--name", "Dana Desk")[0].strip()
    opened = Database(as_owner)
    async with opened.transaction(AS_ADMINISTRATOR) as connection:
        row = await find(connection, username)
    assert row is not None
    browser = cast.client(ORIGIN)
    await set_up(browser, Invited(row.id, username, code))
    assert (await browser.get("/my-policy/change")).status_code == 403
    gain("manager", username)
    policy = {"accepts": "all", "working_days": "1", "notices_per_day": "7"}
    assert (await submit(browser, "/my-policy/change", policy)).headers["location"].startswith("/my-policy")
    gain("manager", username, "--end")
    assert (await browser.get("/my-policy/change")).status_code == 403
    log = await rows(opened, "SELECT action FROM audit_event WHERE action LIKE 'account.manager_%' ORDER BY id")
    assert [row["action"] for row in log] == ["account.manager_made", "account.manager_ended"]
    assert "no such user" in gain("manager", "nobody@hmrc.example", code=1)[1]
    await opened.close()


def test_a_user_name_is_one_persons(gain: Gain) -> None:
    gain("add", "SWP", "a@b.example", "--name", "A")
    assert "taken" in gain("add", "GWP", "A@b.example", "--name", "B", code=1)[1]


async def test_people_of_the_demonstration_sign_in_and_production_does_not_start_with_them(
    gain: Gain, cast: Cast, as_owner: Settings
) -> None:
    lines = [line.split("\t") for line in gain("demonstrate")[0].splitlines()]
    assert [line[1:3] for line in lines] == [
        ["TARIAN", "coordinator"],
        ["SWP", "originator"],
        ["HMRC", "agency"],
        ["GAIN", "auditor"],
    ]
    homes = []
    for username, _, _, password, secret in lines:
        answer = await sign_in(cast.client(ORIGIN), Someone(username, "", password, secret.encode()))
        homes.append(answer.headers["location"])
    assert homes == ["/", "/my-referrals", "/my-inbox", "/log"]
    real = as_owner.model_copy(update={"environment": "production", "secret": SecretStr(SECRET)})
    with pytest.raises(StartRefused, match=r"accounts of the demonstration: .*analyst@swp\.example"):
        await asyncio.to_thread(refuse_demonstration, real)
    await asyncio.to_thread(refuse_demonstration, as_owner)
    gain("demonstrate")  # again: the same people, with other secrets
    assert len(gain("list")[0].splitlines()) == 5
