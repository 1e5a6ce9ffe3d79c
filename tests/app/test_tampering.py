"""The tamper table: the database's owner, every trigger off, changes the sealed log. Each change is found and named."""

# ruff: noqa: S608  the statements are made of others that stand here

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from app.audit import checkpoints, prune
from app.audit.entry import COLUMNS, commit, commitment, hashed, salt_of
from app.audit.note import Signer
from app.audit.pruned import PRUNED, Declaration
from app.audit.record import Actor, Event, Operation, record
from app.audit.seal import seal_all
from app.audit.tree import Frontier
from app.audit.verify import Tampered, Verified, verify
from app.crypto.keys import Keys
from app.db import Connection, Database
from tests.acts import change, rows
from tests.conftest import SECRET

SIGNER = Signer.of(Keys(SECRET.encode()), "gain.test/audit")
FORGER = Signer.of(Keys(b"the secret of somebody else, who forges logs"), "gain.test/audit")
SIZES = (300, 600)
ENTRIES = SIZES[-1] + 20
"""What is sealed; the last 20 entries are after the last checkpoint."""


@dataclass(frozen=True, slots=True)
class Log:
    """A sealed and signed log, and the file that its checkpoints went to."""

    database: Database
    file: Path

    async def verified(self, *, with_file: bool = True) -> Verified:
        """Recompute the log."""
        async with self.database.engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")
            async with connection.begin():
                return await verify(connection, [SIGNER.key], self.file if with_file else None)

    async def owner_does(self, *statements: str) -> None:
        """Change the database as its owner, past every trigger."""
        async with self.database.transaction() as connection:
            await connection.execute(text("SET LOCAL session_replication_role = replica"))
            for statement in statements:
                await connection.execute(text(statement))

    async def rewritten(self, *, keep_checkpoints: bool = False) -> None:
        """As the owner who knows the program: make leaves, nodes and head of what the events are now."""
        async with self.database.transaction() as connection:
            await connection.execute(text("SET LOCAL session_replication_role = replica"))
            await _rewrite(connection)
            if not keep_checkpoints:
                await connection.execute(text("DELETE FROM audit_checkpoint"))


async def _rewrite(connection: Connection) -> None:
    statement = f"SELECT sequence, {COLUMNS} FROM audit_entry JOIN audit_event ON id = event_id ORDER BY sequence"
    found = (await connection.execute(text(statement))).all()
    leaves = [hashed(row[1:], number) for number, row in enumerate(found)]
    frontier = Frontier()
    tiles = frontier.extend(leaves)
    await connection.execute(text("DELETE FROM audit_entry"))
    await connection.execute(text("DELETE FROM audit_node"))
    await connection.execute(
        text("INSERT INTO audit_entry (sequence, event_id, leaf) VALUES (:sequence, :event, :leaf)"),
        [
            {"sequence": number, "event": row.id, "leaf": leaf}
            for number, (row, leaf) in enumerate(zip(found, leaves, strict=True))
        ],
    )
    for node, known in tiles:
        await connection.execute(
            text("INSERT INTO audit_node (level, place, hash) VALUES (:level, :place, :hash)"),
            {"level": node.level, "place": node.place, "hash": known},
        )
    await connection.execute(
        text("UPDATE audit_head SET size = :size, frontier = :frontier"),
        {"size": frontier.size, "frontier": frontier.pack()},
    )


async def _sign(database: Database, file: Path) -> None:
    async with database.transaction() as connection:
        signed = await checkpoints.sign(connection, SIGNER)
    assert signed is not None
    checkpoints.append(file, signed)


async def _write(database: Database, start: int, end: int) -> None:
    events = [Event(Operation.CONSULTATION, f"read.{number}", detail={"n": number}) for number in range(start, end)]
    async with database.transaction() as connection:
        await record(connection, Actor("SWP", "a key", "request-1"), events)


