"""Asking for an action again is safe: under one key it is done once, and answered alike each time."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from app.crypto.keys import Keys, Purpose
from app.db import Database
from tests import invariants
from tests.acts import NO_HIT, QUESTION, rows, slug, submitted
from tests.conftest import SECRET, Cast, Workers

REASON = {"reason": "The operation asked for it."}
ACTIONS: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "cancel": ("SWP", "/v1/referrals/{referral}/cancel", REASON),
    "messages": ("SWP", "/v1/referrals/{referral}/messages", {"dispatch_id": "{item}", "text": "The first of them."}),
    "hold": ("TARIAN", "/v1/referrals/{referral}/hold", REASON),
    "release": ("TARIAN", "/v1/referrals/{referral}/release", None),
    "reject": ("TARIAN", "/v1/referrals/{referral}/reject", REASON),
    "addressees": ("TARIAN", "/v1/referrals/{referral}/addressees", {"addressees": ["EA"]}),
    "chase": ("TARIAN", "/v1/dispatches/{item}/chase", None),
    "extend": ("TARIAN", "/v1/dispatches/{item}/extend", {"due_at": "2099-01-05T10:00:00Z"}),
    "redeliver": ("TARIAN", "/v1/dispatches/{item}/redeliver", None),
    "cancel one": ("TARIAN", "/v1/dispatches/{item}/cancel", REASON),
    "release one": ("TARIAN", "/v1/dispatches/{held}/release", None),
}
"""Every other POST by originators and co-ordinators: who may, where, and with which body."""


class Deed:
    """One of `ACTIONS`, made possible: what it is to be done to is in the state for it."""

    def __init__(self, client: httpx.AsyncClient, referral_id: str, path: str, body: dict[str, Any] | None) -> None:
        self.client = client
        self.referral_id = referral_id
        self._path = path
        self._body = body

    async def do(self, key: str) -> httpx.Response:
        """Ask for it under this key."""
        return await self.client.post(self._path, json=self._body, headers={"Idempotency-Key": key})

    async def do_another(self, key: str) -> httpx.Response:
        """Ask the same route for something of another meaning."""
        body = None if self._body is None else {**self._body, **_other(self._body)}
        path = self._path if body else f"/v1/referrals/{self.referral_id}/hold"
        return await self.client.post(path, json=body or REASON, headers={"Idempotency-Key": key})


def _other(body: dict[str, Any]) -> dict[str, Any]:
    name = next(name for name in ("reason", "text", "addressees", "due_at") if name in body)
    return {name: {"addressees": ["DWP"], "due_at": "2098-01-05T10:00:00Z"}.get(name, "Something else.")}


async def prepared(cast: Cast, workers: Workers, action: str) -> Deed:
    """A referral on which this can be done."""
    party, path, body = ACTIONS[action]
    force, coordinator = await cast.play("SWP"), await cast.play("TARIAN")
    made = await submitted(force, addressees=["HMRC", "SMARTWATER"])
    await workers.run()
    tracked = (await force.get(f"/v1/referrals/{made['id']}")).json()
    ids = {dispatch["agency"]: dispatch["id"] for dispatch in tracked["dispatches"]}
    if action == "release":
        await coordinator.post(f"/v1/referrals/{made['id']}/hold", json=REASON)
    if action in ("messages", "redeliver"):
        agency = await cast.play("HMRC")
        await agency.post(f"/v1/inbox/{ids['HMRC']}/response", json=QUESTION if action == "messages" else NO_HIT)
    where = {"referral": made["id"], "item": ids["HMRC"], "held": ids["SMARTWATER"]}
    filled = body and {name: value.format(**where) if isinstance(value, str) else value for name, value in body.items()}
    return Deed(force if party == "SWP" else coordinator, made["id"], path.format(**where), filled)


async def changes(database: Database) -> tuple[int, int]:
    """How many changes are logged, and how many dispatches there are."""
    [row] = await rows(
        database,
        "SELECT (SELECT count(*) FROM audit_event WHERE operation <> 'consultation') AS changes, "
        "(SELECT count(*) FROM dispatch) AS dispatches",
    )
    return row["changes"], row["dispatches"]


@pytest.mark.parametrize("action", ACTIONS)
async def test_an_action_asked_for_again_is_done_once_and_answered_alike(
    cast: Cast, workers: Workers, database: Database, action: str
) -> None:
    deed = await prepared(cast, workers, action)
    before = await changes(database)
    first = await deed.do("once")
    assert first.status_code == 200, first.text
    assert "idempotent-replayed" not in first.headers
    done = await changes(database)
    assert done != before
    again = await deed.do("once")
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert await changes(database) == done


@pytest.mark.parametrize("action", ACTIONS)
async def test_the_log_names_whoever_a_deed_shows_the_referral_to_each_time_it_is_asked_for(
    cast: Cast, workers: Workers, database: Database, action: str
) -> None:
    deed = await prepared(cast, workers, action)
    before = len(await looks(database, deed.referral_id))
    for _ in range(2):
        answer = await deed.do("once")
        assert "Identify vehicles" in answer.text
        look = (await looks(database, deed.referral_id))[before:][-1]
        assert (look["party"], look["request_id"]) == (ACTIONS[action][0], answer.headers["x-request-id"])
    assert len(await looks(database, deed.referral_id)) == before + 2


async def looks(database: Database, referral_id: str) -> list[dict[str, Any]]:
    """Who consulted a referral, and by which request."""
    statement = (
        "SELECT party, request_id FROM audit_event WHERE operation = 'consultation' AND action = 'referral.read' "
        "AND referral_id = :id ORDER BY id"
    )
    return await rows(database, statement, id=UUID(referral_id))


@pytest.mark.parametrize("action", ACTIONS)
async def test_many_equal_actions_at_once_are_one(
    cast: Cast, workers: Workers, database: Database, action: str
) -> None:
    deed = await prepared(cast, workers, action)
    answers = await asyncio.gather(*(deed.do("once") for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    done = await changes(database)
    assert (await deed.do("once")).headers["idempotent-replayed"] == "true"
    assert await changes(database) == done
    async with database.transaction() as connection:
        await invariants.check(connection)


@pytest.mark.parametrize("action", ACTIONS)
async def test_another_action_under_a_key_that_was_used_is_refused(
    cast: Cast, workers: Workers, database: Database, action: str
) -> None:
    deed = await prepared(cast, workers, action)
    await deed.do("once")
    done = await changes(database)
    other = await deed.do_another("once")
    assert (other.status_code, slug(other)) == (422, "idempotency-key-reused")
    assert await changes(database) == done


@pytest.mark.parametrize("action", ["cancel", "messages", "hold", "redeliver"])
async def test_an_action_whose_first_request_is_not_done_yet_is_told_so(
    cast: Cast, workers: Workers, database: Database, action: str
) -> None:
    """Its twin holds the key in a transaction that does not come to its end, and then fails."""
    deed = await prepared(cast, workers, action)
    twin = {
        "party": ACTIONS[action][0],
        "key": Keys(SECRET.encode()).digest(Purpose.IDEMPOTENCY, b"once"),
        "sameness": b"whatever it was",
        "referral_id": UUID(deed.referral_id),
    }
    before = await changes(database)
    async with database.engine.connect() as held:
        await held.execute(text("INSERT INTO submission VALUES (:party, :key, :sameness, :referral_id)"), twin)
        async with asyncio.timeout(2):
            waiting = await deed.do("once")
        assert (waiting.status_code, slug(waiting)) == (409, "idempotency-in-flight")
        assert waiting.headers["retry-after"]
        assert await changes(database) == before
        await held.rollback()
    assert (await deed.do("once")).status_code == 200


async def test_the_key_of_a_refused_action_is_free_again(cast: Cast, workers: Workers) -> None:
    deed = await prepared(cast, workers, "cancel one")
    again = f"/v1/dispatches/{(await deed.do('first')).json()['dispatches'][0]['id']}"
    headers = {"Idempotency-Key": "second"}
    assert (await deed.client.post(f"{again}/chase", headers=headers)).status_code == 409
    assert (await deed.client.post(f"{again}/redeliver", headers=headers)).status_code == 200
