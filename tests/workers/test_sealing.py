"""The sealer at work: what is committed is sealed and signed by itself, into a file, and before a witness's eyes."""

import asyncio
import contextlib
import json
import threading
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from app.audit import witness
from app.audit.note import Checkpoint, NotSigned, Signer, VerifierKey, read
from app.audit.record import Actor, Event, Operation, record
from app.audit.seal import NoHead
from app.audit.tree import EMPTY_ROOT, verify_consistency
from app.crypto.keys import Keys
from app.db import Database
from app.settings import Settings
from tests.acts import change, eventually, rows
from tests.conftest import SECRET
from tests.invariants import audit_tree_verifies
from workers.tasks.scheduler import Scheduler
from workers.tasks.seal import Sealing


async def logged(database: Database, count: int = 1) -> None:
    """Write events."""
    events = [Event(Operation.CONSULTATION, "referral.read")] * count
    async with database.transaction() as connection:
        await record(connection, Actor("SWP", "a key"), events)


async def unsealed(database: Database) -> int:
    """How many events are no entries."""
    found = await rows(database, "SELECT (SELECT count(*) FROM audit_event) - size AS number FROM audit_head")
    return int(found[0]["number"])


def promised(file: Path, key: VerifierKey) -> list[Checkpoint]:
    """The checkpoints in a file, each signed."""
    return [read(json.loads(line)["checkpoint"], [key]) for line in file.read_text().splitlines()]


def key_of(as_worker: Settings) -> VerifierKey:
    """The key of this broker's log."""
    return Signer.of(Keys(SECRET.encode()), as_worker.log_origin).key


async def test_what_is_committed_is_sealed_within_five_seconds_and_signed_when_the_scheduler_ends(
    as_worker: Settings, database: Database
) -> None:
    scheduler = Scheduler(as_worker)
    running = asyncio.create_task(scheduler.run())
    for _ in range(3):
        await logged(database, 100)

        async def sealed() -> bool:
            return await unsealed(database) == 0

        await eventually(sealed, seconds=5)
    await logged(database)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await scheduler.close()
    assert await unsealed(database) == 0
    file = as_worker.data_dir / "checkpoints.jsonl"
    assert promised(file, key_of(as_worker))[-1].size == 301
    await audit_tree_verifies(database, file=file)


async def test_two_schedulers_seal_one_log(as_worker: Settings, database: Database) -> None:
    sealers = [asyncio.create_task(Sealing(as_worker, database).run()) for _ in range(2)]
    for _ in range(20):
        await logged(database, 20)

    async def sealed() -> bool:
        return await unsealed(database) == 0

    await eventually(sealed, seconds=5)
    for sealer in sealers:
        sealer.cancel()
    await asyncio.wait(sealers)
    await audit_tree_verifies(database)


async def test_the_first_entries_are_signed_at_once_then_every_minute_in_which_the_log_grew(
    as_worker: Settings, database: Database
) -> None:
    sealing = Sealing(as_worker, database)
    for _ in range(3):
        await sealing.round()
        await logged(database)
    sizes = "SELECT size FROM audit_checkpoint ORDER BY size"
    assert [row["size"] for row in await rows(database, sizes)] == [0, 1]
    await change(database, "ALTER TABLE audit_checkpoint DISABLE TRIGGER ALL")
    await change(database, "UPDATE audit_checkpoint SET at = at - interval '61 s'")
    for _ in range(3):
        await sealing.round()
    assert [row["size"] for row in await rows(database, sizes)] == [0, 1, 3]


async def test_a_file_that_cannot_be_written_stops_nothing(as_worker: Settings, database: Database) -> None:
    nowhere = as_worker.model_copy(update={"checkpoint_file": as_worker.data_dir / "no" / "such" / "file"})
    await logged(database)
    await Sealing(nowhere, database).round(every=0)
    assert (await rows(database, "SELECT max(size) AS size FROM audit_checkpoint"))[0]["size"] == 1


async def test_a_sealer_without_its_head_seals_nothing_and_goes_on_when_it_is_back(
    as_worker: Settings, database: Database
) -> None:
    await change(database, "ALTER TABLE audit_head DISABLE TRIGGER ALL")
    await change(database, "CREATE TABLE kept AS SELECT * FROM audit_head")
    await change(database, "DELETE FROM audit_head")
    await logged(database)
    with pytest.raises(NoHead):
        await Sealing(as_worker, database).round()
    sealing = asyncio.create_task(Sealing(as_worker, database).run())
    await change(database, "INSERT INTO audit_head SELECT * FROM kept")

    async def sealed() -> bool:
        return await unsealed(database) == 0

    await eventually(sealed)
    sealing.cancel()
    await asyncio.wait([sealing])


_FLOOD = 256 * 1024 * 1024


