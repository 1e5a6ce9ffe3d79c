"""The broker as a client outside sees it: the public contract over HTTP, one key, and some patience."""

import time
from collections.abc import Mapping
from typing import Any, Self
from uuid import uuid4

import httpx

_PATIENCE_SECONDS = 30.0
"""How long a gateway may be away: `gain up` starts a killed part again within seconds."""
_AGAIN_SECONDS = 0.5
_BUSY = frozenset({429, 503})

Document = dict[str, Any]


class Unplayable(Exception):
    """The demonstration cannot go on; the text says why in one sentence."""


class Exchange:
    """One caller of the gateway. Whatever is asked again is safe to repeat."""

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def submit(self, referral: Mapping[str, Any]) -> Document:
        """Submit one referral; returns it as it was accepted."""
        return self._call("POST", "/v1/referrals", json=referral, headers={"Idempotency-Key": str(uuid4())})

    def newest_referrals(self, count: int) -> list[Document]:
        """The newest `count` referrals (at most 200), with their dispatches."""
        return list(self._call("GET", "/v1/referrals", params={"limit": count})["items"])

    def queues(self) -> list[Document]:
        """What waits at every agency of the caller's region."""
        return list(self._call("GET", "/v1/queues")["items"])

    def product(self, referral_id: str) -> Document:
        """The consolidated product of a referral."""
        return self._call("GET", f"/v1/referrals/{referral_id}/product")

    def events(self, referral_id: str) -> list[Document]:
        """The timeline of a referral."""
        return list(self._call("GET", f"/v1/referrals/{referral_id}/events")["items"])

    def _call(self, method: str, path: str, **request: Any) -> Document:
        """The JSON of an answer. Raises `Unplayable` for a refusal, or when the gateway stays away."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            answer = self._try(method, path, **request)
            if answer is not None and answer.status_code not in _BUSY:
                return _document(answer)
            if time.monotonic() > end:
                raise Unplayable(f"the gateway has not served {method} {path} for {_PATIENCE_SECONDS:.0f} s")
            time.sleep(_AGAIN_SECONDS)

    def _try(self, method: str, path: str, **request: Any) -> httpx.Response | None:
        try:
            return self._http.request(method, path, **request)
        except httpx.TransportError:
            return None


def _document(answer: httpx.Response) -> Document:
    if not answer.is_success:
        raise Unplayable(f"the gateway answered {answer.status_code} to {answer.request.method} {answer.url.path}")
    found: Document = answer.json()
    return found
