"""Everybody at once on the same referrals: no deadlock, no failure, and afterwards everything still holds."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from app.audit.record import Actor
from app.crypto.keys import Keys
from app.db import Database
from app.referrals.timekeeper import Timekeeper
from app.settings import Settings
from tests import invariants
from tests.acts import change, dispatched, rows, submitted
from tests.conftest import HIT, SECRET, Cast, Workers, referral
from workers.adapters.contract import Adapter, Answered, Envelope, Later, Refused, Result, TransportError
from workers.pump import Pump

AGENCIES = ["HMRC", "EA", "DWP", "NCA"]
ANSWERS: list[dict[str, Any]] = [
    {"outcome": "no_hit"},
    HIT,
    {"outcome": "declined", "decline_reason": "capacity"},
    {"outcome": "more_information", "summary": "Which?"},
]


async def test_polls_claims_acknowledgements_answers_and_cancellations_at_once(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, made = await dispatched(cast, workers, *AGENCIES, count=8)
    clients = {agency: await cast.play(agency) for agency in AGENCIES}
    items: dict[str, list[str]] = {agency: [] for agency in AGENCIES}
    for row in await rows(database, "SELECT id, agency FROM dispatch"):
        items[row["agency"]].append(str(row["id"]))
    chance = random.Random(7)
    calls: list[Callable[[], Awaitable[httpx.Response]]] = []

    def several(agency: str) -> list[str]:
        return chance.sample(items[agency], 5)

    for _ in range(12):
        for agency, client in clients.items():
            one, ids = chance.choice(items[agency]), several(agency)
            body = chance.choice(ANSWERS)
            batch = {"items": [{"id": key, **chance.choice(ANSWERS)} for key in several(agency)]}
            calls += [
                partial(client.get, "/v1/inbox"),
                partial(client.get, f"/v1/inbox/{one}"),
                partial(client.post, "/v1/inbox/claims", json={"limit": 3}),
                partial(client.post, "/v1/inbox/acknowledgements", json={"ids": ids}),
                partial(client.post, f"/v1/inbox/{one}/response", json=body),
                partial(client.post, "/v1/inbox/responses", json=batch),
            ]
    for taken_back in made[:3]:
        path = f"/v1/referrals/{taken_back['id']}/cancel"
        calls += [partial(force.post, path, json={"reason": "no longer needed"})] * 3
    calls += [partial(force.get, "/v1/referrals")] * 20
    chance.shuffle(calls)
    # More at once than there are connections, and so few that nobody waits too long for one.
    gate = asyncio.Semaphore(16)

    async def through(call: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        async with gate:
            return await call()

    async with asyncio.timeout(60):
        answers = await asyncio.gather(*(through(call) for call in calls))
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {200, 201, 409, 410}, statuses
    assert statuses[200]
    assert statuses[201]
    async with database.transaction() as connection:
        await invariants.check(connection)


class Moody(Adapter):
    """A body that answers, puts off, fails, refuses or talks nonsense, as its dice fall."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    async def deliver(self, envelope: Envelope) -> Result:
        await asyncio.sleep(self._chance.random() / 100)
        mood = self._chance.random()
        if mood < 0.5:
            return Answered({"outcome": "no_hit"})
        if mood < 0.6:
            return Answered({"outcome": "hit"})
        if mood < 0.75:
            return Later(0.05)
        if mood < 0.85:
            return Refused("not today")
        if mood < 0.95:
            raise TransportError("away", permanent=self._chance.random() < 0.5)
        raise RuntimeError("a defect")