@pytest.fixture
async def log(database: Database, tmp_path: Path) -> Log:
    """A log with two checkpoints, entries after them, one id that was given out and rolled back, one unsealed event."""
    file = tmp_path / "checkpoints.jsonl"
    await _write(database, 0, 300)
    await seal_all(database)
    await _sign(database, file)
    async with database.engine.connect() as connection:
        await connection.execute(text("SELECT nextval('audit_event_id_seq')"))
    await _write(database, 300, 600)
    await seal_all(database)
    await _sign(database, file)
    await _write(database, 600, ENTRIES)
    await seal_all(database)
    await seal_all(database)
    await _write(database, ENTRIES, ENTRIES + 1)
    return Log(database, file)


async def test_a_whole_log_verifies(log: Log) -> None:
    found = await log.verified()
    assert (found.size, found.unsigned, found.pruned, found.waiting) == (ENTRIES, 20, 0, 1)


INSERT = "INSERT INTO audit_event (id, operation, action, party, actor) OVERRIDING SYSTEM VALUE VALUES "
NTH = "(SELECT event_id FROM audit_entry WHERE sequence = {})"
SHIFT = (
    "UPDATE audit_entry SET sequence = -sequence WHERE sequence >= 400",
    "UPDATE audit_entry SET sequence = 1 - sequence WHERE sequence < 0",
)

# What the owner does, and the entry that verification names first.
TABLE: dict[str, tuple[Sequence[str], int | None, str]] = {
    "edit who": (["UPDATE audit_event SET party = 'GMP' WHERE id = " + NTH.format(17)], 17, "not the one"),
    "edit when": (
        ["UPDATE audit_event SET at = at - interval '1 us' WHERE id = " + NTH.format(450)],
        450,
        "not the one",
    ),
    "edit what": (["UPDATE audit_event SET detail = '{\"n\": 18}' WHERE id = " + NTH.format(17)], 17, "not the one"),
    "edit after the last checkpoint": (
        ["UPDATE audit_event SET actor = 'x' WHERE id = " + NTH.format(610)],
        610,
        "not the one",
    ),
    "edit a leaf": (["UPDATE audit_entry SET leaf = sha256('x') WHERE sequence = 17"], 17, "not the one"),
    "delete an event": (["DELETE FROM audit_event WHERE id = " + NTH.format(17)], 17, "is missing"),
    "delete an entry": (["DELETE FROM audit_entry WHERE sequence = 17"], 17, "is missing"),
    "delete an event and its entry": (
        ["DELETE FROM audit_event WHERE id = " + NTH.format(17), "DELETE FROM audit_entry WHERE sequence = 17"],
        17,
        "is missing",
    ),
    "delete and close the gap": (
        [
            "DELETE FROM audit_event WHERE id = " + NTH.format(17),
            "DELETE FROM audit_entry WHERE sequence = 17",
            "UPDATE audit_entry SET sequence = -sequence WHERE sequence > 17",
            "UPDATE audit_entry SET sequence = -sequence - 1 WHERE sequence < 0",
        ],
        17,
        "not the one",
    ),
    "reorder two events": (
        [
            "UPDATE audit_entry SET event_id = -event_id WHERE sequence IN (17, 18)",
            "UPDATE audit_entry SET event_id = 19 WHERE sequence = 17",
            "UPDATE audit_entry SET event_id = 18 WHERE sequence = 18",
        ],
        17,
        "not the one",
    ),
    "reorder two entries": (
        [
            "UPDATE audit_entry SET sequence = -1 WHERE sequence = 317",
            "UPDATE audit_entry SET sequence = 317 WHERE sequence = 318",
            "UPDATE audit_entry SET sequence = 318 WHERE sequence = -1",
        ],
        317,
        "not the one",
    ),
    "truncate the events": (["TRUNCATE audit_event CASCADE"], 0, "is missing"),
    "truncate the entries": (["TRUNCATE audit_entry"], 0, "is missing"),
    "truncate everything but the checkpoints": (
        [
            "TRUNCATE audit_event, audit_entry, audit_node CASCADE",
            "UPDATE audit_head SET size = 0, frontier = '', sealed_to = 0",
        ],
        0,
        "is missing",
    ),
    "cut the end off": (["DELETE FROM audit_entry WHERE sequence >= 610"], 610, "were sealed"),
    "insert an event into a gap": ([INSERT + "(301, 'disclosure', 'x', 'SWP', 'x')"], None, "event 301"),
    "insert an event before all others": ([INSERT + "(0, 'disclosure', 'x', 'SWP', 'x')"], None, "event 0"),
    "insert an event beyond the last": ([INSERT + "(99999, 'disclosure', 'x', 'SWP', 'x')"], None, "event 99999"),
    "insert an entry": (
        [
            *SHIFT,
            INSERT + "(301, 'disclosure', 'x', 'SWP', 'x')",
            "INSERT INTO audit_entry (sequence, event_id, leaf) VALUES (400, 301, sha256('x'))",
        ],
        400,
        "not the one",
    ),
    "change a stored hash": (["UPDATE audit_node SET hash = sha256('x') WHERE place = 1"], 256, "entries 256 to 511"),
    "lose a stored hash": (["DELETE FROM audit_node WHERE place = 0"], 0, "entries 0 to 255"),
    "add a stored hash": (
        ["INSERT INTO audit_node (level, place, hash) VALUES (16, 0, sha256('x'))"],
        None,
        "no entries",
    ),
    "lose the head": (["DELETE FROM audit_head"], None, "audit_head"),
    "change the head": (["UPDATE audit_head SET frontier = frontier || sha256('x')"], None, "audit_head"),
    "set the head back": (["UPDATE audit_head SET size = 600"], 600, "were sealed"),
    "change a checkpoint": (
        ["UPDATE audit_checkpoint SET note = replace(note, '300', '301') WHERE size = 300"],
        None,
        "checkpoint of 300",
    ),
    "move a checkpoint": (["UPDATE audit_checkpoint SET size = 299 WHERE size = 300"], None, "another size"),
    "claim that content was pruned": (
        ["UPDATE audit_head SET pruned = 100", "DELETE FROM audit_event WHERE id <= 50"],
        0,
        "no pruning",
    ),
}


