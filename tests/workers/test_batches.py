"""How workers take a batch: in slices, in turns, beside everything else, and on from where somebody was killed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from sqlalchemy.exc import DBAPIError

from app.audit.record import Actor
from app.db import Database, is_away
from app.referrals.batches.accept import ALONE, SLICE, accept_slice, portion
from app.runtime.roles import WORKER as LOGIN
from app.settings import Settings
from tests.acts import Document, change, eventually, rows, submitted
from tests.app.batch_files import counts, errors, line, lines, read, sent, sound
from tests.conftest import Cast, Workers, gateway

WORKER = Actor("GAIN", "worker")
ROOT = Path(__file__).parents[2]
REFUSE = """
    CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.id = '{id}' THEN RAISE EXCEPTION 'Quillfeather' USING ERRCODE = '{code}'; END IF;
        RETURN NEW;
    END $$
"""
KILL = """
    CREATE FUNCTION kill_on_poison() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        IF NEW.id = '{id}' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
        RETURN NEW;
    END $$
"""
SLOWLY = """
    CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_sleep(0.003); RETURN NEW; END $$
"""
GUARD = "CREATE TRIGGER a_guard BEFORE INSERT ON referral FOR EACH ROW EXECUTE FUNCTION {name}()"


async def accepted(database: Database) -> list[Document]:
    return await rows(database, "SELECT id, originator, priority FROM referral ORDER BY reference")


@contextmanager
def running(as_worker: Settings) -> Iterator[psutil.Process]:
    """A worker of its own processes, without a broker."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GAIN_DATABASE_URL": as_worker.database_url}
    environment |= {"GAIN_SECRET": as_worker.secret.get_secret_value(), "GAIN_BROKER_URL": "none"}
    environment |= {"GAIN_KEY_RING": as_worker.key_ring.get_secret_value()}
    command = [sys.executable, "-m", "app.cli", "worker", "--no-broker"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        found = psutil.Process(process.pid)
        try:
            yield found
        finally:
            for one in (found, *found.children(recursive=True)):
                one.kill()


async def test_a_worker_killed_half_way_leaves_nothing_lost_or_doubled(
    cast: Cast, workers: Workers, database: Database, as_worker: Settings
) -> None:
    assert LOGIN.name in as_worker.database_url
    force = await cast.play("SWP")
    count = 4 * SLICE + 7
    batch = await sent(force, lines(count))
    await change(database, SLOWLY)
    await change(database, GUARD.format(name="dawdle"))
    with running(as_worker) as worker:

        async def has_begun() -> bool:
            return bool((await read(force, batch))["accepted"])

        await eventually(has_begun, 60)
        for one in (worker, *worker.children(recursive=True)):
            one.send_signal(signal.SIGKILL)
    half = await read(force, batch)
    assert half["state"] == "accepting"
    assert 0 < half["accepted"] < count
    await sound(database)
    await change(database, "DROP FUNCTION dawdle CASCADE")
    await workers.run()
    assert counts(await read(force, batch)) == ("completed", count, count, 0, 0)
    assert len(await accepted(database)) == count
    await sound(database)


async def test_a_row_that_cannot_be_stored_stops_none_of_the_others(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force = await cast.play("SWP")
    batch = await sent(force, lines(SLICE + 5))
    [poison] = await rows(database, "SELECT referral_id FROM batch_row WHERE number = 17")
    await change(database, REFUSE.format(id=poison["referral_id"], code="23514"))
    await change(database, GUARD.format(name="refuse_poison"))
    for _ in range(5):  # a busy machine may need more than one turn
        await workers.run()
    assert counts(await read(force, batch)) == ("completed", SLICE + 5, SLICE + 4, 0, 1)
    [told] = await errors(force, batch)
    assert (told["row"], told["type"]) == (17, "/problems/row-given-up")
    assert "Quillfeather" not in str(told)
    await sound(database)


async def test_a_row_that_kills_whoever_works_on_it_is_given_up_and_the_others_are_accepted(
    cast: Cast, database: Database
) -> None:
    force = await cast.play("SWP")
    batch = await sent(force, lines(5))
    [poison] = await rows(database, "SELECT referral_id FROM batch_row WHERE number = 3")
    await change(database, KILL.format(id=poison["referral_id"]))
    await change(database, GUARD.format(name="kill_on_poison"))
    deaths = 0
    while (await read(force, batch))["state"] == "accepting":
        await change(database, "UPDATE batch SET touched_at = now() - interval '1 minute'")
        try:
            await accept_slice(database, WORKER)
        except DBAPIError as error:
            if not is_away(error):
                raise
            deaths += 1
        assert deaths < 40, "it is tried without end"
    assert counts(await read(force, batch)) == ("completed", 5, 4, 0, 1)
    [told] = await errors(force, batch)
    assert (told["row"], told["type"]) == (3, "/problems/row-given-up")
    assert deaths > ALONE
    await sound(database)


def test_each_try_takes_half_as_many_rows_and_one_alone_a_few_times() -> None:
    assert [portion(tries) for tries in range(1, 12)] == [100, 50, 25, 12, 6, 3, 1, 1, 1, 0, 0]


async def test_what_is_no_rows_fault_is_tried_again_later_and_others_go_on(
    cast: Cast, workers: Workers, database: Database
) -> None:
    force, other = await cast.play("SWP"), await cast.play("GWP")
    stuck = await sent(force, lines(3))
    fine = await sent(other, lines(3))
    under = "UPDATE data_key SET ring_key = :name WHERE referral_id = :id"
    id = UUID(stuck["id"])
    [kept] = await rows(database, "SELECT ring_key FROM data_key WHERE referral_id = :id", id=id)
    await change(database, under, id=id, name="away")
    await workers.run()
    assert counts(await read(other, fine)) == ("completed", 3, 3, 0, 0)
    assert counts(await read(force, stuck)) == ("accepting", 3, 0, 0, 0)
    await change(database, under, id=id, name=kept["ring_key"])
    await workers.run()
    assert counts(await read(force, stuck)) == ("accepting", 3, 0, 0, 0), "it was not put off"
    await change(database, "UPDATE batch SET next_at = now()")
    await workers.run()
    assert counts(await read(force, stuck)) == ("completed", 3, 3, 0, 0)


async def test_batches_rest_while_fan_out_has_enough_to_do_and_single_referrals_are_taken(
    configuration: Settings, as_owner: Settings, database: Database
) -> None:
    bounds: dict[str, Any] = {"backlog_referrals": 200}
    resting = Database(as_owner.model_copy(update=bounds))
    async with gateway(configuration, database, **bounds) as cast:
        force = await cast.play("SWP")
        batch = await sent(force, lines(50))
        while await accept_slice(resting, WORKER):
            pass
        # A twentieth of the bound, and no more until fan-out has had its turn.
        assert counts(await read(force, batch)) == ("accepting", 50, 10, 0, 0)
        for priority in ("urgent", "routine"):
            await submitted(force, priority=priority, addressees=["HMRC"])
        await Workers(resting).run()
        assert counts(await read(force, batch)) == ("completed", 50, 50, 0, 0)
        states = await rows(database, "SELECT DISTINCT state FROM referral")
        assert [row["state"] for row in states] == ["in_progress"]
    await resting.close()


async def test_batches_add_nothing_to_what_fan_out_is_late_with(cast: Cast, database: Database) -> None:
    force = await cast.play("SWP")
    await submitted(force, addressees=["HMRC"])
    await change(database, "UPDATE referral SET updated_at = now() - interval '3 seconds'")
    await sent(force, lines(3))
    assert await accept_slice(database, WORKER) == 0
    await change(database, "UPDATE referral SET updated_at = now()")
    assert await accept_slice(database, WORKER) == 3


async def test_parties_take_turns_and_what_is_urgent_in_a_batch_goes_first(cast: Cast, database: Database) -> None:
    force, other = await cast.play("SWP"), await cast.play("GWP")
    await sent(force, lines(4) + line(5, priority="urgent"))
    await sent(force, line(6, priority="urgent"))
    await sent(other, lines(2))
    while await accept_slice(database, WORKER, 2):
        await change(database, "UPDATE referral SET updated_at = now()")
    found = [(row["originator"], row["priority"]) for row in await accepted(database)]
    assert set(found[:2]) == {("SWP", 0), ("SWP", 2)}
    assert found[2:4] == [("GWP", 2), ("GWP", 2)]
    assert found[4:] == [("SWP", 2)] * 3 + [("SWP", 0)], "a party's batches go in the order in which they came"


async def test_two_workers_at_once_accept_each_row_once(cast: Cast, database: Database) -> None:
    forces = [await cast.play(party) for party in ("SWP", "GWP", "DPP")]
    made = [await sent(force, lines(60)) for force in forces for _ in range(2)]

    async def work() -> None:
        while (await rows(database, "SELECT 1 FROM batch WHERE state = 'accepting'")) != []:
            await accept_slice(database, WORKER, 20)

    async with asyncio.timeout(60):
        await asyncio.gather(*(work() for _ in range(4)))
    found = [counts(await read(forces[index // 2], batch)) for index, batch in enumerate(made)]
    assert found == [("completed", 60, 60, 0, 0), ("completed", 60, 60, 60, 0)] * 3
    assert len(await accepted(database)) == 180
    await sound(database)