async def test_pumps_and_people_at_once(cast: Cast, database: Database, as_worker: Settings) -> None:
    """Three worker processes' pumps deliver while the same agencies acknowledge and the force takes back."""
    force = await cast.play("SWP")
    agencies = {agency: await cast.play(agency) for agency in AGENCIES}
    bodies = [referral(addressees=AGENCIES, client_reference=f"SWP/{number}") for number in range(40)]
    answers = await asyncio.gather(*(force.post("/v1/referrals", json=body) for body in bodies))
    receipts = {UUID(answer.json()["id"]): body for answer, body in zip(answers, bodies, strict=True)}
    databases = [Database(as_worker) for _ in range(3)]
    adapters: dict[str, Adapter] = {agency: Moody(number) for number, agency in enumerate(AGENCIES)}
    pumps = [Pump(one, Keys(SECRET.encode()), adapters) for one in databases]
    statuses: Counter[int] = Counter()
    done = asyncio.Event()

    async def people(agency: str) -> None:
        while not done.is_set():
            page = await agencies[agency].get("/v1/inbox", params={"limit": 50})
            await asyncio.sleep(0.02)  # or the polls alone keep the loop busy, and the pumps never come to their work
            ids = [item["id"] for item in page.json()["items"]]
            random.Random(len(ids)).shuffle(ids)
            statuses[page.status_code] += 1
            if ids:
                told = await agencies[agency].post("/v1/inbox/acknowledgements", json={"ids": ids[:20]})
                statuses[told.status_code] += 1

    async def take_back() -> None:
        for key in list(receipts)[::5]:
            answer = await force.post(f"/v1/referrals/{key}/cancel", json={"reason": "no longer needed"})
            statuses[answer.status_code] += 1

    async def work() -> None:
        await asyncio.gather(*(pump.run(seconds=2.0) for pump in pumps), take_back())
        done.set()

    async with asyncio.timeout(60):
        await asyncio.gather(work(), *(people(agency) for agency in AGENCIES))
    assert set(statuses) <= {200, 409}, statuses
    for one in databases:
        await one.close()
    async with database.transaction() as connection:
        await invariants.check(connection, receipts)


async def test_two_ways_round_the_same_referrals_is_no_deadlock(
    cast: Cast, workers: Workers, database: Database
) -> None:
    """Batches that name the same items in opposite orders."""
    await dispatched(cast, workers, "HMRC", "EA", count=15)
    found = await rows(database, "SELECT id, agency FROM dispatch ORDER BY number")
    clients = {agency: [await cast.play(agency) for _ in range(3)] for agency in ("HMRC", "EA")}
    calls = []
    for agency, consumers in clients.items():
        ids = [str(row["id"]) for row in found if row["agency"] == agency]
        for round_, client in enumerate(consumers):
            turned = ids if round_ % 2 else ids[::-1]
            answers = {"items": [{"id": key, "outcome": "no_hit"} for key in turned]}
            calls += [
                client.post("/v1/inbox/responses", json=answers),
                client.post("/v1/inbox/acknowledgements", json={"ids": turned[::2] + turned[1::2]}),
            ]
    async with asyncio.timeout(30):
        results = await asyncio.gather(*calls)
    assert {answer.status_code for answer in results} == {200}
    told = [one["status"] for answer in results for one in answer.json()["items"]]
    assert set(told) <= {200, 201}
    assert told.count(201) == 30
    async with database.transaction() as connection:
        await invariants.check(connection)


async def _opened(cast: Cast, workers: Workers, count: int) -> tuple[httpx.AsyncClient, list[tuple[str, str]]]:
    """The co-ordinator, and `count` referrals to HMRC with their one dispatch each."""
    _, made = await dispatched(cast, workers, "HMRC", count=count)
    coordinator = await cast.play("TARIAN")
    pairs = []
    for one in made:
        tracked = (await coordinator.get(f"/v1/referrals/{one['id']}")).json()
        pairs.append((one["id"], tracked["dispatches"][0]["id"]))
    return coordinator, pairs


async def _holds(database: Database) -> None:
    async with database.transaction() as connection:
        await invariants.check(connection)


