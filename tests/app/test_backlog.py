"""Back-pressure through the door: what is refused while too many wait, that it changes nothing, and who sees it."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from app import clock
from app.audit.record import Actor
from app.db import Database
from app.intake.coalescer import Coalescer
from app.main import create_app
from app.referrals.accept import Receipt, Submission
from app.referrals.backlog import LINE, Backlog, Bounds
from app.referrals.fan_out import FanOut
from app.referrals.gauge import BacklogGauge
from app.settings import Settings
from app.wake import Nobody
from tests.acts import change, eventually, rows, slug, submitted
from tests.browser import submit
from tests.conftest import Cast, Workers, referral

ROWS = 4
SECONDS = 60.0
TABLES = ("referral", "submission", "audit_event")


class Gateway:
    """A gateway with small bounds, its cast, and its gauge made to look now instead of within a second."""

    def __init__(self, cast: Cast, gauge: BacklogGauge, database: Database) -> None:
        self.cast = cast
        self.gauge = gauge
        self._database = database

    async def look(self) -> None:
        async with self._database.transaction() as connection:
            await self.gauge.sample(connection)


@pytest.fixture
async def gateway(configuration: Settings, database: Database) -> AsyncIterator[Gateway]:
    small = configuration.model_copy(update={"backlog_referrals": ROWS, "backlog_seconds": SECONDS})
    app = create_app(small, Nobody())
    async with app.router.lifespan_context(app):
        cast = Cast(database, httpx.ASGITransport(app, raise_app_exceptions=False))
        yield Gateway(cast, app.state.backlog, database)
        await cast.close()


async def fill(force: httpx.AsyncClient, number: int = ROWS, **changes: Any) -> None:
    for _ in range(number):
        await submitted(force, **changes)


async def age(database: Database) -> None:
    await change(database, "UPDATE referral SET updated_at = now() - interval '200 seconds' WHERE state = 'accepted'")


async def counts(database: Database) -> dict[str, int]:
    return {table: (await rows(database, f"SELECT count(*) AS number FROM {table}"))[0]["number"] for table in TABLES}  # noqa: S608


def refused(answer: httpx.Response) -> bool:
    if answer.status_code == 201:
        return False
    assert (answer.status_code, slug(answer)) == (503, "backlog")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    return True


async def test_beyond_the_bound_a_client_is_told_when_to_come_back_and_nothing_is_stored(
    gateway: Gateway, database: Database
) -> None:
    force = await gateway.cast.play("SWP")
    await fill(force)
    before = await counts(database)
    key = {"Idempotency-Key": "SWP-1"}
    answer = await force.post("/v1/referrals", json=referral(), headers=key)
    assert refused(answer)
    assert "Nothing was stored" in answer.json()["detail"]
    assert await counts(database) == before


async def test_the_same_request_succeeds_under_its_key_once_the_workers_have_caught_up(
    gateway: Gateway, workers: Workers, database: Database
) -> None:
    force = await gateway.cast.play("SWP")
    await fill(force)
    key = {"Idempotency-Key": "SWP-1"}
    assert refused(await force.post("/v1/referrals", json=referral(), headers=key))
    await workers.run()
    await gateway.look()
    answer = await force.post("/v1/referrals", json=referral(), headers=key)
    assert answer.status_code == 201
    assert "idempotent-replayed" not in answer.headers


async def test_what_was_stored_under_a_key_is_answered_however_full_it_is(gateway: Gateway) -> None:
    force = await gateway.cast.play("SWP")
    key = {"Idempotency-Key": "SWP-1"}
    first = await force.post("/v1/referrals", json=referral(), headers=key)
    await fill(force, ROWS - 1)
    assert refused(await force.post("/v1/referrals", json=referral()))
    again = await force.post("/v1/referrals", json=referral(), headers=key)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert again.json()["id"] == first.json()["id"]
    other = await force.post("/v1/referrals", json=referral(purpose="Another."), headers=key)
    assert (other.status_code, slug(other)) == (422, "idempotency-key-reused")


async def test_an_urgent_referral_is_refused_last(gateway: Gateway) -> None:
    force = await gateway.cast.play("SWP")
    taken = {"routine": ROWS, "priority": ROWS // 2, "urgent": ROWS // 2}
    for priority, number in taken.items():
        await fill(force, number, priority=priority)
        assert refused(await force.post("/v1/referrals", json=referral(priority=priority)))


async def test_while_nothing_is_passed_on_only_what_is_urgent_is_taken(gateway: Gateway, database: Database) -> None:
    force = await gateway.cast.play("SWP")
    await submitted(force)
    await age(database)
    await gateway.look()
    for priority in ("routine", "priority"):
        answer = await force.post("/v1/referrals", json=referral(priority=priority))
        assert refused(answer)
        assert "have not been passed on to agencies for minutes" in answer.json()["detail"]
    await submitted(force, priority="urgent")


async def test_a_referral_released_after_days_does_not_count_as_waiting_for_days(
    gateway: Gateway, workers: Workers, database: Database
) -> None:
    force, coordinator = await gateway.cast.play("SWP"), await gateway.cast.play("TARIAN")
    made = await submitted(force)
    assert (await coordinator.post(f"/v1/referrals/{made['id']}/hold", json={"reason": "Check."})).status_code == 200
    await change(database, "UPDATE referral SET created_at = now() - interval '9 days'")
    assert (await coordinator.post(f"/v1/referrals/{made['id']}/release")).status_code == 200
    await gateway.look()
    assert (gateway.gauge.backlog.referrals, gateway.gauge.takes(2)) == (1, True)
    assert gateway.gauge.backlog.seconds < 5


async def test_the_gateway_looks_by_itself(gateway: Gateway, workers: Workers) -> None:
    force = await gateway.cast.play("SWP")
    await fill(force)
    assert refused(await force.post("/v1/referrals", json=referral()))
    await workers.run()

    async def is_taken() -> bool:
        return not refused(await force.post("/v1/referrals", json=referral()))

    await eventually(is_taken)


async def test_the_page_and_the_metrics_tell_that_referrals_are_refused(gateway: Gateway) -> None:
    force, browser = await gateway.cast.play("SWP"), gateway.cast.client({"Sec-Fetch-Site": "same-origin"})
    await submit(browser, "/sign-in/key", {"key": await gateway.cast.key("TARIAN")})
    await fill(force)
    await gateway.look()
    assert refused(await force.post("/v1/referrals", json=referral()))
    page = (await browser.get("/")).text
    assert "New routine referrals are being refused: too many wait for the workers." in page
    metrics = (await browser.get("/metrics")).text
    assert f"gain_backlog_referrals {float(ROWS)}" in metrics
    assert 'gain_referrals_refused_total{priority="routine"}' in metrics


async def test_urgent_referrals_are_fanned_out_first(gateway: Gateway, database: Database) -> None:
    force = await gateway.cast.play("SWP")
    made = {priority: await submitted(force, priority=priority) for priority in ("routine", "priority", "urgent")}
    moved = []
    for _ in made:
        await FanOut().run(database, Actor("GAIN", "worker"), [], limit=1)
        found = await rows(database, "SELECT priority FROM referral WHERE state = 'in_progress' ORDER BY updated_at")
        moved.append([row["priority"] for row in found])
    assert moved == [[0], [0, 1], [0, 1, 2]]


async def test_a_line_that_has_grown_too_long_takes_only_what_is_urgent(database: Database) -> None:
    gauge = BacklogGauge(Bounds(10**6, 10.0**6))
    gauge._note(Backlog(10, 3.0, workers_silent=1.0))
    coalescer = Coalescer(database, gauge, lanes=0)  # nobody serves it
    assert coalescer.takes(2)
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    coalescer._waiting.extend([(None, future)] * LINE)  # type: ignore[list-item]
    assert [coalescer.takes(priority) for priority in (2, 1, 0)] == [False, True, True]
    gauge._note(Backlog(10, 0.1, workers_silent=1.0))
    assert coalescer.takes(2)  # nothing rests: the line is short lived


async def test_while_ingest_rests_what_is_urgent_does_not_wait(gateway: Gateway, database: Database) -> None:
    force = await gateway.cast.play("SWP")
    gateway.gauge._note(Backlog(1, 10.0, workers_silent=1.0))
    rest = gateway.gauge.rest
    await asyncio.gather(*(submitted(force) for _ in range(2)))  # the lanes rest from now on
    began = time.monotonic()

    async def timed(priority: str) -> float:
        await submitted(force, priority=priority)
        return time.monotonic() - began

    assert await timed("urgent") < rest


async def test_what_is_urgent_and_comes_in_the_middle_of_a_transaction_is_taken_before_the_rest(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No lane rests yet, so none can be woken."""
    gauge = BacklogGauge(Bounds(10**6, 10.0**6))
    gauge.rest = 3600.0
    coalescer = Coalescer(database, gauge, lanes=1)
    came: list[asyncio.Task[Receipt]] = []
    accept = coalescer._accept

    async def accept_while_one_comes(*arguments: Any) -> list[Receipt]:
        if not came:
            came.append(asyncio.create_task(coalescer.submit(_submission(2, priority=0))))
            await asyncio.sleep(0)  # it stands in line now
        return await accept(*arguments)

    monkeypatch.setattr(coalescer, "_accept", accept_while_one_comes)
    await coalescer.submit(_submission(1, priority=2))
    assert (await came[0]).referral_id == UUID(int=2)
    gauge.rest = 0.0
    coalescer._urgent.set()
    async with asyncio.timeout(30):
        await asyncio.gather(*coalescer._running)


def _submission(number: int, priority: int) -> Submission:
    return Submission(UUID(int=number), Actor("SWP", "test"), "TARIAN", priority, ["fraud"], None, b"{}", clock.now())


async def test_what_cannot_be_fanned_out_does_not_stop_ingest_for_all(gateway: Gateway, database: Database) -> None:
    force = await gateway.cast.play("SWP")
    made = await submitted(force)
    await age(database)
    await change(database, "INSERT INTO fan_out_try (referral_id, tries) VALUES (:id, 5)", id=UUID(made["id"]))
    await gateway.look()
    assert (gateway.gauge.backlog.referrals, gateway.gauge.backlog.seconds) == (1, 0.0)
    await submitted(force)