async def test_tampering_after_sealing_is_found_and_the_first_bad_entry_named(log: Log) -> None:
    """The whole table on one log: each change is undone after it was found, with the file and without.

    `pytest tests/app/test_tampering.py -k named -s` prints it.
    """
    print()
    for case, (statements, entry, why) in TABLE.items():
        for file in (None, log.file):
            finding = await _found(log, statements, file)
            assert finding is not None, f"{case} is not found"
            assert (case, finding.entry) == (case, entry)
            assert re.search(why, str(finding)), f"{case}: {finding}"
            if file:
                named = "no entry of its own" if entry is None else f"entry {entry}"
                print(f"{case:<42} found, {named}: {finding}")
    assert (await log.verified()).size == ENTRIES


async def _found(log: Log, statements: Sequence[str], file: Path | None) -> Tampered | None:
    async with log.database.engine.connect() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            await connection.execute(text(statement))
        try:
            await verify(connection, [SIGNER.key], file)
        except Tampered as finding:
            return finding
        finally:
            await connection.rollback()
    return None


REWRITES: dict[str, tuple[Sequence[str], int]] = {
    "edit": (["UPDATE audit_event SET party = 'GMP' WHERE id = " + NTH.format(317)], 300),
    "delete": (["DELETE FROM audit_event WHERE id = " + NTH.format(317)], 300),
    "insert": (
        [
            *SHIFT,
            INSERT + "(301, 'disclosure', 'x', 'SWP', 'x')",
            "INSERT INTO audit_entry (sequence, event_id, leaf) VALUES (400, 301, '')",
        ],
        300,
    ),
    "truncate": (["DELETE FROM audit_event WHERE id >= " + NTH.format(500)], 500),
}


