"""Pruning: old content goes, every proof stays, and only a beginning of the log that the log itself tells of.

And of a log that was tampered with nothing is pruned.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.audit import checkpoints, export, prove, prune
from app.audit.note import Signer
from app.audit.pruned import PRUNED
from app.audit.record import Actor, Event, Operation, record
from app.audit.seal import seal_all
from app.audit.tree import verify_inclusion
from app.audit.verify import Tampered
from app.audit.verify_export import ExportRefused, verify_export
from app.crypto.keys import Keys
from app.db import Database
from app.runtime.auditing import prune_log, verify_log
from app.runtime.refusal import StartRefused
from app.settings import Settings
from tests.acts import change, rows
from tests.conftest import RING, SECRET
from tests.invariants import InvariantsBroken, audit_tree_verifies

OPERATOR = Actor("GAIN", "operator somebody")
SIGNER = Signer.of(Keys(SECRET.encode()), Settings.model_fields["log_origin"].default)
A_YEAR_AGO = datetime.now(UTC) - timedelta(days=365)
LATER = datetime(9000, 1, 1, tzinfo=UTC)


@pytest.fixture
async def old(database: Database) -> Database:
    """A sealed log of 500 entries, one for each of the last 500 days."""
    await change(
        database,
        "INSERT INTO audit_event (operation, action, party, actor, at) SELECT 'consultation', 'old', 'SWP', 'x', "
        "now() - (500 - n) * interval '1 day' FROM generate_series(0, 499) AS n",
    )
    await seal_all(database)
    return database


async def declared(database: Database, before: datetime) -> int:
    """Allow and log the pruning of what is older."""
    async with database.engine.connect() as snapshot:
        await snapshot.execution_options(isolation_level="REPEATABLE READ")
        to = await prune.boundary(snapshot, before, [SIGNER.key])
    async with database.transaction() as connection:
        await prune.declare(connection, OPERATOR, SIGNER, to, before, "no longer needed")
    return to


async def deleted(database: Database, to: int | None = None) -> int:
    """Delete what may go, or everything before `to`."""
    async with database.transaction() as connection:
        allowed = await prune.allowed(connection, [SIGNER.key]) if to is None else to
        number, following = await prune.delete(connection, 0, allowed)
    assert following is None
    return number


async def test_the_content_goes_and_the_proofs_stay(old: Database) -> None:
    async with old.transaction() as connection:
        root = await prove.root(connection, 500)
        path = await prove.inclusion(connection, 7, 500)
    to = await declared(old, A_YEAR_AGO)
    assert to == 135
    await seal_all(old)
    assert await deleted(old) == to
    await audit_tree_verifies(old)
    [row] = await rows(old, "SELECT leaf FROM audit_entry WHERE sequence = 7")
    async with old.transaction() as connection:
        assert await prove.inclusion(connection, 7, 500) == path
    assert verify_inclusion(row["leaf"], 7, 500, path, root)
    assert (await rows(old, "SELECT count(*) AS number FROM audit_event"))[0]["number"] == 500 - to + 1


async def test_the_proof_of_an_entry_that_was_pruned_carries_what_declares_that(old: Database, tmp_path: Path) -> None:
    await declared(old, A_YEAR_AGO)
    await seal_all(old)
    await deleted(old)
    async with old.transaction() as connection:
        signed = await checkpoints.sign(connection, SIGNER)
        assert signed is not None
        proof = await export.one(connection, 7, signed, SIGNER.key)
    file = tmp_path / "proof.jsonl"
    file.write_bytes(proof)
    found = verify_export(file, [SIGNER.key])
    assert (found.entries, found.pruned, found.pruned_to, found.declared_by) == (2, 1, 135, 500)
    file.write_bytes(b"".join(proof.splitlines(keepends=True)[:-1]))
    with pytest.raises(ExportRefused, match="entry 7: its content is missing"):
        verify_export(file, [SIGNER.key])


async def test_a_second_pruning_may_take_the_first_ones_own_entry(old: Database) -> None:
    await declared(old, A_YEAR_AGO)
    await seal_all(old)
    await deleted(old)
    await declared(old, LATER)
    await seal_all(old)
    assert await deleted(old) == 500 - 135 + 1
    await audit_tree_verifies(old)


async def test_a_pruning_that_was_killed_half_way_is_no_finding_and_is_finished_later(old: Database) -> None:
    to = await declared(old, A_YEAR_AGO)
    await audit_tree_verifies(old)  # nothing is deleted yet
    async with old.transaction() as connection:
        assert await prune.is_sealed(connection)
        await prune.delete(connection, 100 - prune.BATCH, to)
    await audit_tree_verifies(old)
    assert await deleted(old) == to - 100
    await audit_tree_verifies(old)


async def test_more_than_the_log_tells_of_is_found(old: Database) -> None:
    """The owner raises the mark further than what was logged."""
    to = await declared(old, A_YEAR_AGO)
    await seal_all(old)
    await change(old, "UPDATE audit_head SET pruned = 200")
    assert await deleted(old, 200) == 200
    with pytest.raises(InvariantsBroken, match=rf"entry {to}: .* no pruning that took it"):
        await audit_tree_verifies(old)


async def test_the_first_that_was_stolen_is_named_and_none_that_was_pruned(old: Database) -> None:
    """The owner raises the mark past what was pruned, and takes two."""
    await declared(old, A_YEAR_AGO)
    await seal_all(old)
    await deleted(old)
    await owner_does(
        old,
        "WITH mark AS (UPDATE audit_head SET pruned = 200) DELETE FROM audit_event WHERE id IN "
        "(SELECT event_id FROM audit_entry WHERE sequence IN (150, 180))",
    )
    with pytest.raises(InvariantsBroken, match=r"entry 150: .* no pruning that took it"):
        await audit_tree_verifies(old)


async def test_what_nobody_with_the_secret_declared_is_not_deleted_by_the_program_either(old: Database) -> None:
    """The owner logs a pruning and raises the mark; a later `gain audit prune` neither heeds it nor makes it good."""
    async with old.transaction() as connection:
        await record(connection, OPERATOR, [Event(Operation.ERASURE, PRUNED, detail={"to": 400, "before": "2026"})])
    await change(old, "UPDATE audit_head SET pruned = 400")
    await seal_all(old)
    async with old.transaction() as connection:
        assert await prune.allowed(connection, [SIGNER.key]) == 0
    with pytest.raises(Tampered, match="declares a pruning, and it is not signed"):
        await declared(old, A_YEAR_AGO)


async def test_a_new_secret_declares_anew_and_deletes_no_more_than_it_declared(old: Database) -> None:
    await declared(old, A_YEAR_AGO)
    renewed = Signer.of(Keys(b"the next master secret, of which nobody knows"), SIGNER.key.name)
    async with old.transaction() as connection:
        assert await prune.allowed(connection, [renewed.key]) == 0
        assert await prune.declare(connection, OPERATOR, renewed, 135, A_YEAR_AGO, "")
        assert await prune.allowed(connection, [renewed.key]) == 135


async def test_what_is_to_stay_cannot_be_deleted_even_while_pruning(old: Database) -> None:
    await declared(old, A_YEAR_AGO)
    async with old.engine.connect() as connection:
        await connection.execute(prune._ALLOW)
        with pytest.raises(DBAPIError):
            await connection.exec_driver_sql("DELETE FROM audit_event WHERE id = 400")


async def test_pruning_again_is_no_second_event(old: Database) -> None:
    await declared(old, A_YEAR_AGO)
    async with old.transaction() as connection:
        assert not await prune.declare(connection, OPERATOR, SIGNER, 100, A_YEAR_AGO, "")
    found = await rows(old, "SELECT operation, detail FROM audit_event WHERE action = 'audit.pruned'")
    assert [row["operation"] for row in found] == ["erasure"]
    assert found[0]["detail"]["to"] == 135


# What the owner does, past every trigger, to entries that a routine pruning would then take with it.
UNSEEN = {
    "deletes": ("DELETE FROM audit_event WHERE id IN ({})", "entry 120: its event"),
    "deletes, and raises the mark": (
        "WITH mark AS (UPDATE audit_head SET pruned = 200) DELETE FROM audit_event WHERE id IN ({})",
        "entry 120: .* no pruning that took it",
    ),
    "dates back": (
        "UPDATE audit_event SET at = at - interval '400 days' WHERE id IN ({})",
        "entry 120: .* not the one",
    ),
}
TAKEN = "SELECT event_id FROM audit_entry WHERE sequence BETWEEN 120 AND 180"

Pruning = Callable[..., Awaitable[int]]


@pytest.fixture
def pruned(old: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pruning:
    """`gain audit prune` of the old log; its data directory is `tmp_path`."""
    monkeypatch.setenv("GAIN_DATABASE_URL", database_url)
    monkeypatch.setenv("GAIN_SECRET", SECRET)
    monkeypatch.setenv("GAIN_KEY_RING", RING)

    async def run(before: datetime = A_YEAR_AGO, *keys: str, dry_run: bool = False) -> int:
        return await asyncio.to_thread(prune_log, tmp_path, before, "", list(keys), dry_run=dry_run, say=print)

    return run


async def owner_does(database: Database, statement: str) -> None:
    """Change the log as the database's owner, past every trigger."""
    async with database.transaction() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        await connection.execute(text(statement))


