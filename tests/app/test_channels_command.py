"""`gain channels …`: who runs the broker sets, shows, rotates and mends how agencies are told, and the log says so."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.audit.record import Actor
from app.crypto.keys import Keys
from app.crypto.webhooks import webhook_public_key, webhook_secret
from app.db import Database
from app.parties import reference
from app.parties.channels import load, retire
from app.parties.codes import Channel
from app.settings import Settings
from tests.acts import rows
from tests.app.test_reference_data import next_release
from tests.conftest import RING, SECRET
from tests.invariants import audit_tree_verifies

Gain = Callable[..., subprocess.CompletedProcess[str]]
Line = dict[str, str]

URL = "https://hub.hmrc.example/gain"
WORKER = Actor("GAIN", "worker")
LOG = "SELECT operation, party, actor, action, detail FROM audit_event WHERE action LIKE 'channel%' ORDER BY id"
STATE = """
    SELECT code, channel, channel_set_at, url, version, address FROM party
      LEFT JOIN push_endpoint AS endpoint ON endpoint.agency = code
      LEFT JOIN email_mailbox AS mailbox ON mailbox.agency = code
     ORDER BY code
"""


@pytest.fixture
def gain(configuration: Settings, tmp_path: Path) -> Gain:
    """Runs `gain channels …` on the test's database, signed in as the gateway is."""
    given = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "GAIN_DATABASE_URL": configuration.database_url,
        "GAIN_SECRET": SECRET,
        "GAIN_KEY_RING": RING,
        "GAIN_PUSH_HOSTS": "hub.hmrc.example",
        "GAIN_SMTP_URL": "smtp://mail.example",
        "GAIN_EMAIL_FROM": "gain@gain.example",
    }

    def run(*words: str, code: int = 0, **settings: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "app.cli", "channels", *words, "--data-dir", str(tmp_path)]
        done = subprocess.run(argv, env={**given, **settings}, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stderr
        return done

    return run


def line_of(gain: Gain, agency: str) -> Line:
    """What the list says of an agency."""
    head, *lines = [line.split("\t") for line in gain("list").stdout.splitlines()]
    return next(dict(zip(head, line, strict=True)) for line in lines if line[0] == agency)


def shown(version: int, agency: str = "HMRC") -> list[str]:
    """What an agency verifies with, as the worker derives it."""
    keys = Keys(SECRET.encode())
    return [webhook_secret(keys, agency, version), webhook_public_key(keys, agency, version)]


async def log(database: Database) -> list[tuple[str, str, Any]]:
    """What the log has of channels, all of it by an operator's command."""
    found = await rows(database, LOG)
    assert all(row["party"] == "GAIN" and row["actor"].startswith("command:") for row in found)
    return [(row["operation"], row["action"], row["detail"]) for row in found]


async def test_an_agency_is_pushed_to_and_is_given_what_it_verifies_with(gain: Gain, database: Database) -> None:
    done = gain("push", "HMRC", URL)
    assert done.stdout.splitlines() == shown(1)
    assert [word in done.stdout for word in ("whsec_", "whpk_")] == [True, True]
    assert not [word for word in done.stdout.split() if word in done.stderr]
    async with database.transaction() as connection:
        [contact] = await load(connection)
    assert (contact.agency, contact.channel, contact.address, contact.versions) == ("HMRC", "push", URL, (1,))
    assert line_of(gain, "HMRC") == {
        **{"agency": "HMRC", "channel": "push", "address": "hub.hmrc.example"},
        **{"ended": "-", "why": "-", "secret": "1"},
    }
    assert gain("secret", "HMRC").stdout.splitlines() == shown(1)
    detail = {"agency": "HMRC", "channel": "push"}
    assert await log(database) == [
        ("alteration", "channel.set", {**detail, "host": "hub.hmrc.example"}),
        ("consultation", "channel.secret_read", {**detail, "version": 1}),
        ("consultation", "channels.listed", None),
        ("consultation", "channel.secret_read", {**detail, "version": 1}),
    ]
    await audit_tree_verifies(database)


async def test_a_secret_is_rotated_with_an_overlap_or_at_once(gain: Gain, database: Database) -> None:
    gain("push", "HMRC", URL)
    assert gain("rotate", "HMRC", "--overlap-hours", "48").stdout.splitlines() == shown(2)
    assert line_of(gain, "HMRC")["secret"].startswith("2, 1 until 2")
    [row] = await rows(database, "SELECT previous_until - now() AS left FROM push_endpoint")
    assert 47 * 3600 < row["left"].total_seconds() <= 48 * 3600
    assert gain("rotate", "HMRC", "--at-once").stdout.splitlines() == shown(3)
    assert line_of(gain, "HMRC")["secret"] == "3"
    assert gain("push", "HMRC", URL).stdout.splitlines() == shown(3), "another URL keeps the secret"
    gain("rotate", "HMRC", "--at-once", "--overlap-hours", "1", code=2)
    rotated = {"agency": "HMRC", "channel": "push", "host": "hub.hmrc.example"}
    assert [entry for entry in await log(database) if entry[1] == "channel.secret_rotated"] == [
        ("alteration", "channel.secret_rotated", rotated),
        ("alteration", "channel.secret_rotated", rotated),
    ]


async def test_an_agency_is_written_to_and_its_mailbox_is_in_neither_list_nor_log(
    gain: Gain, database: Database
) -> None:
    assert gain("email", "EA", "dana.desk@ea.example").stdout == ""
    told = line_of(gain, "EA")
    assert (told["channel"], told["address"], told["secret"]) == ("email", "d…@ea.example", "-")
    async with database.transaction() as connection:
        [contact] = await load(connection)
    assert (contact.agency, contact.channel, contact.address) == ("EA", "email", "dana.desk@ea.example")
    [entry, _] = await log(database)
    assert entry == ("alteration", "channel.set", {"agency": "EA", "channel": "email"})
    assert "dana" not in gain("list").stdout


async def test_an_agency_that_is_told_no_more_works_from_its_inbox(gain: Gain, database: Database) -> None:
    gain("push", "HMRC", URL)
    gain("inbox", "HMRC")
    told = line_of(gain, "HMRC")
    assert (told["channel"], told["address"], told["secret"]) == ("inbox", "-", "-")
    async with database.transaction() as connection:
        assert await load(connection) == []
    assert ("alteration", "channel.set", {"agency": "HMRC", "channel": "inbox"}) in await log(database)


@pytest.mark.parametrize(
    ("channel", "address", "reason"),
    [("push", URL, "the endpoint answered 410"), ("email", "desk@hmrc.example", "the mailbox was refused (550)")],
)
async def test_what_ended_is_seen_and_mended(
    gain: Gain, database: Database, channel: str, address: str, reason: str
) -> None:
    gain(channel, "HMRC", address)
    async with database.transaction() as connection:
        assert await retire(connection, WORKER, "HMRC", address, reason)
    told = line_of(gain, "HMRC")
    assert told["why"] == reason
    assert told["ended"].endswith("Z")
    gain(channel, "HMRC", address)
    told = line_of(gain, "HMRC")
    assert (told["ended"], told["why"]) == ("-", "-")
    async with database.transaction() as connection:
        [contact] = await load(connection)
    assert contact.ended is None


NO_HOST = (
    "this address cannot be used. The host hub.dvla.example is not on the list of approved hosts (GAIN_PUSH_HOSTS)."
)
NO_PARTY = "there is no party with the code 'NOBODY'"
NOT_ASKED = "SWP is no body that is asked"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("push", "HMRC", "https://hub.dvla.example/gain"), NO_HOST),
        (("push", "HMRC", "http://hub.hmrc.example/gain"), "this address cannot be used. It must be https."),
        (("push", "NOBODY", URL), NO_PARTY),
        (("push", "SWP", URL), NOT_ASKED),
        (("push", "TARIAN", URL), "TARIAN is no body that is asked"),
        (("email", "HMRC", "nobody"), "this address cannot be used. It must be a plain mailbox"),
        (("email", "NOBODY", "desk@a.example"), NO_PARTY),
        (("email", "SWP", "desk@a.example"), NOT_ASKED),
        (("inbox", "NOBODY"), NO_PARTY),
        (("inbox", "SWP"), NOT_ASKED),
        (("secret", "NOBODY"), NO_PARTY),
        (("secret", "SWP"), NOT_ASKED),
        (("secret", "HMRC"), "no push endpoint is set for HMRC"),
        (("rotate", "NOBODY"), NO_PARTY),
        (("rotate", "SWP"), NOT_ASKED),
        (("rotate", "HMRC"), "no push endpoint is set for HMRC"),
    ],
)
async def test_what_cannot_be_is_told_in_one_line_and_changes_nothing(
    gain: Gain, database: Database, words: tuple[str, ...], told: str
) -> None:
    before = await rows(database, STATE)
    done = gain(*words, code=1)
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith(f"gain: {told}")
    assert await rows(database, STATE) == before
    assert await log(database) == []


async def test_without_a_mail_server_nobody_is_written_to(gain: Gain, database: Database) -> None:
    before = await rows(database, STATE)
    done = gain("email", "HMRC", "desk@hmrc.example", code=1, GAIN_SMTP_URL="", GAIN_EMAIL_FROM="")
    assert done.stderr == (
        "gain: nobody can be written to: set GAIN_EMAIL_FROM, and GAIN_SMTP_URL for those who send\n"
    )
    assert await rows(database, STATE) == before


async def test_what_was_set_outlives_new_reference_data(gain: Gain, database: Database) -> None:
    gain("push", "HMRC", URL)
    gain("inbox", "DVLA")
    first = next_release(reference.load(), channel=Channel.EMAIL, name="Vehicle Agency")
    async with database.transaction() as connection:
        await reference.seed(connection, first)
        await reference.seed(connection, next_release(first, channel=Channel.PUSH))
    assert [line_of(gain, code)["channel"] for code in ("HMRC", "DVLA")] == ["push", "inbox"]
    [dvla] = await rows(database, "SELECT name FROM party WHERE code = 'DVLA'")
    assert dvla["name"] == "Vehicle Agency", "all else is the release's"