async def test_a_hold_that_races_with_the_fan_out_keeps_everything_or_nothing_back(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, coordinator = await cast.play("SWP"), await cast.play("TARIAN")
    made = [await submitted(force, addressees=AGENCIES) for _ in range(12)]
    calls = [coordinator.post(f"/v1/referrals/{one['id']}/hold", json={"reason": "Check it first."}) for one in made]
    holds, _ = await asyncio.gather(asyncio.gather(*calls), workers.run())
    assert {answer.status_code for answer in holds} == {200}
    found = await rows(
        database,
        """SELECT referral.state AS referral, count(dispatch.id) AS asked, array_agg(DISTINCT dispatch.state) AS states
             FROM referral LEFT JOIN dispatch ON dispatch.referral_id = referral.id GROUP BY referral.id""",
    )
    assert {row["referral"] for row in found} == {"held"}
    assert {(row["asked"], *row["states"]) for row in found} <= {(0, None), (len(AGENCIES), "held")}
    await _holds(database)
    released = [await coordinator.post(f"/v1/referrals/{one['id']}/release") for one in made]
    assert {answer.status_code for answer in released} == {200}
    await workers.run()
    [row] = await rows(database, "SELECT count(*) AS queued FROM dispatch WHERE state = 'queued'")
    assert row["queued"] == len(made) * len(AGENCIES)
    await _holds(database)


async def test_a_cancellation_that_races_with_the_answer_lets_one_of_them_win(
    cast: Cast, workers: Workers, database: Database
) -> None:
    coordinator, pairs = await _opened(cast, workers, 12)
    agency = await cast.play("HMRC")

    async def race(number: int, item: str) -> tuple[int, int]:
        first = agency.post(f"/v1/inbox/{item}/response", json={"outcome": "no_hit"})
        second = coordinator.post(f"/v1/dispatches/{item}/cancel", json={"reason": "Asked too early."})
        if number % 2:
            cancelled, answered = await asyncio.gather(second, first)
        else:
            answered, cancelled = await asyncio.gather(first, second)
        return answered.status_code, cancelled.status_code

    outcomes = [await race(number, item) for number, (_, item) in enumerate(pairs)]
    assert set(outcomes) <= {(201, 409), (410, 200)}
    await _holds(database)


async def test_more_time_that_races_with_the_expiry_comes_in_time_or_too_late(
    cast: Cast, workers: Workers, database: Database
) -> None:
    coordinator, pairs = await _opened(cast, workers, 12)
    await change(
        database,
        """UPDATE dispatch SET created_at = now() - interval '60 days', due_at = now() - interval '9 days',
                             expires_at = now() - interval '1 second', next_check_at = now()""",
    )

    async def keep_time() -> None:
        await Timekeeper().run(database, Actor("GAIN", "scheduler"), limit=6)

    calls = [
        coordinator.post(f"/v1/dispatches/{item}/extend", json={"due_at": "2099-01-05T10:00:00Z"}) for _, item in pairs
    ]
    keeping = asyncio.gather(*(keep_time() for _ in range(4)))
    answers = await asyncio.gather(*calls)
    await keeping
    states = {str(row["id"]): row["state"] for row in await rows(database, "SELECT id, state FROM dispatch")}
    told = {item: answer.status_code for (_, item), answer in zip(pairs, answers, strict=True)}
    assert {(told[item], states[item]) for _, item in pairs} <= {(200, "queued"), (409, "expired")}
    await _holds(database)


@pytest.mark.parametrize("at_once", [2, 10])
async def test_redelivered_twice_at_once_it_goes_out_once(
    cast: Cast, workers: Workers, database: Database, at_once: int
) -> None:
    """By two co-ordinators who do not know of each other, so with no key or with two."""
    coordinator, pairs = await _opened(cast, workers, 4)
    for referral_id, item in pairs:
        await coordinator.post(f"/v1/dispatches/{item}/cancel", json={"reason": "Asked too early."})
        calls = [coordinator.post(f"/v1/dispatches/{item}/redeliver") for _ in range(at_once - 1)]
        calls.append(coordinator.post(f"/v1/referrals/{referral_id}/addressees", json={"addressees": ["HMRC"]}))
        answers = await asyncio.gather(*calls)
        assert sorted(answer.status_code for answer in answers) == [200, *[409] * (at_once - 1)]
    found = await rows(database, "SELECT referral_id, max(round) AS rounds FROM dispatch GROUP BY 1")
    assert {row["rounds"] for row in found} == {2}
    await _holds(database)


async def test_everything_a_coordinator_can_do_at_once(cast: Cast, workers: Workers, database: Database) -> None:
    """With the pump, the agencies and the force at the same time: no deadlock, no failure, nothing half done."""
    force, made = await dispatched(cast, workers, *AGENCIES, "SMARTWATER", count=6)
    coordinator, chance = await cast.play("TARIAN"), random.Random(11)
    agencies = {agency: await cast.play(agency) for agency in AGENCIES}
    items = [(str(row["id"]), row["agency"]) for row in await rows(database, "SELECT id, agency FROM dispatch")]
    reason = {"reason": "The operation asked for it."}
    calls: list[Callable[[], Awaitable[httpx.Response]]] = []
    for _ in range(15):
        key, (item, agency) = chance.choice(made)["id"], chance.choice(items)
        again = f"/v1/referrals/{key}/addressees"
        calls += [
            partial(coordinator.post, f"/v1/referrals/{key}/hold", json=reason),
            partial(coordinator.post, f"/v1/referrals/{key}/release"),
            partial(coordinator.post, again, json={"addressees": [chance.choice([*AGENCIES, "NRW"])]}),
            partial(coordinator.post, f"/v1/dispatches/{item}/chase"),
            partial(coordinator.post, f"/v1/dispatches/{item}/extend", json={"due_at": "2099-01-05T10:00:00Z"}),
            partial(coordinator.post, f"/v1/dispatches/{item}/redeliver"),
            partial(coordinator.post, f"/v1/dispatches/{item}/cancel", json=reason),
            partial(coordinator.post, f"/v1/dispatches/{item}/release"),
            partial(force.post, f"/v1/referrals/{key}/messages", json={"dispatch_id": item, "text": "The first."}),
        ]
        if agency in agencies:
            answer = partial(agencies[agency].post, f"/v1/inbox/{item}/response", json=chance.choice(ANSWERS))
            calls += [answer, partial(agencies[agency].get, "/v1/inbox")]
    calls.append(partial(coordinator.post, f"/v1/referrals/{made[0]['id']}/reject", json=reason))
    calls.append(partial(force.post, f"/v1/referrals/{made[1]['id']}/cancel", json=reason))
    chance.shuffle(calls)
    gate = asyncio.Semaphore(12)

    async def through(call: Callable[[], Awaitable[httpx.Response]]) -> int:
        async with gate:
            return (await call()).status_code

    async with asyncio.timeout(60):
        statuses, _ = await asyncio.gather(asyncio.gather(*(through(call) for call in calls)), workers.run())
    assert set(statuses) <= {200, 201, 404, 409, 410}, Counter(statuses)
    assert Counter(statuses)[200] > len(calls) / 5
    await _holds(database)


async def test_the_checker_sees_what_is_broken(cast: Cast, workers: Workers, database: Database) -> None:
    """A checker that cannot fail would prove nothing."""
    _force, [made] = await dispatched(cast, workers, "HMRC", "EA")
    agency = await cast.play("HMRC")
    [item] = (await agency.get("/v1/inbox")).json()["items"]
    await agency.post(f"/v1/inbox/{item['id']}/response", json=HIT)
    sent = {UUID(made["id"]): referral(addressees=["HMRC", "EA"])}
    async with database.transaction() as connection:
        await invariants.check(connection, sent)
    breakages = {
        "I1 stored otherwise": "UPDATE referral SET content = '{}'",
        "I2 rounds are without gaps": "UPDATE dispatch SET round = 2",
        "I3 a referral's count": "UPDATE referral SET open_dispatches = 7",
        "I3 a referral is in progress": "UPDATE referral SET state = 'completed'",
        "I3 what is final has an end": "UPDATE dispatch SET closed_at = NULL",
        "I3 what is final ended once": "UPDATE dispatch SET state = 'delivered' WHERE agency = 'HMRC'",
        "I4 one accepted answer": "UPDATE response SET flag = 'conflict'",
        "I4 no accepted answer": "UPDATE dispatch SET state = 'delivered' WHERE agency = 'HMRC'",
        "I4 a conflicting answer": "UPDATE response SET flag = 'late'",
        "I5 the disclosure": "UPDATE dispatch SET delivered_at = now() WHERE agency = 'EA'",
        "I5 what was acknowledged": "UPDATE dispatch SET acknowledged_at = now() WHERE agency = 'EA'",
        "I5 the acceptance": "DELETE FROM audit_event WHERE action = 'referral.accepted'",
        "I5 each response": "DELETE FROM audit_event WHERE action = 'response.recorded'",
        "I10 the counters": "UPDATE queue_count SET queued = queued + 1",
        "I5 the opening": "UPDATE audit_event SET detail = '{}' WHERE action = 'referral.dispatched'",
        "I5 each reminder": "UPDATE dispatch SET chases = 1",
        "I5 what is overdue": "UPDATE dispatch SET overdue_at = now()",
        "I5 each message is": "UPDATE audit_event SET action = 'message.sent' WHERE action = 'dispatch.delivered'",
        "I5 each message answered": "UPDATE dispatch SET replies = 1",
        "I5 each hold": "UPDATE dispatch SET holds = 1",
        "I6 a dispatch was disclosed": "UPDATE audit_event SET recipients = NULL WHERE action = 'dispatch.delivered'",
        "I6 every answer": "UPDATE response SET agency = 'EA'",
    }
    for name, statement in breakages.items():
        async with database.engine.connect() as connection:
            await connection.execute(text("SET session_replication_role = replica"))
            await connection.execute(text(statement))
            with pytest.raises(invariants.InvariantsBroken) as broken:
                await invariants.check(connection, sent)
            assert [line for line in broken.value.violations if line.startswith(name)], name
            await connection.rollback()
            await connection.invalidate()
