"""An exchange whose every word is marked, and gateways with this key ring or that."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
from pydantic import SecretStr

from app.crypto import refusal
from app.db import Database
from app.main import create_app
from app.settings import Settings
from app.wake import Nobody
from tests.acts import QUESTION, dispatched, inbox, rows
from tests.conftest import HIT, RING, Cast, Workers, referral

CANARY = "Zzyxquill"
OTHER_RING = "another:" + "B" * 42 + "A"
WRONG_RING = RING.partition(":")[0] + ":" + "B" * 42 + "A"
BOTH_RINGS = f"{RING} *{OTHER_RING}"
MARKED = {
    "purpose": f"{CANARY} purpose",
    "information_sought": f"{CANARY} sought",
    "operation_name": CANARY,
    "client_reference": CANARY,
    "contact": {"name": f"{CANARY} desk", "email": f"{CANARY}@example.invalid"},
    "ocg": {"reference": CANARY},
    "subject": referral()["subject"]
    | {
        "family_name": CANARY,
        "addresses": [{"lines": [CANARY]}],
        "identifiers": [{"type": "passport", "value": CANARY}],
    },
}


def unavailable(answer: httpx.Response) -> None:
    """It is a 503 that says when to come again, and nothing else."""
    assert answer.status_code == 503, answer.text
    assert answer.json()["type"] == "/problems/unavailable"
    assert int(answer.headers["retry-after"]) > 1
    assert not any(word in answer.text for word in (CANARY, "Quill", "ring"))


@pytest.fixture(autouse=True)
def _tell_everything() -> Iterator[None]:
    """What one test made the log say is not held back from the next."""
    refusal._told.clear()
    yield
    refusal._told.clear()


@asynccontextmanager
async def gateway(configuration: Settings, ring: str) -> AsyncIterator[Cast]:
    """A gateway on the same database, with this key ring."""
    changed = configuration.model_copy(update={"key_ring": SecretStr(ring)})
    app, database = create_app(changed, Nobody()), Database(changed)
    async with app.router.lifespan_context(app):
        played = Cast(database, httpx.ASGITransport(app, raise_app_exceptions=False))
        yield played
        await played.close()
    await database.close()


async def everything(database: Database) -> str:
    """Every value of every row of every table."""
    tables = await rows(database, "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")
    found = []
    for table in tables:
        found += await rows(database, f"SELECT CAST(t AS text) AS row FROM {table['name']} AS t")  # noqa: S608
    plain = "\n".join(row["row"] for row in found)
    return plain.replace(CANARY.encode().hex(), CANARY)  # bytea is shown in hexadecimal digits


async def a_whole_exchange(cast: Cast, workers: Workers) -> tuple[httpx.AsyncClient, str]:
    """A referral with a question, a message, an answer, and reasons for whatever takes one; all of it marked."""
    force, [made] = await dispatched(cast, workers, "HMRC", "EA", "DVLA", **MARKED)
    coordinator, agency = await cast.play("TARIAN"), await cast.play("HMRC")
    [item] = await inbox(agency)
    asked = await agency.post(f"/v1/inbox/{item['id']}/response", json=QUESTION | {"summary": f"{CANARY} asks"})
    assert asked.status_code == 201
    message = {"dispatch_id": item["id"], "text": f"{CANARY} replies"}
    assert (await force.post(f"/v1/referrals/{made['id']}/messages", json=message)).status_code == 200
    hit = HIT | {"summary": f"{CANARY} answers", "contact": CANARY}
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=hit)).status_code == 201
    dispatches = (await force.get(f"/v1/referrals/{made['id']}")).json()["dispatches"]
    other = next(one["id"] for one in dispatches if one["agency"] == "EA")
    reason = {"reason": f"{CANARY} reason"}
    for path in (f"dispatches/{other}/cancel", f"referrals/{made['id']}/hold"):
        answer = await coordinator.post(f"/v1/{path}", json=reason)
        assert answer.status_code == 200, answer.text
    held = (await force.get(f"/v1/referrals/{made['id']}")).json()
    assert (held["state"], held["reason"]) == ("held", f"{CANARY} reason")
    assert (await coordinator.post(f"/v1/referrals/{made['id']}/release")).json()["reason"] is None
    cancelled = await force.post(f"/v1/referrals/{made['id']}/cancel", json=reason)
    assert cancelled.json()["reason"] == f"{CANARY} reason"
    return force, made["id"]
