"""The audit log of a data directory at the command line: verify, export, prune, whether or not its system runs."""

import asyncio
import getpass
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from app.administration import log_words
from app.audit import checkpoints, prune
from app.audit.checkpoints import Signed
from app.audit.entry import commit
from app.audit.export import Filters, lines
from app.audit.note import NotSigned, Signer, VerifierKey
from app.audit.record import Actor, Event, Operation, record
from app.audit.seal import seal_all
from app.audit.verify import Tampered, Verified, verify
from app.audit.verify_export import Export, ExportRefused, verify_export
from app.crypto.keys import Keys
from app.db import AS_AUDITOR, AS_OWNER, Connection, Database, act
from app.runtime.moment import database_of
from app.runtime.reach import needing_database
from app.runtime.refusal import StartRefused, refusing
from app.settings import Settings

T = TypeVar("T")
Say = Callable[[str], None]

_PATIENCE_SECONDS = 60.0
_PROGRESS_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Proof:
    """What a verified log comes to, and its latest signed checkpoint."""

    verified: Verified
    note: str


def verify_log(data_dir: Path, trusted: list[str], say: Say) -> Proof:
    """Recompute the whole log. Raises `Tampered` with the first bad entry, `StartRefused` where it cannot be read.

    `trusted` are verifier keys of earlier secrets, beside the present one's.
    """
    keys = [_key(line) for line in trusted]

    async def work(database: Database, settings: Settings, signer: Signer) -> Proof:
        file = _to_compare(settings, data_dir, say)
        async with _snapshot(database) as connection:
            found = await verify(connection, [signer.key, *keys], file, _progress(say))
            last = await checkpoints.latest(connection)
        return Proof(found, last.note if last else signer.sign(found.size, found.root))

    return _with_log(data_dir, work)


def export_log(data_dir: Path, output: Path, filters: Filters, recipient: str, reason: str, say: Say) -> int:
    """Write the log to a file (0600), whole or a selection; returns the number of entries the checkpoint covers.

    The disclosure to `recipient` is itself logged first, so that and the selection's party are codes that the log's
    readers know, and no words. Raises `StartRefused`.
    """
    event = Event(
        Operation.DISCLOSURE,
        "audit.exported",
        recipients=[recipient],
        detail=filters.detail(),
        private=commit({"reason": reason}) if reason else None,
    )

    async def work(database: Database, settings: Settings, signer: Signer) -> int:
        async with database.transaction(AS_OWNER) as connection:
            await _refuse_words(connection, {"--recipient": recipient, "--party": filters.party})
            await record(connection, operator(), [event])
        signed = await _seal_and_sign(database, settings, data_dir, signer)
        with refusing(f"write {output}"):
            draft = output.with_name(f"{output.name}.{os.getpid()}.new")
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                async with _snapshot(database) as connection, _snapshot(database) as proving:
                    async for line in lines(connection, proving, filters, signed, signer.key):
                        file.write(line)
            draft.replace(output)
        return signed.size

    return _with_log(data_dir, work)


def check_export(file: Path, trusted: list[str], say: Say) -> Export:
    """Verify an exported log; needs nothing but the file and the public keys of the log. Raises `StartRefused`.

    Without `trusted` the key that the file itself names is believed.
    """
    try:
        with refusing(f"read {file}"):
            return verify_export(file, [_key(line) for line in trusted], _progress(say))
    except ExportRefused as refusal:
        raise StartRefused(str(refusal)) from refusal


def prune_log(
    data_dir: Path, before: datetime | None, reason: str, trusted: list[str], *, dry_run: bool, say: Say
) -> int:
    """Delete the content of the entries before a time (UTC), or older than the settings keep them; returns how many.

    First the log is verified (`trusted` as in `verify_log`); then it says so, and that is sealed and signed; what a
    killed run has left is deleted too. Raises `StartRefused`, also where the log was tampered with.
    """
    keys = [_key(line) for line in trusted]

    async def work(database: Database, settings: Settings, signer: Signer) -> int:
        moment = before or _kept_since(settings)
        file = _to_compare(settings, data_dir, say)
        with _refusing_tampered():
            async with _snapshot(database) as connection:
                to = await prune.boundary(connection, moment, [signer.key, *keys], file, _progress(say))
        if dry_run:
            return to
        async with database.transaction(AS_OWNER) as connection:
            await prune.declare(connection, operator(), signer, to, moment, reason)
        # Also where it was declared before: a run that was killed may not have come this far.
        await _seal_and_sign(database, settings, data_dir, signer, prune.is_sealed)
        async with database.transaction(AS_OWNER) as connection:
            to = await prune.allowed(connection, [signer.key])
        return await _delete(database, to, say)

    return _with_log(data_dir, work)


def verifier_key(data_dir: Path) -> str:
    """The public key that checkpoints are checked with. Raises `StartRefused`."""
    with database_of(data_dir) as settings:
        return str(_signer(settings).key)