class WitnessServer(ThreadingHTTPServer):
    """A witness as C2SP tlog-witness has it: it countersigns what is consistent with what it has seen."""

    def __init__(self, log_key: VerifierKey) -> None:
        super().__init__(("127.0.0.1", 0), _WitnessHandler)
        self.log_key = log_key
        self.seen = Checkpoint(log_key.name, 0, EMPTY_ROOT)
        self.answers: list[int] = []
        self.redirect = ""
        self.flood = False
        self.flooded = 0
        self.signer = Signer("witness.test", Ed25519PrivateKey.from_private_bytes(bytes(32)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _WitnessHandler(BaseHTTPRequestHandler):
    server: WitnessServer

    def do_POST(self) -> None:
        if self.server.flood:
            self._flood()
            return
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        status, kind, text = self._judged(body) if self.path == "/add-checkpoint" else (404, "text/plain", "")
        if self.server.redirect:
            status, kind, text = 307, "text/plain", ""
        self.server.answers.append(status)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if self.server.redirect:
            self.send_header("Location", self.server.redirect)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def _flood(self) -> None:
        """Answer without end, and count what the other side takes before it has enough."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            while self.server.flooded < _FLOOD:
                self.server.flooded += self.wfile.write("— witness.test AAAA\n".encode() * 2_000)
        self.close_connection = True

    def _judged(self, body: str) -> tuple[int, str, str]:
        head, _, note = body.partition("\n\n")
        old, *proof = head.split("\n")
        seen = self.server.seen
        try:
            new = read(note, [self.server.log_key])
        except NotSigned:
            return 403, "text/plain", ""
        if old != f"old {seen.size}":
            return 409, "text/x.tlog.size", f"{seen.size}\n"
        if not verify_consistency(seen.size, new.size, seen.root, new.root, [b64decode(line) for line in proof]):
            return 422, "text/plain", ""
        self.server.seen = new
        return 200, "text/plain", self.server.signer.sign(new.size, new.root).rpartition("\n\n")[2]

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def witness_server(as_worker: Settings) -> Iterator[WitnessServer]:
    """A witness that trusts this broker's key."""
    server = WitnessServer(key_of(as_worker))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
async def sealing(as_worker: Settings, database: Database, witness_server: WitnessServer) -> AsyncIterator[Sealing]:
    """A sealer that has a witness."""
    made = Sealing(as_worker.model_copy(update={"witness_url": witness_server.url}), database)
    yield made
    await made.finish()


async def standing(database: Database, server: WitnessServer) -> witness.Standing:
    """How the witness stands."""
    async with database.transaction() as connection:
        return await witness.standing(connection, server.url)


async def test_a_witness_countersigns_each_checkpoint(
    sealing: Sealing, database: Database, witness_server: WitnessServer
) -> None:
    for size in (3, 6, 9):
        await logged(database, 3)
        await sealing.finish()
        assert witness_server.seen.size == size
    found = await standing(database, witness_server)
    assert (found.size, found.failing_since) == (9, None)
    [row] = await rows(database, "SELECT signatures FROM audit_witness")
    note = Signer.of(Keys(SECRET.encode()), witness_server.log_key.name).sign(9, witness_server.seen.root)
    own = Checkpoint(witness_server.log_key.name, 9, witness_server.seen.root)
    assert row["signatures"].startswith("— witness.test ")
    assert read(note, [witness_server.log_key]) == own
    assert witness_server.answers == [200, 200, 200]


async def test_a_witness_that_has_seen_more_than_we_remember_says_from_where(
    sealing: Sealing, database: Database, witness_server: WitnessServer
) -> None:
    await logged(database, 5)
    await sealing.finish()
    await change(database, "DELETE FROM audit_witness")
    await logged(database, 5)
    await sealing.finish()
    assert witness_server.answers == [200, 409, 200]
    assert (await standing(database, witness_server)).size == 10


async def test_a_witness_does_not_sign_a_log_that_was_rewritten(
    sealing: Sealing, database: Database, witness_server: WitnessServer
) -> None:
    await logged(database, 5)
    await sealing.finish()
    async with database.transaction() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))
        for table in ("audit_entry", "audit_node", "audit_checkpoint"):
            await connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608
        await connection.execute(text("UPDATE audit_event SET party = 'GMP'"))
        await connection.execute(
            text("UPDATE audit_head SET size = 0, frontier = '', sealed_to = 0, closing = 0, holes = '{}'")
        )
    await logged(database)
    await sealing.finish()
    assert witness_server.answers == [200, 422]
    found = await standing(database, witness_server)
    assert found.failing_since is not None
    assert found.failure == "it answers 422"
    assert found.size == 5


async def test_a_redirect_is_not_followed_and_a_dead_witness_holds_nothing_up(
    sealing: Sealing, database: Database, witness_server: WitnessServer
) -> None:
    witness_server.redirect = f"{witness_server.url}/add-checkpoint"
    await logged(database)
    await sealing.finish()
    assert witness_server.answers == [307]
    assert (await standing(database, witness_server)).failure == "it answers 307"
    witness_server.redirect = ""
    await logged(database)
    await sealing.finish()
    found = await standing(database, witness_server)
    assert (found.size, found.failure) == (2, None)


async def test_of_a_witness_that_answers_without_end_no_more_is_read_than_a_witness_may_say(
    sealing: Sealing, database: Database, witness_server: WitnessServer
) -> None:
    witness_server.flood = True
    await logged(database)
    await sealing.finish()

    async def has_given_up() -> bool:
        return (await standing(database, witness_server)).failure == "its answer is too long"

    await eventually(has_given_up, seconds=30)
    # What lay in the sockets' buffers was sent for nothing; the flood itself was not.
    assert witness_server.flooded < _FLOOD // 4
    witness_server.flood = False
    await logged(database)
    await sealing.finish()
    assert (await standing(database, witness_server)).failure is None


@pytest.mark.parametrize("text", ["", "— \n", "— witness.test AAAA", "— witness.test AAAA\n\0\n", "no\n"])
async def test_what_is_no_signature_line_is_not_kept_as_one(
    sealing: Sealing, database: Database, witness_server: WitnessServer, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(_WitnessHandler, "_judged", lambda _self, _body: (200, "text/plain", text))
    await logged(database)
    await sealing.finish()
    found = await standing(database, witness_server)
    assert (found.size, found.failure) == (0, "its answer holds no signature")
