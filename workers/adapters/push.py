"""The channel to an agency's own platform: a signed POST (Standard Webhooks) that says an item waits, and no more.

Whatever the other side does, a call ends within `DEADLINE_SECONDS` and holds no more of an answer than one chunk.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import aiohttp
import orjson

from app import clock
from app.crypto.webhooks import Signer
from app.parties.quota import Quota
from workers.adapters.contract import Adapter, Delivered, Envelope, Gone, Result, TransportError
from workers.safe_http import AddressRefused

DEADLINE_SECONDS = 10.0
ANSWER_BYTES = 1024 * 1024

_RETRY_AFTER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_CHUNK = 16 * 1024


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an agency is pushed to, and what signs for it. The `url` was checked against the approved hosts."""

    url: str
    signer: Signer


class PushAdapter(Adapter):
    """Tells one agency at its endpoint. `base_url` is where the agency reaches the broker."""

    answers = False

    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoint: Endpoint,
        base_url: str,
        *,
        in_flight: int = Adapter.in_flight,
        quota: Quota = Adapter.quota,
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._base_url = base_url
        self.in_flight = in_flight
        self.quota = quota

    async def deliver(self, envelope: Envelope) -> Result:
        """Any 2xx: the agency was told. Raises `Gone` for 410, `TransportError` for everything else."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await self._post(envelope)
        except TimeoutError:
            raise TransportError(f"no whole answer within {DEADLINE_SECONDS:.0f} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError(_why(error)) from error

    async def _post(self, envelope: Envelope) -> Result:
        body = self._body(envelope)
        headers = self._headers(envelope.notice_id, clock.now(), body)
        call = self._session.post(self._endpoint.url, data=body.encode(), headers=headers, allow_redirects=False)
        async with call as response:
            if not 200 <= response.status < 300:
                raise self._refusal(response)
            await _read_to_end(response)
        return Delivered()

    def _body(self, envelope: Envelope) -> str:
        return orjson.dumps(
            {
                "type": f"dispatch.{envelope.kind}",
                "data": {
                    "id": str(envelope.dispatch_id),
                    "reference": envelope.reference,
                    "agency": envelope.agency,
                    "round": envelope.round,
                    "priority": envelope.priority,
                    "due_at": envelope.due_at,
                    "url": f"{self._base_url}/v1/inbox/{envelope.dispatch_id}",
                },
            }
        ).decode()

    def _headers(self, message_id: str, at: datetime, body: str) -> dict[str, str]:
        return {
            "content-type": "application/json",
            "user-agent": "gain-broker",
            # Nobody looks into the answer: it is never decompressed, so what counts against the bound is what came.
            "accept-encoding": "identity",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": self._endpoint.signer.sign(message_id, at, body),
        }

    def _refusal(self, response: aiohttp.ClientResponse) -> TransportError:
        said = f"the endpoint answered {response.status}"
        if response.status == HTTPStatus.GONE:
            return Gone(said, self._endpoint.url)
        asked = response.headers.get("retry-after") if response.status in _RETRY_AFTER else None
        return TransportError(said, retry_after=_seconds(asked) if asked else None)


async def _read_to_end(response: aiohttp.ClientResponse) -> None:
    """Read and forget the answer, so that its connection can serve again. Raises `TransportError` over the bound."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise TransportError("the endpoint's answer is compressed, which was not asked for")
    size = 0
    async for chunk in response.content.iter_chunked(_CHUNK):
        size += len(chunk)
        if size > ANSWER_BYTES:
            raise TransportError("the endpoint's answer is larger than 1 MiB")


def _seconds(retry_after: str) -> float | None:
    """Seconds to wait (RFC 9110, section 10.2.3), None where they cannot be read."""
    if retry_after.isascii() and retry_after.isdigit() and len(retry_after) <= 9:
        return float(retry_after)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - clock.now()).total_seconds())
    except (ValueError, TypeError):  # TypeError: a time without a zone
        return None


def _why(error: Exception) -> str:
    """What went wrong, in words of ours: an error's text may quote what the other side sent."""
    if not isinstance(error, aiohttp.ClientConnectorError):
        return f"the endpoint's answer is broken off or malformed ({type(error).__name__})"
    if isinstance(error.os_error, AddressRefused):
        return str(error.os_error)
    return "the endpoint cannot be reached"
