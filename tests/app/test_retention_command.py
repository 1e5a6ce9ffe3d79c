"""`gain retention …`: due, review, dispose, hold and lift by reference; and a disposal that is killed half way."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import orjson
import pytest
from uuid_utils.compat import uuid7

from app import clock
from app.audit.record import Actor
from app.db import Database
from app.referrals.accept import Submission, accept
from tests.acts import actions, change, eventually, rows, submitted
from tests.conftest import RING, SECRET, Cast, referral
from tests.invariants import audit_tree_verifies, check

Gain = Callable[..., subprocess.CompletedProcess[str]]
BATCH = 200
COUNT = "SELECT count(*) AS number FROM referral WHERE disposed_at IS NOT NULL"


@pytest.fixture
def environment(database_url: str) -> Mapping[str, str]:
    """The settings of a command on the test's database."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "GAIN_DATABASE_URL": database_url,
        "GAIN_SECRET": SECRET,
        "GAIN_KEY_RING": RING,
    }


@pytest.fixture
def gain(environment: Mapping[str, str], tmp_path: Path) -> Gain:
    """Runs `gain retention …` on the test's database; `code` is the exit code it must have."""

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "app.cli", "retention", *arguments, "--data-dir", str(tmp_path)]
        done = subprocess.run(argv, env=dict(environment), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


async def _ended(cast: Cast, count: int) -> list[str]:
    """References of cancelled referrals."""
    force = await cast.play("SWP")
    made = [await submitted(force) for _ in range(count)]
    for one in made:
        await force.post(f"/v1/referrals/{one['id']}/cancel", json={"reason": "not needed"})
    return [one["reference"] for one in made]


async def disposed(database: Database) -> int:
    return int((await rows(database, COUNT))[0]["number"])


async def test_from_due_to_gone_by_command(gain: Gain, cast: Cast, database: Database) -> None:
    first, second, third = await _ended(cast, 3)
    assert gain("due").stdout.splitlines()[1:] == []
    until = str(clock.now().date() + timedelta(366 * 11))
    listed = gain("due", "--until", until)
    head, *lines = [line.split("\t") for line in listed.stdout.splitlines()]
    assert head[0] == "reference"
    assert {line[0] for line in lines} == {first, second, third}
    found = [json.loads(line) for line in gain("due", "--until", until, "--json").stdout.splitlines()]
    assert {(row["reference"], row["mopi_group"]) for row in found} == {(first, 1), (second, 1), (third, 1)}

    assert "has not come" in gain("review", first, "--dispose", code=1).stderr
    assert "there is no referral GAIN-2026-999999" in gain("review", "GAIN-2026-999999", "--dispose", code=1).stderr
    gain("review", first, code=2)
    gain("review", first, second, "--dispose", "--reviewed", "--reason", "Quillfeather is of no use any more")
    gain("review", third, "--keep-until", until)
    gain("hold", second, "--reason", "a court asks")
    assert "on legal hold already" in gain("hold", second, "--reason", "again", code=1).stderr

    before = await rows(database, "SELECT referral::text, updated_at FROM referral")
    logged = await actions(database)
    assert "1 referrals would be disposed of" in gain("dispose", "--dry-run").stderr
    assert await rows(database, "SELECT referral::text, updated_at FROM referral") == before
    assert await actions(database) == logged

    told = gain("dispose").stderr
    assert "1 referrals disposed of; complete once every backup" in told
    [gone] = await rows(database, "SELECT reference, retention_group FROM referral WHERE disposed_at IS NOT NULL")
    assert gone == {"reference": first, "retention_group": 1}
    gain("lift", second, "--reason", "the court has what it needs")
    assert "1 referrals disposed of" in gain("dispose").stderr
    assert "disposed of already" in gain("review", first, "--dispose", "--reviewed", code=1).stderr
    async with database.transaction() as connection:
        await check(connection)
    await audit_tree_verifies(database)


async def test_a_review_of_several_is_written_down_for_all_or_none(gain: Gain, cast: Cast, database: Database) -> None:
    [ended] = await _ended(cast, 1)
    going_on = (await submitted(await cast.play("SWP")))["reference"]
    told = gain("review", ended, going_on, "--dispose", "--reviewed", code=1).stderr
    assert f"{going_on}: it is still open; nothing was written down" in told
    assert await rows(database, "SELECT referral_id FROM retention WHERE dispose") == []


async def _many(database: Database, count: int) -> None:
    """So many referrals, cancelled, reviewed and to be disposed of."""
    document, respond_by = orjson.dumps(referral()), clock.now() + timedelta(14)
    ids: list[UUID] = [uuid7() for _ in range(count)]
    owner = Actor("SWP", "test")
    async with database.transaction() as connection:
        made = [Submission(key, owner, "TARIAN", 2, ["fraud"], ["HMRC"], document, respond_by) for key in ids]
        await accept(connection, made)
    await change(database, "UPDATE referral SET state = 'cancelled'")
    await change(
        database,
        "INSERT INTO audit_event (operation, action, party, actor, referral_id) "
        "SELECT 'alteration', 'referral.cancelled', 'SWP', 'test', id FROM referral",
    )
    await change(
        database,
        "INSERT INTO retention (referral_id, mopi_group, release, closed_at, review_on, dispose) "
        "SELECT id, 3, 1, updated_at, '2020-01-01', true FROM referral",
    )


async def _slow_down(database: Database) -> None:
    """A batch takes more than a second, so that a signal meets it in the middle of one."""
    await change(
        database,
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ "
        "BEGIN PERFORM pg_sleep(0.006); RETURN OLD; END $$",
    )
    await change(database, "CREATE TRIGGER dawdle BEFORE DELETE ON data_key FOR EACH ROW EXECUTE FUNCTION dawdle()")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_disposal_that_is_ended_half_way_leaves_each_referral_whole_or_gone(
    environment: Mapping[str, str], gain: Gain, database: Database, number: int, code: int
) -> None:
    await _many(database, 5 * BATCH)
    await _slow_down(database)
    argv = [sys.executable, "-m", "app.cli", "retention", "dispose"]
    process = subprocess.Popen(argv, env=dict(environment), stderr=subprocess.PIPE, text=True)
    try:

        async def begun() -> bool:
            assert process.poll() is None
            return await disposed(database) >= BATCH

        await eventually(begun, 30)
        process.send_signal(number)
        _, told = await asyncio.to_thread(process.communicate, timeout=20)
    finally:
        process.kill()
    assert process.returncode == code, told
    assert "Traceback" not in told
    if number != signal.SIGKILL:
        assert "start it again to go on" in told
    gone = await disposed(database)
    assert gone < 5 * BATCH
    assert gone % BATCH == 0
    await change(database, "DROP TRIGGER dawdle ON data_key")
    async with database.transaction() as connection:
        await check(connection)
    assert f"{5 * BATCH - gone} referrals disposed of" in gain("dispose").stderr
    assert await disposed(database) == 5 * BATCH
    async with database.transaction() as connection:
        await check(connection)
    await audit_tree_verifies(database)


async def test_without_the_right_key_ring_nothing_is_reviewed_or_disposed_of(
    environment: Mapping[str, str], cast: Cast, database: Database, tmp_path: Path
) -> None:
    await _ended(cast, 1)
    wrong = {**environment, "GAIN_KEY_RING": "ring-of-tests:" + "B" * 43}
    argv = [sys.executable, "-m", "app.cli", "retention", "due", "--data-dir", str(tmp_path)]
    done = subprocess.run(argv, env=wrong, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "the key ring lacks a key, or has a wrong one" in done.stderr
    assert await rows(database, "SELECT referral_id FROM retention") == []
