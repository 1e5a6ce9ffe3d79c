"""Sends signed checkpoints to the configured witness: what it has countersigned, nobody here can take back."""

import asyncio
import re
from dataclasses import dataclass

import httpx

from app.audit import prove, witness
from app.audit.checkpoints import Signed
from app.db import AS_WORKER, Database
from app.logs import logger

log = logger()

_SECONDS = 10.0
_MOST_BYTES = 16 * 1024
_SIZE = "text/x.tlog.size"
_SIGNATURES = re.compile(r"(?:— [^\s+]+ [A-Za-z0-9+/]+={0,2}\n)+")


class _TooLong(Exception):
    """The answer is longer than any that a witness gives; the rest of it was not read."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What of a witness's answer matters here."""

    status: int
    kind: str
    text: str

    def size(self) -> int | None:
        """The size that the witness says it knows, where it refuses another."""
        told = self.text.strip()
        if self.status != httpx.codes.CONFLICT or self.kind != _SIZE:
            return None
        return int(told) if told.isascii() and told.isdigit() and len(told) < 19 else None


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
                told = answer.size()
                if told is not None and told <= signed.size:
                    answer = await self._send(client, told, signed)
        except (httpx.HTTPError, TimeoutError) as error:
            return f"it cannot be reached ({type(error).__name__})"
        except _TooLong:
            return "its answer is too long"
        if answer.status != httpx.codes.OK:
            return f"it answers {answer.status}"
        if not _SIGNATURES.fullmatch(answer.text):
            return "its answer holds no signature"
        async with self._database.transaction(AS_WORKER) as connection:
            await witness.countersigned(connection, self._url, signed.size, answer.text)
        return None

    async def _send(self, client: httpx.AsyncClient, old_size: int, signed: Signed) -> _Answer:
        async with self._database.transaction(AS_WORKER) as connection:
            proof = await prove.consistency(connection, min(old_size, signed.size), signed.size)
        body = witness.request_body(min(old_size, signed.size), proof, signed.note)
        # As it comes: a small answer that unpacks to a large one is none that a witness gives.
        plain = {"Accept-Encoding": "identity"}
        async with (
            asyncio.timeout(_SECONDS),
            client.stream("POST", f"{self._url}/add-checkpoint", content=body, headers=plain) as answer,
        ):
            return _Answer(answer.status_code, answer.headers.get("content-type", ""), await _read(answer))


async def _read(answer: httpx.Response) -> str:
    """The answer's body; no more of it is read than a witness may say. Raises `_TooLong`."""
    body = b""
    async for part in answer.aiter_raw():
        body += part
        if len(body) > _MOST_BYTES:
            raise _TooLong
    return body.decode(errors="replace")