@pytest.mark.parametrize("case", REWRITES)
async def test_an_owner_who_rewrites_the_whole_tree_breaks_a_signed_promise(log: Log, case: str) -> None:
    """Every hash made anew: what was signed is not, and the range between two checkpoints is named."""
    statements, entry = REWRITES[case]
    await log.owner_does(*statements)
    await log.rewritten(keep_checkpoints=True)
    with pytest.raises(Tampered, match="promises") as finding:
        await log.verified(with_file=False)
    assert finding.value.entry == entry


@pytest.mark.parametrize("case", REWRITES)
async def test_with_the_stored_checkpoints_gone_too_the_file_tells(log: Log, case: str) -> None:
    statements, entry = REWRITES[case]
    await log.owner_does(*statements)
    await log.rewritten()
    with pytest.raises(Tampered, match=r"checkpoints\.jsonl line 2") as finding:
        await log.verified()
    assert finding.value.entry == entry


FURTHER = Declaration.of(SIGNER, 20, datetime(2026, 1, 1, tzinfo=UTC)).detail() | {"to": 50}
OTHERS = Declaration.of(FORGER, 50, datetime(2026, 1, 1, tzinfo=UTC)).detail()
FORGED: dict[str, tuple[dict[str, Any] | None, str]] = {
    "as an earlier version wrote it": ({"to": 50, "before": "2026-01-01T00:00:00+00:00"}, "not signed"),
    "without detail": (None, "not signed"),
    "a real one, made to reach further": (FURTHER, "no known key"),
    "signed with another secret": (OTHERS, "no known key"),
    "signed with nothing": ({"to": 50, "before": "", "signature": ""}, "no known key"),
    "signed with no base64": ({"to": 50, "before": "", "signature": "%"}, "no known key"),
    "no number": ({"to": "50", "before": "", "signature": ""}, "not signed"),
    "a checkpoint's signature": (
        {"to": 50, "before": "", "signature": SIGNER.sign(50, bytes(32)).split()[-1]},
        "no known key",
    ),
}


@pytest.mark.parametrize("case", FORGED)
async def test_a_pruning_that_the_databases_owner_declares_is_told_and_its_event_named(log: Log, case: str) -> None:
    """He has it sealed and signed as any event is, raises the mark, and deletes what nobody is to read."""
    detail, why = FORGED[case]
    async with log.database.transaction() as connection:
        await record(connection, Actor("GAIN", "operator nobody"), [Event(Operation.ERASURE, PRUNED, detail=detail)])
    await seal_all(log.database)
    await _sign(log.database, log.file)
    await log.owner_does(
        "UPDATE audit_head SET pruned = 50",
        "DELETE FROM audit_event WHERE id IN (SELECT event_id FROM audit_entry WHERE sequence < 50)",
    )
    for with_file in (True, False):
        with pytest.raises(Tampered, match=rf"declares a pruning, and .*{why}") as finding:
            await log.verified(with_file=with_file)
        assert finding.value.entry == ENTRIES + 1


async def test_a_pruning_that_the_secret_declares_verifies_with_the_public_key_alone(log: Log) -> None:
    async with log.database.transaction() as connection:
        await prune.declare(connection, Actor("GAIN", "operator"), SIGNER, 50, datetime(2026, 1, 1, tzinfo=UTC), "")
    await seal_all(log.database)
    async with log.database.transaction() as connection:
        await prune.delete(connection, 0, 50)
    assert (await log.verified()).pruned == 50
    await log.owner_does("DELETE FROM audit_event WHERE id = " + NTH.format(50))
    with pytest.raises(Tampered, match="entry 50: its event"):
        await log.verified()


