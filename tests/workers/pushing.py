"""An adapter that pushes, and what it pushes."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from app import clock
from app.crypto.keys import Keys
from app.crypto.webhooks import Signer
from app.parties.hosts import ApprovedHosts
from tests.workers.outside import Agency, Behaviour
from workers.adapters.contract import Envelope, TransportError
from workers.adapters.push import Endpoint, PushAdapter
from workers.safe_http import SafeClient

KEYS = Keys(b"a secret for tests that is long enough to be one")
HERE = ApprovedHosts.parse("127.0.0.1=127.0.0.0/8", development=True)


def envelope(**changes: Any) -> Envelope:
    """A notice's envelope: nothing of the referral in it."""
    now = datetime.now(UTC)
    fields: dict[str, Any] = {
        "dispatch_id": uuid4(),
        "reference": "GAIN-2026-000001",
        "agency": "HMRC",
        "round": 1,
        "priority": "routine",
        "attempt": 1,
        "delivered_at": now,
        "due_at": now + timedelta(days=14),
        "referral": {},
    }
    return Envelope(**{**fields, **changes})


@pytest.fixture
async def session() -> AsyncIterator[SafeClient]:
    """The client of a worker, to agencies on this machine."""
    async with SafeClient(HERE) as opened:
        yield opened


def adapter(session: SafeClient, url: str, *versions: int) -> PushAdapter:
    """HMRC's adapter."""
    endpoint = Endpoint(url, Signer(KEYS, "HMRC", versions or (1,)))
    return PushAdapter(session, endpoint, "https://gain.example", now=clock.now)


async def failure(session: SafeClient, behaves: Behaviour) -> TransportError:
    """What pushing to an agency that behaves like this raises."""
    async with Agency(behaves).running() as agency:
        with pytest.raises(TransportError) as caught:
            await adapter(session, agency.url).deliver(envelope())
        return caught.value
