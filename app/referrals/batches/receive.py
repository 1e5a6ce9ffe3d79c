"""Receiving a batch: bytes in as they come, sealed rows out, in constant memory.

Nothing is accepted before all of it was received: what is cut off on its way leaves no referral. Rows are checked here,
at the door, so that of what may not be in this system nothing is ever stored.
"""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from uuid import UUID

from uuid_utils.compat import uuid7

from app.access.principal import Principal
from app.crypto.keys import Keys, Purpose
from app.crypto.sealing import DataKey
from app.db import Connection, Database
from app.errors import BATCH_TOO_LARGE, BODY_TIMEOUT, IDEMPOTENCY_IN_FLIGHT, IDEMPOTENCY_KEY_REUSED, Problem
from app.logs import logger
from app.parties.directory import DirectoryCache
from app.referrals.batches import store
from app.referrals.batches.check import Checker, Refused, Sound
from app.referrals.batches.lines import Lines
from app.referrals.batches.models import BatchState, Format
from app.referrals.batches.reading import Read, Reader
from app.referrals.batches.sheet import Sheet

log = logger()

MOST_ROWS = 100_000
MOST_BYTES = 256 * 1024 * 1024
LONGEST_ROW = 256 * 1024
"""As much as the body of a single submission may have: bytes of a line, characters of a CSV row."""

_STORE_ROWS = 250
_STORE_BYTES = 1024 * 1024
_STORE_SECONDS = 5.0
"""Rows are stored when so many are there, or so much of them, or the last were stored so long ago."""

_YIELD_ROWS = 10  # checked in one go: about a millisecond, in which the process answers nobody else


@dataclass(frozen=True, slots=True)
class Desk:
    """What receiving needs: one for a gateway process."""

    database: Database
    keys: Keys
    directory: DirectoryCache
    most_rows: int = MOST_ROWS
    most_bytes: int = MOST_BYTES


@dataclass(frozen=True, slots=True)
class Received:
    """The batch that was received, or (`replayed`) the one that the same bytes under the same key made before."""

    id: UUID
    replayed: bool = False


async def receive(
    desk: Desk, principal: Principal, format: Format, body: AsyncIterable[bytes], idempotency_key: str | None = None
) -> Received:
    """Store all rows of a body durably; workers accept them from then on. Wake them afterwards.

    Raises `Problem`: 400 for what cannot be read, 408 where nothing came for a minute, 413 over the limits, 422 for
    unknown columns or a key that stands for another body, 409 while the same key is being received. Whatever it raises,
    nothing of the body is kept.
    """
    key = None if idempotency_key is None else desk.keys.digest(Purpose.IDEMPOTENCY, idempotency_key.encode())
    directory = await desk.directory.read(desk.database)
    new = store.New(uuid7(), principal.actor, directory[principal.party].region, format, key)
    data_key = await _opened(desk, principal, new)
    if isinstance(data_key, store.Standing):
        return await _repeated(desk, data_key, format, body)
    upload = _Upload(desk, principal, new.id, data_key, Checker(desk.keys, directory, principal.party))
    try:
        await upload.run(format, body)
    except BaseException:
        # Shielded: it is the caller's going away that often ends an upload.
        await asyncio.shield(asyncio.ensure_future(upload.give_up()))
        raise
    return Received(new.id)


async def _opened(desk: Desk, principal: Principal, new: store.New) -> DataKey | store.Standing:
    """The data key of the batch now open, or the batch that its key stands for. Raises `Problem` (409)."""
    for _ in range(3):
        async with desk.database.transaction(principal.behalf) as connection:
            data_key = await store.open_batch(connection, new)
            if data_key is not None:
                return data_key
            found = await store.standing(connection, principal.party, new.key or b"")
            if found is not None and found.silent and found.state == BatchState.RECEIVING:
                await store.give_up(connection, found.id)
                continue
        if found is not None and found.state != BatchState.RECEIVING:
            return found
    raise Problem(IDEMPOTENCY_IN_FLIGHT, retry_after=1)


