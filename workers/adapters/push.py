"""The channel to an agency's own platform: a signed POST (Standard Webhooks) that says an item waits, and no more.

Whatever the other side does, a call ends within `DEADLINE_SECONDS` and holds no more of an answer than its head.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import orjson

from app.crypto.webhooks import Signer
from app.parties.quota import Quota
from workers.adapters.contract import Adapter, Delivered, Envelope, Gone, Result, TransportError
from workers.safe_http import Answer, CallFailed, SafeClient, Target

DEADLINE_SECONDS = 10.0

_RETRY_AFTER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an agency is pushed to, and what signs for it. The `url` was checked against the approved hosts."""

    url: str
    signer: Signer


class PushAdapter(Adapter):
    """Tells one agency at its endpoint. `base_url` is where the agency reaches the broker.

    `now` gives the time that is signed: agencies refuse what is minutes off (Standard Webhooks, "Webhook signing").
    """

    answers = False

    def __init__(
        self,
        client: SafeClient,
        endpoint: Endpoint,
        base_url: str,
        *,
        now: Callable[[], datetime],
        in_flight: int = Adapter.in_flight,
        quota: Quota = Adapter.quota,
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._target = Target.of(endpoint.url)
        self._base_url = base_url
        self.in_flight = in_flight
        self.quota = quota
        self._now = now

    async def deliver(self, envelope: Envelope) -> Result:
        """Any 2xx, whatever its body: the agency was told. Raises `Gone` for 410, `TransportError` for all else."""
        try:
            return await self._post(envelope)
        except TimeoutError:
            raise TransportError(f"no answer within {DEADLINE_SECONDS:.0f} s") from None
        except CallFailed as error:
            raise TransportError(str(error)) from error

    async def _post(self, envelope: Envelope) -> Result:
        body = self._body(envelope)
        headers = self._headers(envelope.notice_id, self._now(), body)
        answer = await self._client.post(self._target, headers, body.encode(), DEADLINE_SECONDS)
        if not 200 <= answer.status < 300:
            raise self._refusal(answer)
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
            # Nobody looks into the answer, and it is never decompressed: a bomb has nothing to go off in.
            "accept-encoding": "identity",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": self._endpoint.signer.sign(message_id, at, body),
        }

    def _refusal(self, answer: Answer) -> TransportError:
        said = f"the endpoint answered {answer.status}"
        if answer.status == HTTPStatus.GONE:
            return Gone(said, self._endpoint.url)
        asked = answer.headers.get("retry-after") if answer.status in _RETRY_AFTER else None
        return TransportError(said, retry_after=_seconds(asked, self._now()) if asked else None)


def _seconds(retry_after: str, now: datetime) -> float | None:
    """Seconds to wait (RFC 9110, section 10.2.3), None where they cannot be read."""
    if retry_after.isascii() and retry_after.isdigit() and len(retry_after) <= 9:
        return float(retry_after)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - now).total_seconds())
    except (ValueError, TypeError):  # TypeError: a time without a zone
        return None
