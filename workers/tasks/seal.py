"""Sealing: every second what was committed gets its place in the audit tree; every minute the tree is signed.

Beside the scheduler's ticks, in every scheduler: whoever holds the sealer's lock seals.
"""

import asyncio
import contextlib

from app.audit import checkpoints
from app.audit.checkpoints import Signed
from app.audit.note import Signer
from app.audit.seal import seal_all
from app.crypto.keys import Keys
from app.db import AS_WORKER, Database, is_away
from app.logs import logger
from app.referrals.heartbeat import Beating, beat
from app.settings import Settings
from workers.witness import Witness

log = logger()

_SECONDS = 1.0
_AFTER_FAILURE_SECONDS = 3.0
_BEAT_ROUNDS = 5
CHECKPOINT_SECONDS = 60.0


class Sealing:
    """Seals and signs, on the database given."""

    def __init__(self, configuration: Settings, database: Database) -> None:
        self._configuration = configuration
        self._database = database
        self._signer = Signer.of(Keys(configuration.master_secret()), configuration.log_origin)
        self._witness = Witness(database, configuration.witness_url) if configuration.witness_url else None
        self._publishing: asyncio.Task[None] | None = None
        self._rounds = 0

    async def run(self) -> None:
        """Seal and sign until cancelled. What fails is logged and tried again: it never stops the scheduler."""
        if self._configuration.checkpoints is None and self._witness is None:
            log.warning("no checkpoint of the log leaves the database: set GAIN_CHECKPOINT_FILE or GAIN_WITNESS_URL")
        try:
            while True:
                failed = await self._fails()
                await asyncio.sleep(_AFTER_FAILURE_SECONDS if failed else _SECONDS)
        finally:
            if self._publishing is not None:
                self._publishing.cancel()

    async def _fails(self) -> bool:
        try:
            await self.round()
        except Exception as error:
            if is_away(error):
                log.info("the database is away; the log is sealed later")
            else:
                log.error("the log is not sealed", exc_info=error)
            return True
        return False

    async def round(self, every: float = CHECKPOINT_SECONDS) -> None:
        """Seal all there is; sign it where the last checkpoint is `every` seconds old."""
        await seal_all(self._database)
        async with self._database.transaction(AS_WORKER) as connection:
            if self._rounds % _BEAT_ROUNDS == 0:
                await beat(connection, Beating.SEALER)
            signed = None
            if await checkpoints.is_due(connection, every):
                signed = await checkpoints.sign(connection, self._signer)
        self._rounds += 1
        if signed is not None:
            await self._publish(signed)

    async def _publish(self, signed: Signed) -> None:
        """Append the checkpoint to the file; tell the witness beside the rounds, which no slow witness may hold up."""
        file = self._configuration.checkpoints
        if file is not None:
            try:
                await asyncio.to_thread(checkpoints.append, file, signed)
            except OSError as error:
                log.error("the checkpoint cannot be written to its file", reason=error.strerror)
        if self._witness is not None and (self._publishing is None or self._publishing.done()):
            self._publishing = asyncio.create_task(self._tell(self._witness, signed))

    async def _tell(self, witness: Witness, signed: Signed) -> None:
        try:
            await witness.tell(signed)
        except Exception as error:
            if not is_away(error):
                log.error("the witness was not told", exc_info=error)

    async def finish(self) -> None:
        """Seal and sign what there is, at the end of the process; where that fails the next start does it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_AFTER_FAILURE_SECONDS):
                await self._last()
        if self._publishing is not None:
            await asyncio.wait([self._publishing], timeout=_AFTER_FAILURE_SECONDS)

    async def _last(self) -> None:
        try:
            await self.round(every=0)
        except Exception as error:
            log.warning("the log is sealed after the next start", reason=type(error).__name__)