async def _repeated(desk: Desk, earlier: store.Standing, format: Format, body: AsyncIterable[bytes]) -> Received:
    meter = _Meter(desk, format)
    async for chunk in _parts(body):
        meter.count(chunk)
    if meter.sameness() != earlier.sameness:
        raise Problem(IDEMPOTENCY_KEY_REUSED)
    return Received(earlier.id, replayed=True)


async def _parts(body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The parts of a body. Raises `Problem` (408) where the next is long in coming."""
    coming = aiter(body)
    while True:
        try:
            async with asyncio.timeout(store.SILENT_SECONDS):
                chunk = await anext(coming)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Problem(BODY_TIMEOUT) from None
        yield chunk


class _Meter:
    """Counts and digests the bytes of a body."""

    def __init__(self, desk: Desk, format: Format) -> None:
        self._most = desk.most_bytes
        self._seen = 0
        self._digest = desk.keys.begun(Purpose.SAMENESS)
        self._digest.update(f"batch {format}\n".encode())

    def count(self, chunk: bytes) -> None:
        """One more part. Raises `Problem` (413)."""
        self._seen += len(chunk)
        if self._seen > self._most:
            raise Problem(BATCH_TOO_LARGE)
        self._digest.update(chunk)

    def sameness(self) -> bytes:
        """The keyed hash of all bytes; once."""
        return self._digest.finalize()


class _Upload:
    """One body on its way into the database."""

    def __init__(self, desk: Desk, principal: Principal, id: UUID, key: DataKey, checker: Checker) -> None:
        self._desk = desk
        self._principal = principal
        self._id = id
        self._key = key
        self._checker = checker
        self._sound: list[Sound] = []
        self._refused: list[Refused] = []
        self._held = 0
        self._rows = 0
        self._too_secret = 0
        self._stored_at = time.monotonic()

    async def run(self, format: Format, body: AsyncIterable[bytes]) -> None:
        reader: Reader = Sheet(LONGEST_ROW) if format is Format.CSV else Lines(LONGEST_ROW)
        meter = _Meter(self._desk, format)
        async for chunk in _parts(body):
            meter.count(chunk)
            await self._take(reader.feed(chunk))
            if time.monotonic() - self._stored_at > _STORE_SECONDS:
                await self._store()
        await self._take(reader.end())
        await self._store()
        await self._close(meter.sameness())

    async def give_up(self) -> None:
        """Leave nothing of it. Where the database is away the sweep does it in a minute."""
        try:
            async with self._desk.database.transaction(self._principal.behalf) as connection:
                await store.give_up(connection, self._id)
                await self._log_markings(connection)
        except Exception as error:
            log.warning("a batch that was cut off is cleared away later", error=type(error).__name__)

    async def _take(self, rows: Iterable[Read]) -> None:
        for read in rows:
            self._rows += 1
            if self._rows > self._desk.most_rows:
                raise Problem(BATCH_TOO_LARGE)
            self._check(read)
            if len(self._sound) + len(self._refused) >= _STORE_ROWS or self._held >= _STORE_BYTES:
                await self._store()
            elif self._rows % _YIELD_ROWS == 0:
                await asyncio.sleep(0)  # others of this process have their turn

    def _check(self, read: Read) -> None:
        row = self._checker.check(read)
        if isinstance(row, Sound):
            self._sound.append(row)
            self._held += len(row.content)
            return
        self._refused.append(row)
        self._too_secret += row.too_secret

    async def _store(self) -> None:
        async with self._desk.database.transaction(self._principal.behalf) as connection:
            open_still = await store.add(connection, self._id, self._key, self._sound, self._refused)
        if not open_still:
            raise Problem(BODY_TIMEOUT)
        self._sound.clear()
        self._refused.clear()
        self._held = 0
        self._stored_at = time.monotonic()

    async def _close(self, sameness: bytes) -> None:
        async with self._desk.database.transaction(self._principal.behalf) as connection:
            if not await store.close(connection, self._id, self._principal.actor, sameness):
                raise Problem(BODY_TIMEOUT)
            await self._log_markings(connection)

    async def _log_markings(self, connection: Connection) -> None:
        if self._too_secret:
            await store.log_markings(connection, self._principal.actor, self._id, self._too_secret)
