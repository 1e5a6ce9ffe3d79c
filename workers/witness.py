"""Sends signed checkpoints to the configured witness: what it has countersigned, nobody here can take back."""

import httpx

from app.audit import prove, witness
from app.audit.checkpoints import Signed
from app.db import AS_WORKER, Database
from app.logs import logger

log = logger()

_SECONDS = 10.0
_MOST_BYTES = 16 * 1024
_SIZE = "text/x.tlog.size"


class Witness:
    """The witness under an address that the operator has set. No redirect is followed, no proxy taken from outside."""

    def __init__(self, database: Database, url: str) -> None:
        self._database = database
        self._url = url.rstrip("/")
        self._failing = False

    async def tell(self, signed: Signed) -> None:
        """Have a checkpoint countersigned. A witness that fails is logged and noted, and told the next one."""
        failure = await self._failure(signed)
        if failure is not None:
            if not self._failing:
                log.warning("the witness does not countersign", reason=failure)
            async with self._database.transaction(AS_WORKER) as connection:
                await witness.failed(connection, self._url, failure)
        elif self._failing:
            log.info("the witness countersigns again")
        self._failing = failure is not None

    async def _failure(self, signed: Signed) -> str | None:
        async with self._database.transaction(AS_WORKER) as connection:
            known = (await witness.standing(connection, self._url)).size
        try:
            async with httpx.AsyncClient(timeout=_SECONDS, follow_redirects=False, trust_env=False) as client:
                answer = await self._send(client, known, signed)
                told = _size_told(answer)
                if told is not None and told <= signed.size:
                    answer = await self._send(client, told, signed)
        except httpx.HTTPError as error:
            return f"it cannot be reached ({type(error).__name__})"
        if answer.status_code != httpx.codes.OK:
            return f"it answers {answer.status_code}"
        if not answer.text.startswith("— ") or len(answer.content) > _MOST_BYTES:
            return "its answer holds no signature"
        async with self._database.transaction(AS_WORKER) as connection:
            await witness.countersigned(connection, self._url, signed.size, answer.text)
        return None

    async def _send(self, client: httpx.AsyncClient, old_size: int, signed: Signed) -> httpx.Response:
        async with self._database.transaction(AS_WORKER) as connection:
            proof = await prove.consistency(connection, min(old_size, signed.size), signed.size)
        body = witness.request_body(min(old_size, signed.size), proof, signed.note)
        return await client.post(f"{self._url}/add-checkpoint", content=body)


def _size_told(answer: httpx.Response) -> int | None:
    """The size that the witness says it knows, where it refuses another."""
    text = answer.text.strip()
    if answer.status_code != httpx.codes.CONFLICT or answer.headers.get("content-type", "") != _SIZE:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