async def test_what_no_checkpoint_outside_covers_is_the_residual_risk(log: Log) -> None:
    """Stated in docs/audit.md: an owner who removes every checkpoint within reach can rewrite the log unseen."""
    await log.owner_does("UPDATE audit_event SET party = 'GMP' WHERE id = " + NTH.format(317))
    await log.rewritten()
    await log.verified(with_file=False)


async def test_another_key_cannot_sign_for_the_log(log: Log) -> None:
    await log.owner_does("UPDATE audit_event SET party = 'GMP' WHERE id = " + NTH.format(17))
    await log.rewritten()
    async with log.database.transaction() as connection:
        await checkpoints.sign(connection, FORGER)
    with pytest.raises(Tampered, match="no known key"):
        await log.verified(with_file=False)


async def test_two_lines_of_the_file_in_the_other_order_are_no_finding_and_a_false_one_among_them_is(log: Log) -> None:
    first, second = log.file.read_text().splitlines(keepends=True)
    log.file.write_text(second + first)
    await log.verified()
    false = SIGNER.sign(300, bytes(32)).replace("\n", "\\n")
    log.file.write_text(f'{second}{{"at": "", "checkpoint": "{false}"}}\n')
    with pytest.raises(Tampered, match="line 2"):
        await log.verified()


@pytest.mark.parametrize("line", ["", "{}", "no JSON", '{"checkpoint": 7}', '{"checkpoint": "unsigned"}'])
async def test_a_damaged_file_of_checkpoints_is_told(log: Log, line: str) -> None:
    log.file.write_text(log.file.read_text() + line + "\n")
    with pytest.raises(Tampered, match="line 3"):
        await log.verified()


@pytest.mark.parametrize("left", [1, 30, 150, -2])
async def test_a_line_that_was_cut_off_is_told_as_unfinished_and_the_next_one_stands_for_itself(
    log: Log, left: int
) -> None:
    """A full disk or a power cut leaves part of the last line, and the next scheduler writes after it."""
    first, second = log.file.read_bytes().splitlines(keepends=True)
    log.file.write_bytes(first + second[:left])
    assert (await log.verified()).unfinished == (2,)
    await log.owner_does("DELETE FROM audit_checkpoint WHERE size > 300")
    await _sign(log.database, log.file)
    found = await log.verified()
    assert (found.unfinished, found.unsigned) == ((2,), 0)
    await log.owner_does("UPDATE audit_event SET party = 'GMP' WHERE id = " + NTH.format(610))
    await log.rewritten()
    with pytest.raises(Tampered, match=r"checkpoints\.jsonl line 3"):
        await log.verified()


async def test_a_line_that_lacks_its_end_alone_counts(log: Log) -> None:
    log.file.write_bytes(log.file.read_bytes().rstrip(b"\n"))
    assert (await log.verified()).unfinished == ()
    await log.owner_does("DELETE FROM audit_checkpoint WHERE size > 300")
    await _sign(log.database, log.file)
    assert len(log.file.read_bytes().splitlines()) == 3
    assert (await log.verified()).unfinished == ()


async def test_disposal_of_what_was_said_keeps_the_proofs(log: Log) -> None:
    private = commit({"purpose": "Mr Quillfeather asked", "name": "Quillfeather"})
    event = Event(Operation.CONSULTATION, "searched", private=private)
    async with log.database.transaction() as connection:
        await record(connection, Actor("SWP", "a key"), [event])
    await seal_all(log.database)
    [row] = await rows(
        log.database,
        "SELECT salt, commitments, CAST(audit_event AS text) AS whole "
        "FROM audit_salt JOIN audit_event ON id = event_id",
    )
    assert row["commitments"]["purpose"] == commitment(salt_of(row["salt"], "purpose"), "Mr Quillfeather asked")
    assert "Quillfeather" not in row["whole"]
    before = await log.verified()
    await change(log.database, "DELETE FROM audit_salt")
    assert await log.verified() == before
