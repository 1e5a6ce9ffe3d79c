"""`gain audit verify` as the shipped `verify` service runs it: as the auditor, with a file of checkpoints named."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.audit import checkpoints
from app.audit.note import Signer
from app.audit.record import Actor, Event, Operation, record
from app.audit.seal import seal_all
from app.audit.verify import Tampered
from app.crypto.keys import Keys
from app.db import Database
from app.runtime.auditing import Proof, verify_log
from app.runtime.refusal import StartRefused
from app.runtime.roles import AUDITOR
from app.settings import Settings
from tests.conftest import RING, SECRET, signed_in

SIGNER = Signer.of(Keys(SECRET.encode()), Settings.model_fields["log_origin"].default)

Verifying = Callable[[], Awaitable[Proof]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the file of checkpoints is, or would be."""
    return tmp_path / "elsewhere" / "checkpoints.jsonl"


@pytest.fixture
async def verified(
    database: Database, database_url: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Verifying:
    """The command on a log of one entry; it says nothing but what it finds, and makes nothing."""
    monkeypatch.setenv("GAIN_DATABASE_URL", signed_in(database_url, AUDITOR))
    monkeypatch.setenv("GAIN_SECRET", SECRET)
    monkeypatch.setenv("GAIN_KEY_RING", RING)
    monkeypatch.setenv("GAIN_CHECKPOINT_FILE", str(file))
    async with database.transaction() as connection:
        await record(connection, Actor("SWP", "x"), [Event(Operation.CONSULTATION, "read")])
    await seal_all(database)

    def silent(words: str) -> None:
        raise AssertionError(words)

    return lambda: asyncio.to_thread(verify_log, tmp_path / "none", [], silent)


async def test_an_auditor_compares_the_log_with_the_file_that_the_scheduler_wrote(
    database: Database, verified: Verifying, file: Path
) -> None:
    file.parent.mkdir()
    async with database.transaction() as connection:
        signed = await checkpoints.sign(connection, SIGNER)
    assert signed is not None
    checkpoints.append(file, signed)
    assert (await verified()).verified.unsigned == 0
    checkpoints.append(file, checkpoints.Signed(1, datetime.now(UTC), SIGNER.sign(1, bytes(32))))
    with pytest.raises(Tampered, match=r"checkpoints\.jsonl line 2 promises"):
        await verified()


async def test_a_file_that_is_named_and_not_there_is_refused_and_not_passed_over(
    verified: Verifying, file: Path
) -> None:
    with pytest.raises(StartRefused, match=r"GAIN_CHECKPOINT_FILE: .* is not there: bring the file"):
        await verified()
    assert not file.parent.exists()
