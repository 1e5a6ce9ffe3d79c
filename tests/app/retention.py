"""A referral that is over, what reviewers decide of it, and disposal."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from app import clock
from app.audit.record import Actor
from app.db import Database
from app.retention import disposal, review
from app.retention.reference import rules
from app.retention.review import Decision
from app.retention.schedule import date_all
from tests.acts import QUESTION, change, inbox
from tests.conftest import HIT, Cast, Workers, referral

REVIEWER = Actor("GAIN", "operator tests")
GOES = Decision(None, reason="Zzyxquill7 has no further use")
WORD = "Zzyxquill7"
KEY = {"Idempotency-Key": "retention-1"}


@dataclass(frozen=True, slots=True)
class Closed:
    """A referral to two bodies that is completed: a hit after a question and a message, and a cancelled dispatch."""

    force: httpx.AsyncClient
    agency: httpx.AsyncClient
    region: httpx.AsyncClient
    id: str
    item: str
    other: str


def body() -> dict[str, Any]:
    return referral(purpose=f"{WORD} is looked for", addressees=["HMRC", "EA"], client_reference=f"{WORD}/1")


@pytest.fixture
async def closed(cast: Cast, workers: Workers) -> Closed:
    force, agency, region = [await cast.play(party) for party in ("SWP", "HMRC", "TARIAN")]
    made = (await force.post("/v1/referrals", json=body(), headers=KEY)).json()
    await workers.run()
    [item] = await inbox(agency)
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=QUESTION)).status_code == 201
    message = {"dispatch_id": item["id"], "text": f"{WORD} lives at the second"}
    assert (await force.post(f"/v1/referrals/{made['id']}/messages", json=message)).status_code == 200
    hit = HIT | {"summary": f"{WORD} keeps a van"}
    assert (await agency.post(f"/v1/inbox/{item['id']}/response", json=hit)).status_code == 201
    dispatches = (await force.get(f"/v1/referrals/{made['id']}")).json()["dispatches"]
    [other] = [one["id"] for one in dispatches if one["agency"] == "EA"]
    reason = {"reason": f"{WORD} is known"}
    ended = await region.post(f"/v1/dispatches/{other}/cancel", json=reason)
    assert ended.json()["state"] == "completed"
    return Closed(force, agency, region, made["id"], item["id"], other)


async def age(database: Database, years: int = 11) -> None:
    """Put the end of all referrals so many years back."""
    await change(database, "UPDATE referral SET updated_at = now() - make_interval(years => :years)", years=years)


async def decided(database: Database, id: str, decision: Decision = GOES) -> None:
    async with database.transaction() as connection:
        await review.decide(connection, REVIEWER, rules(), UUID(id), decision)


async def disposed(database: Database) -> int:
    return await disposal.dispose_all(database, REVIEWER)


async def due(database: Database, days: int = 0) -> list[dict[str, Any]]:
    await date_all(database, rules())
    return [row async for row in review.due(database, REVIEWER, clock.now().date() + timedelta(days))]
