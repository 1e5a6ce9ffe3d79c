"""`gain keyring …`: the ring's file, and the data keys that lie under its keys."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from app.audit.record import Event, Operation, record
from app.crypto.keyring import Bare, Entries, RingError, entries, new_entry
from app.crypto.refusal import Unopenable
from app.crypto.rotation import forget, usage, wrap_all
from app.crypto.source import LOOK_SECONDS
from app.db import AS_OWNER, Connection, Database
from app.runtime.data_dir import keep_names
from app.runtime.moment import database_of
from app.runtime.operating import operator
from app.runtime.reach import needing_database
from app.runtime.refusal import StartRefused, refusing
from app.settings import Settings

Say = Callable[[str], None]
T = TypeVar("T")

_TELL_SECONDS = 2.0


def status(data_dir: Path, say: Say) -> None:
    """Tell of each ring key whether it is current and how many data keys lie under it."""
    with _opened(data_dir) as (settings, ring):
        used = asyncio.run(_usage(settings))
        for id in [*ring.kept, *(used.keys() - ring.kept.keys())]:
            what = "current" if id == ring.current else "waits" if id in ring.waiting() else "old"
            missing = "" if id in ring.kept else "  MISSING FROM THE RING"
            say(f"{id}  {what if id in ring.kept else 'unknown'}  {used[id]} data keys{missing}")


def add(data_dir: Path, say: Say) -> None:
    """Add a key that nothing is wrapped under yet, so that every machine can have it before one uses it."""
    with _opened(data_dir) as (settings, ring):
        id, key = new_entry(Bare())
        _change(settings, replace(ring, kept={**ring.kept, id: key}), "keyring.added", id)
        say(f"{id} is in the ring; `gain keyring rotate` makes it current")


def rotate(data_dir: Path, say: Say) -> None:
    """Make the newest key current, one just made where none waits, and wrap every data key under it.

    One that was killed is gone on with. Processes that run take up the ring within a second, by themselves.
    """
    with _opened(data_dir) as (settings, ring):
        used = asyncio.run(_usage(settings))
        left = sum(number for id, number in used.items() if id != ring.current)
        if left:
            asyncio.run(
                _in_transaction(settings, lambda connection: _log(connection, "keyring.wrapped_on", ring.current))
            )
            say(f"going on: {left} data keys are not under {ring.current} yet")
        else:
            kept = dict(ring.kept) if ring.waiting() else {**ring.kept, **dict([new_entry(Bare())])}
            ring = Entries(kept, list(kept)[-1])
            _change(settings, ring, "keyring.rotated", ring.current)
            say(f"{ring.current} is current; {used.total()} data keys are to be wrapped under it")
        asyncio.run(_wrap(settings, ring, say))
        say(f"every data key is under {ring.current}; keep the old keys for as long as backups need them")


def remove(data_dir: Path, id: str, say: Say) -> None:
    """Take a key out of the ring. Raises `StartRefused` where it is current, or a data key lies under it."""
    with _opened(data_dir) as (settings, ring):
        if id not in ring.kept:
            raise StartRefused(f"the key ring has no key {id}")
        if id == ring.current:
            raise StartRefused(f"{id} is current: rotate first")
        rest = replace(ring, kept={other: key for other, key in ring.kept.items() if other != id})

        async def forgotten(connection: Connection) -> None:
            if number := await forget(connection, id):
                raise StartRefused(f"{number} data keys lie under {id}: rotate first, or their content is lost")

        _change(settings, rest, "keyring.removed", id, forgotten)
        say(f"{id} is out of the ring; what was backed up under it opens no more without it")


@contextmanager
def _opened(data_dir: Path) -> Iterator[tuple[Settings, Entries]]:
    with database_of(data_dir) as settings:
        with refusing("read the key ring"):
            file = settings.key_ring_file
            content = file.read_text(encoding="ascii") if file else settings.key_ring.get_secret_value()
        try:
            ring = entries(content)
            yield settings, ring
        except RingError as error:
            raise StartRefused(str(error)) from error
        except Unopenable as error:
            raise StartRefused(error.why) from error


def _change(
    settings: Settings,
    ring: Entries,
    action: str,
    id: str,
    before: Callable[[Connection], Awaitable[None]] | None = None,
) -> None:
    """Write the ring with its event in the log: what cannot be logged is not written, nor logged what is not written.

    The file is written last before the commit: only a commit that fails then leaves it untold.
    """

    async def work(connection: Connection) -> None:
        if before is not None:
            await before(connection)
        await _log(connection, action, id)
        _write(settings, ring)

    asyncio.run(_in_transaction(settings, work))


async def _log(connection: Connection, action: str, id: str) -> None:
    await record(connection, operator(), [Event(Operation.ALTERATION, action, detail={"key": id})])


def _write(settings: Settings, ring: Entries) -> None:
    """The ring's file, whole or not at all, readable to whom it was before."""
    file = settings.key_ring_file
    if file is None:
        raise StartRefused("the key ring is in GAIN_KEY_RING: change it there, or keep it in GAIN_KEY_RING_FILE")
    draft = file.with_name(f"{file.name}.{os.getpid()}.new")
    with refusing(f"write {file}"):
        mode = file.stat().st_mode & 0o777
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "w", encoding="ascii") as written:
            written.write(ring.text())
            written.flush()
            os.fsync(written.fileno())
        draft.replace(file)
        keep_names(file.parent)


async def _usage(settings: Settings) -> Counter[str]:
    return await _in_transaction(settings, usage)


async def _in_transaction(settings: Settings, work: Callable[[Connection], Awaitable[T]]) -> T:
    with needing_database():
        database = Database(settings)
        try:
            async with database.transaction(AS_OWNER) as connection:
                return await work(connection)
        finally:
            await database.close()


async def _wrap(settings: Settings, ring: Entries, say: Say) -> None:
    """Twice: what was stored meanwhile by a process that had not looked at the ring again is wrapped anew too."""
    tell = _Progress(say)
    with needing_database():
        database = Database(settings)
        try:
            await wrap_all(database, ring.current, tell)
            await asyncio.sleep(2 * LOOK_SECONDS)
            await wrap_all(database, ring.current, tell)
        finally:
            await database.close()


class _Progress:
    """Says how far it is, every few seconds."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._next = time.monotonic() + _TELL_SECONDS

    def __call__(self, done: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _TELL_SECONDS
            self._say(f"{done} data keys wrapped")