async def declarations(database: Database) -> int:
    """How many prunings the log tells of."""
    return len(await rows(database, "SELECT id FROM audit_event WHERE action = 'audit.pruned'"))


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("case", UNSEEN)
async def test_what_the_databases_owner_took_is_not_signed_away_as_pruned(
    old: Database, pruned: Pruning, case: str, dry_run: bool
) -> None:
    statement, why = UNSEEN[case]
    await owner_does(old, statement.format(TAKEN))
    left = await rows(old, "SELECT count(*) AS number FROM audit_event")
    with pytest.raises(StartRefused, match=f"nothing was pruned, .*{why}"):
        await pruned(dry_run=dry_run)
    assert await declarations(old) == 0
    assert await rows(old, "SELECT count(*) AS number FROM audit_event") == left


async def test_what_the_file_of_checkpoints_accuses_is_not_pruned_either(pruned: Pruning, tmp_path: Path) -> None:
    signed = checkpoints.Signed(400, LATER, SIGNER.sign(400, bytes(32)))
    checkpoints.append(tmp_path / "checkpoints.jsonl", signed)
    with pytest.raises(StartRefused, match=r"checkpoints\.jsonl line 1 promises"):
        await pruned()


async def test_a_log_that_verifies_is_pruned_and_a_year_later_again(
    old: Database, pruned: Pruning, tmp_path: Path
) -> None:
    assert await pruned(dry_run=True) == 135
    assert await declarations(old) == 0
    assert await pruned() == 135
    assert await pruned() == 0
    assert await pruned(A_YEAR_AGO + timedelta(days=100)) == 100
    found = await asyncio.to_thread(verify_log, tmp_path, [], print)
    assert found.verified.pruned == 235


async def test_a_log_pruned_under_an_earlier_secret_is_pruned_by_who_names_its_public_key(
    old: Database, pruned: Pruning, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert await pruned() == 135
    monkeypatch.setenv("GAIN_SECRET", "the next master secret, of which nobody knows")
    again = A_YEAR_AGO + timedelta(days=100)
    with pytest.raises(StartRefused, match=r"no known key has signed it .*--key"):
        await pruned(again)
    assert await pruned(again, str(SIGNER.key)) == 100
    found = await asyncio.to_thread(verify_log, tmp_path, [str(SIGNER.key)], print)
    assert found.verified.pruned == 235