def operator() -> Actor:
    """Whoever runs a command on the broker's machine, by the system's name for them."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container may run us under a number without a name
        name = str(os.getuid())
    return Actor("GAIN", f"operator {name}")


async def _refuse_words(connection: Connection, given: Mapping[str, str | None]) -> None:
    """Raise `StartRefused` for an option that is no party's code: it would stand in the log, in clear, for ever."""
    for option, code in given.items():
        if code is not None and not await log_words.is_party(connection, code):
            raise StartRefused(f"{option} takes one of {', '.join(await log_words.parties(connection))}")


async def _delete(database: Database, to: int, say: Say) -> int:
    deleted, start = 0, 0
    tell = _progress(say)
    while True:
        async with database.transaction(AS_OWNER) as connection:
            number, following = await prune.delete(connection, start, to)
        deleted += number
        tell(deleted)
        if following is None:
            return deleted
        start = following


async def _seal_and_sign(
    database: Database,
    settings: Settings,
    data_dir: Path,
    signer: Signer,
    done: Callable[[Connection], Awaitable[bool]] | None = None,
) -> Signed:
    """Seal all that is committed, and sign it. Raises `StartRefused` where a sealer that hangs keeps us waiting."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not await _all_sealed(database, done):
        if time.monotonic() > deadline:
            raise StartRefused("somebody else has been sealing the log for a minute: try again later")
        await asyncio.sleep(0.1)
    async with database.transaction(AS_OWNER) as connection:
        signed = await checkpoints.sign(connection, signer)
    if signed is not None and (file := _file(settings, data_dir, existing=False)) is not None:
        with refusing(f"write {file}"):
            checkpoints.append(file, signed)
    async with database.transaction(AS_OWNER) as connection:
        last = await checkpoints.latest(connection)
    if last is None:
        raise StartRefused("the log has no checkpoint")
    return last


async def _all_sealed(database: Database, done: Callable[[Connection], Awaitable[bool]] | None) -> bool:
    if not await seal_all(database):
        return False
    async with database.transaction(AS_OWNER) as connection:
        return done is None or await done(connection)


def _with_log(data_dir: Path, work: Callable[[Database, Settings, Signer], Awaitable[T]]) -> T:
    async def run(settings: Settings) -> T:
        database = Database(settings)
        try:
            return await work(database, settings, _signer(settings))
        finally:
            await database.close()

    with database_of(data_dir) as settings, needing_database():
        return asyncio.run(run(settings))


@asynccontextmanager
async def _snapshot(database: Database) -> AsyncIterator[Connection]:
    """A transaction that sees one moment of the database, and changes nothing."""
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        async with connection.begin():
            await act(connection, AS_AUDITOR)
            yield connection


def _signer(settings: Settings) -> Signer:
    return Signer.of(Keys(settings.master_secret()), settings.log_origin)


def _file(settings: Settings, data_dir: Path, *, existing: bool = True) -> Path | None:
    file = settings.checkpoint_file or data_dir.expanduser() / "checkpoints.jsonl"
    return file if file.exists() or (not existing and file.parent.is_dir()) else None


def _to_compare(settings: Settings, data_dir: Path, say: Say) -> Path | None:
    """The file of checkpoints to compare the log with, None where none is named. Raises `StartRefused`."""
    file = _file(settings, data_dir)
    if file is None and settings.checkpoint_file is not None:
        raise StartRefused(
            f"GAIN_CHECKPOINT_FILE: {settings.checkpoint_file} is not there: bring the file that the scheduler writes; "
            "unset, the log is compared with the checkpoints in the database alone"
        )
    if file is None:
        say("there is no file of checkpoints: the log is compared with those in the database alone")
    return file


@contextmanager
def _refusing_tampered() -> Iterator[None]:
    """Turn what verification finds within the block into `StartRefused`."""
    try:
        yield
    except Tampered as finding:
        raise StartRefused(
            f"nothing was pruned, for the log does not verify: {finding} "
            "(of a log with an earlier master secret, give its public key: --key)"
        ) from finding


def _key(line: str) -> VerifierKey:
    try:
        return VerifierKey.parse(line)
    except NotSigned as refusal:
        raise StartRefused(f"--key: {refusal}; `gain audit key` prints it") from refusal


def _kept_since(settings: Settings) -> datetime:
    if not settings.audit_retention_days:
        raise StartRefused("give --before, or set GAIN_AUDIT_RETENTION_DAYS: nothing says how long the log is kept")
    return datetime.now(UTC) - timedelta(days=settings.audit_retention_days)


def _progress(say: Say) -> Callable[[int], None]:
    told = time.monotonic()

    def tell(number: int) -> None:
        nonlocal told
        if time.monotonic() - told > _PROGRESS_SECONDS:
            told = time.monotonic()
            say(f"{number:,} entries so far")

    return tell
