"""Notices through the pump: they disclose nothing and keep to quotas; a failure is seen, the dispatch stays open."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from standardwebhooks import Webhook

from app.audit.record import Actor
from app.crypto.keys import Keys
from app.crypto.webhooks import webhook_secret
from app.db import Database
from app.parties.channels import rotate_push_secret, set_mailbox, set_push_endpoint
from app.parties.hosts import ApprovedHosts, UnacceptableAddress
from app.referrals import circuits, delivery, lifecycle
from app.referrals.circuits import Pause
from app.settings import Settings
from tests.app.test_referral_to_answer import submitted
from tests.browser import signed_in
from tests.conftest import SECRET, Cast, Workers
from tests.workers.outside import ADMINISTRATOR, OK, Agency, Post, answer
from workers.adapters.push import DEADLINE_SECONDS
from workers.channels import Channels
from workers.circuits import FAILURES, CircuitState
from workers.pump import Pump

HOSTS = ApprovedHosts.parse("127.0.0.1=127.0.0.0/8", development=True)
DESK = "desk@council.example"
DISPATCHES = "SELECT *, due_delivery_at - now() AS wait FROM dispatch"
Opened = Callable[..., Channels]


@pytest.fixture
async def channels(configuration: Settings) -> AsyncIterator[Opened]:
    """Opens the channels of a worker with these settings."""
    opened: list[Channels] = []

    def open_with(**settings: Any) -> Channels:
        made = Settings(
            **{
                **configuration.model_dump(),
                "push_hosts": "127.0.0.1=127.0.0.0/8",
                "public_url": "https://gain.example",
                "email_from": "gain@gain.example",
                **settings,
            }
        )
        opened.append(Channels(made, seconds=0.0))
        return opened[-1]

    yield open_with
    for one in opened:
        await one.close()


async def rows(database: Database, statement: str, **parameters: Any) -> list[Any]:
    """What a query finds."""
    async with database.transaction() as connection:
        return list((await connection.execute(text(statement), parameters)).all())


async def change(database: Database, statement: str, **parameters: Any) -> None:
    """Change something behind the broker's back."""
    async with database.transaction() as connection:
        await connection.execute(text(statement), parameters)


async def pushed_to(database: Database, url: str, agency: str = "HMRC") -> None:
    """Have an agency pushed to."""
    await change(database, "UPDATE party SET channel = 'push' WHERE code = :agency", agency=agency)
    async with database.transaction() as connection:
        await set_push_endpoint(connection, ADMINISTRATOR, HOSTS, agency, url)


async def written_to(database: Database, agency: str = "HMRC") -> None:
    """Have an agency written to."""
    await change(database, "UPDATE party SET channel = 'email' WHERE code = :agency", agency=agency)
    async with database.transaction() as connection:
        await set_mailbox(connection, ADMINISTRATOR, agency, DESK)


async def make_due(database: Database) -> None:
    """Let the waits between tries be over."""
    await change(database, "UPDATE dispatch SET due_delivery_at = now() WHERE due_delivery_at IS NOT NULL")


async def test_a_notice_delivers_and_discloses_nothing_until_the_agency_reads(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    async with Agency(OK).running() as agency:
        await pushed_to(database, agency.url)
        await submitted(await cast.play("SWP"), addressees=["HMRC"])
        await workers.run(channels())
    assert len(agency.calls) == 1
    assert b"Quill" not in agency.calls[0].body
    [dispatch] = await rows(database, DISPATCHES)
    assert (dispatch.state, dispatch.due_delivery_at, dispatch.delivered_at) == ("queued", None, None)
    assert await rows(database, "SELECT id FROM audit_event WHERE action = 'dispatch.delivered'") == []
    await (await cast.play("HMRC")).get("/v1/inbox")
    assert len(await rows(database, "SELECT id FROM audit_event WHERE action = 'dispatch.delivered'")) == 1


async def test_a_failed_notice_is_tried_again_later_and_the_agency_may_ask_for_more_time(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    async with Agency(answer("429 Too Many Requests", Retry_After="3000")).running() as agency:
        await pushed_to(database, agency.url)
        await submitted(await cast.play("SWP"), addressees=["HMRC"])
        await workers.run(channels())
        [waiting] = await rows(database, DISPATCHES)
        assert timedelta(seconds=2900) < waiting.wait <= timedelta(seconds=3000)
        assert (waiting.failures, waiting.last_failure) == (1, "the endpoint answered 429")
        agency.behaves = OK
        await make_due(database)
        await workers.run(channels())
    [told] = await rows(database, DISPATCHES)
    assert (told.state, told.failures, told.due_delivery_at) == ("queued", 0, None)


async def test_an_exhausted_notice_alerts_the_coordinator_and_the_dispatch_stays_open(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    force, agency = await cast.play("SWP"), Agency(answer("500 Broken"))
    async with agency.running():
        await pushed_to(database, agency.url)
        await submitted(force, addressees=["HMRC"])
        for _ in range(delivery.MOST_TRIES):
            await workers.run(channels())
            await make_due(database)
    assert len(agency.calls) == delivery.MOST_TRIES
    [dispatch] = await rows(database, DISPATCHES)
    assert (dispatch.state, dispatch.due_delivery_at) == ("queued", None)
    assert [row.kind for row in await rows(database, "SELECT kind FROM alert WHERE settled_at IS NULL")] == [
        "notice_failed"
    ]
    [item] = (await (await cast.play("HMRC")).get("/v1/inbox")).json()["items"]
    done = await (await cast.play("HMRC")).post(f"/v1/inbox/{item['id']}/response", json={"outcome": "no_hit"})
    assert done.status_code == 201


async def test_a_reminder_goes_by_the_channel_and_settles_the_alert(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    async with Agency(answer("410 Gone")).running() as agency:
        await pushed_to(database, agency.url)
        await submitted(await cast.play("SWP"), addressees=["HMRC"])
        await workers.run(channels())
        assert len(await rows(database, "SELECT id FROM alert WHERE settled_at IS NULL")) == 1
        agency.behaves = OK
        await pushed_to(database, agency.url)
        [one] = await rows(database, "SELECT id FROM dispatch")
        async with database.transaction() as connection:
            await lifecycle.chase(connection, Actor("TARIAN", "somebody"), [one.id])
        await workers.run(channels())
    assert [call.headers["webhook-id"] for call in agency.calls] == [f"{one.id}.new", f"{one.id}.chase"]
    assert await rows(database, "SELECT id FROM alert WHERE settled_at IS NULL") == []


async def test_gone_disables_the_endpoint_and_every_further_item_is_an_alert(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    async with Agency(answer("410 Gone")).running() as agency:
        await pushed_to(database, agency.url)
        force = await cast.play("SWP")
        for _ in range(3):
            await submitted(force, addressees=["HMRC"])
            await workers.run(channels())
    assert len(agency.calls) == 1
    [endpoint] = await rows(database, "SELECT * FROM push_endpoint")
    assert endpoint.disabled_at is not None
    assert endpoint.disabled_reason == "the endpoint answered 410"
    assert len(await rows(database, "SELECT id FROM alert WHERE kind = 'notice_failed' AND settled_at IS NULL")) == 3


async def test_an_endpoint_set_meanwhile_is_not_disabled_by_the_old_one(database: Database) -> None:
    from app.parties.channels import retire

    await pushed_to(database, "http://127.0.0.1:9/new")
    async with database.transaction() as connection:
        await retire(connection, ADMINISTRATOR, "HMRC", "http://127.0.0.1:9/old", "the endpoint answered 410")
    [endpoint] = await rows(database, "SELECT * FROM push_endpoint")
    assert endpoint.disabled_at is None


async def test_a_mailbox_that_bounces_is_kept_as_bounced(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    async with Post(to={DESK: "550 No such mailbox"}).running() as post:
        await written_to(database)
        await submitted(await cast.play("SWP"), addressees=["HMRC"])
        await workers.run(channels(smtp_url=f"smtp://127.0.0.1:{post.port}"))
    [mailbox] = await rows(database, "SELECT * FROM email_mailbox")
    assert mailbox.bounced_at is not None
    [alert] = await rows(database, "SELECT kind FROM alert WHERE settled_at IS NULL")
    assert alert.kind == "notice_failed"


async def test_a_mailbox_that_bounces_shows_on_the_page_in_words_until_another_is_set(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    async with Post(to={DESK: "550 No such mailbox"}).running() as post:
        await written_to(database)
        await submitted(await cast.play("SWP"), addressees=["HMRC"])
        await workers.run(channels(smtp_url=f"smtp://127.0.0.1:{post.port}"))
    browser = await signed_in(cast, "TARIAN")
    page = (await browser.get("/")).text
    assert "1 agency is not told any more: set another address, or the same again once it works." in page
    assert re.search(r'<a href="#queue-HMRC">HMRC</a> <span class="quiet">its mailbox bounced just now', page)
    assert "1 item in the inbox of an agency that could not be told." in page
    assert DESK not in page
    await written_to(database)
    assert "not told any more" not in (await browser.get("/")).text


async def test_what_is_done_to_a_channel_is_in_the_log_without_the_mailbox(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    async with Agency(answer("410 Gone")).running() as agency:
        await pushed_to(database, agency.url)
        async with database.transaction() as connection:
            await rotate_push_secret(connection, ADMINISTRATOR, "HMRC")
        await submitted(await cast.play("SWP"), addressees=["HMRC"])
        await workers.run(channels())
    await written_to(database)
    found = await rows(database, "SELECT * FROM audit_event WHERE action LIKE 'channel.%' ORDER BY id")
    pushed = {"agency": "HMRC", "channel": "push", "host": "127.0.0.1"}
    assert [(row.operation, row.action, row.actor, row.detail) for row in found] == [
        ("alteration", "channel.set", "administrator", pushed),
        ("alteration", "channel.secret_rotated", "administrator", pushed),
        ("alteration", "channel.ended", "worker", pushed),
        ("alteration", "channel.set", "administrator", {"agency": "HMRC", "channel": "email"}),
    ]
    assert not [row for row in found if "council" in str(row)]


async def test_an_agency_that_is_not_called_shows_on_the_page_and_in_the_queues_until_it_works(
    cast: Cast, database: Database, channels: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, coordinator = await signed_in(cast, "TARIAN"), await cast.play("TARIAN")

    async def health() -> dict[str, str]:
        items = (await coordinator.get("/v1/queues")).json()["items"]
        return {item["agency"]: item["health"] for item in items}

    async with Agency(answer("500 Broken")).running() as agency:
        await pushed_to(database, agency.url)
        force = await cast.play("SWP")
        for _ in range(FAILURES):
            await submitted(force, addressees=["HMRC", "EA"])
        pump = Pump(database, Keys(SECRET.encode()), channels())
        await pump.run(seconds=5)
        page = (await browser.get("/")).text
        assert "Calls to 1 agency are paused, because they failed." in page
        said = r'HMRC</a> <span class="quiet">since \d\d:\d\d after 5 failures; next try \d\d:\d\d'
        assert re.search(said, page)
        found = await health()
        assert (found["HMRC"], found["EA"]) == ("failing", "ok")
        agency.behaves = OK
        monkeypatch.setattr(pump.circuits, "_now", lambda: time.monotonic() + 60)  # the time of the next try
        await make_due(database)
        async with asyncio.timeout(10):
            while pump.circuits.states():  # notices are looked for a few times a second only
                await pump.run(seconds=5)
    assert "paused" not in (await browser.get("/")).text
    assert (await health())["HMRC"] == "ok"


async def test_what_a_dead_process_said_of_an_agency_lapses(cast: Cast, database: Database) -> None:
    async with database.transaction() as connection:
        await circuits.write(connection, str(uuid4()), [Pause("HMRC", 9, 300, 15), Pause("EA", 5, 0, 15)])
        await circuits.write(connection, str(uuid4()), [Pause("HMRC", 5, 60, 5)])
        [first, second] = await circuits.paused(connection)
    assert (first["agency"], second["agency"]) == ("EA", "HMRC")
    assert second["failures"] == 9
    assert second["next_at"] - second["since"] == timedelta(seconds=305), "the first of the two to call again"
    await change(database, "UPDATE circuit SET next_at = next_at - interval '80 seconds'")
    async with database.transaction() as connection:
        assert await circuits.paused(connection) == []
        await circuits.write(connection, str(uuid4()), [])
    assert await rows(database, "SELECT * FROM circuit") == []


@pytest.mark.parametrize("channel", ["push", "email"])
async def test_an_agency_that_nothing_is_set_for_is_an_alert(
    cast: Cast, database: Database, workers: Workers, channels: Opened, channel: str
) -> None:
    await change(database, "UPDATE party SET channel = :channel WHERE code = 'HMRC'", channel=channel)
    await submitted(await cast.play("SWP"), addressees=["HMRC"])
    await workers.run(channels())
    [dispatch] = await rows(database, DISPATCHES)
    assert dispatch.state == "queued"
    assert len(await rows(database, "SELECT id FROM alert WHERE kind = 'notice_failed'")) == 1


async def test_a_host_taken_off_the_list_gets_nothing_any_more(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    async with Agency(OK).running() as agency:
        await pushed_to(database, agency.url)
        await submitted(await cast.play("SWP"), addressees=["HMRC"])
        await workers.run(channels(push_hosts=""))
    assert agency.calls == []
    assert len(await rows(database, "SELECT id FROM alert WHERE kind = 'notice_failed'")) == 1


async def test_after_a_rotation_both_secrets_verify_and_a_leaked_one_does_not(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    async def rotate(overlap: timedelta) -> None:
        async with database.transaction() as connection:
            await rotate_push_secret(connection, ADMINISTRATOR, "HMRC", overlap)
        await submitted(force, addressees=["HMRC"])
        await workers.run(channels())

    def accepted() -> list[int]:
        found = []
        for version in (1, 2, 3):
            verifier = Webhook(webhook_secret(Keys(SECRET.encode()), "HMRC", version))
            try:
                verifier.verify(agency.calls[-1].body, agency.calls[-1].headers)
            except Exception:  # noqa: S112  the library's refusal
                continue
            found.append(version)
        return found

    force = await cast.play("SWP")
    async with Agency(OK).running() as agency:
        await pushed_to(database, agency.url)
        await rotate(timedelta(hours=1))
        assert accepted() == [1, 2]
        await rotate(timedelta(0))
        assert accepted() == [3]


async def test_no_more_notices_a_day_than_the_agency_takes_but_every_urgent_one(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    await change(database, """UPDATE party SET policy = policy || '{"notices_per_day": 3}' WHERE code = 'HMRC'""")
    force = await cast.play("SWP")
    async with Agency(OK).running() as agency:
        await pushed_to(database, agency.url)
        for number in range(8):
            await submitted(force, addressees=["HMRC"], client_reference=f"SWP/{number}")
        await workers.run(channels())
        assert len(agency.calls) == 3
        for number in range(4):
            await submitted(force, addressees=["HMRC"], priority="urgent", client_reference=f"SWP/urgent/{number}")
        await workers.run(channels())
        assert len(agency.calls) == 7
        inbox = (await (await cast.play("HMRC")).get("/v1/inbox")).json()["items"]
        assert len(inbox) == 12
        await change(database, "UPDATE notice_count SET day = day - 1")
        await workers.run(channels())
    # What it has read meanwhile needs no notice on the next day.
    assert len(agency.calls) == 7
    assert await rows(database, "SELECT id FROM dispatch WHERE due_delivery_at IS NOT NULL") == []


async def test_an_agency_gets_no_more_pushes_a_minute_than_set(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    force = await cast.play("SWP")
    async with Agency(OK).running() as agency:
        await pushed_to(database, agency.url)
        for _ in range(5):
            await submitted(force, addressees=["HMRC"])
        await workers.run(channels(notices_per_minute=2))
        assert len(agency.calls) in (2, 4)  # the minute may turn meanwhile
        await change(database, "UPDATE notice_count SET minute = minute - 1")
        await workers.run(channels(notices_per_minute=100))
        assert len(agency.calls) == 5


async def test_what_comes_within_a_minute_goes_in_one_more_message(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    force = await cast.play("SWP")
    async with Post().running() as post:
        await written_to(database)
        opened = channels(smtp_url=f"smtp://127.0.0.1:{post.port}")
        await submitted(force, addressees=["HMRC"])
        await workers.run(opened)
        for _ in range(12):
            await submitted(force, addressees=["HMRC"])
        await workers.run(opened)
        await change(database, "UPDATE notice_count SET minute = minute - 1")
        await workers.run(opened)
    assert [message["Subject"] for message in post.messages][-1] == "GAIN: 12 referrals wait in your inbox"
    assert len(post.messages) == 2


async def test_two_workers_tell_each_item_once(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    force = await cast.play("SWP")
    async with Agency(OK).running() as agency:
        await pushed_to(database, agency.url)
        for _ in range(30):
            await submitted(force, addressees=["HMRC"])
        await asyncio.gather(*(workers.run(channels()) for _ in range(3)))
        await workers.run(channels())
    assert len(agency.calls) == 30
    assert len({call.headers["webhook-id"] for call in agency.calls}) == 30


async def test_what_a_killed_worker_held_is_told_by_another(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    async def silence(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with Agency(silence).running() as agency:
        await pushed_to(database, agency.url)
        await submitted(await cast.play("SWP"), addressees=["HMRC"])
        killed = asyncio.create_task(workers.run(channels()))
        async with asyncio.timeout(10):
            while not agency.calls:
                await asyncio.sleep(0.01)
        killed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await killed
        agency.behaves = OK
        await make_due(database)  # the lease has ended, or was handed back
        await workers.run(channels())
    assert len({call.headers["webhook-id"] for call in agency.calls}) == 1
    [dispatch] = await rows(database, DISPATCHES)
    assert dispatch.due_delivery_at is None


async def test_a_silent_agency_fills_only_its_own_slots(cast: Cast, database: Database, channels: Opened) -> None:
    async def silence(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    force, pump = await cast.play("SWP"), Pump(database, Keys(SECRET.encode()), channels(agency_in_flight=5))
    async with Agency(silence).running() as silent, Agency(OK).running() as other:
        await pushed_to(database, silent.url, "HMRC")
        await pushed_to(database, other.url, "DWP")
        for _ in range(12):
            await submitted(force, addressees=["HMRC", "DWP"])
        stopping = asyncio.Event()
        running = asyncio.create_task(pump.run(20, stopping.is_set))
        async with asyncio.timeout(10):
            while len(other.calls) < 12 or len(silent.calls) < 5:
                await asyncio.sleep(0.01)
        assert len(silent.calls) == 5
        stopping.set()
        await running


async def test_when_a_worker_must_end_a_silent_agency_does_not_hold_it_up(
    cast: Cast, database: Database, channels: Opened
) -> None:
    async def silence(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    pump = Pump(database, Keys(SECRET.encode()), channels())
    async with Agency(silence).running() as agency:
        await pushed_to(database, agency.url)
        await submitted(await cast.play("SWP"), addressees=["HMRC"])
        started = asyncio.get_running_loop().time()
        await pump.run(seconds=0.5)
        assert asyncio.get_running_loop().time() - started < DEADLINE_SECONDS / 2
    assert len(agency.calls) == 1
    [dispatch] = await rows(database, DISPATCHES)
    assert dispatch.due_delivery_at is not None
    assert dispatch.failures == 0


async def test_an_agency_that_fails_is_left_alone_and_what_waits_uses_up_no_try(
    cast: Cast, database: Database, channels: Opened
) -> None:
    force, pump = await cast.play("SWP"), Pump(database, Keys(SECRET.encode()), channels(agency_in_flight=1))
    async with Agency(answer("500 Broken")).running() as agency:
        await pushed_to(database, agency.url)
        for _ in range(12):
            await submitted(force, addressees=["HMRC"])
        await pump.run(5)
    assert len(agency.calls) == FAILURES
    assert pump.circuits.states() == {"HMRC": CircuitState.OPEN}
    assert len(await rows(database, "SELECT id FROM dispatch WHERE attempt = 0")) == 12 - FAILURES


async def test_an_agency_that_changes_its_channel_is_told_of_what_waits_unseen(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    force = await cast.play("SWP")
    await submitted(force, addressees=["HMRC"])
    await workers.run()
    await (await cast.play("HMRC")).get("/v1/inbox")
    unseen = await submitted(force, addressees=["HMRC"])
    await workers.run()
    async with Agency(OK).running() as agency:
        await pushed_to(database, agency.url)
        opened = channels()
        async with database.transaction() as connection:
            reached = await opened.reached(connection)
            assert not reached.answering
            assert reached.told == {"HMRC"}
            await delivery.adopt(connection, reached.answering, reached.told)
        await workers.run(opened)
        async with database.transaction() as connection:
            await delivery.adopt(connection, reached.answering, reached.told)
        await workers.run(opened)
    [call] = agency.calls
    [dispatch] = await rows(database, "SELECT id FROM dispatch WHERE referral_id = :id", id=UUID(unseen["id"]))
    assert str(dispatch.id).encode() in call.body


@pytest.mark.parametrize(
    "address",
    ["nobody", "a@b", "a@b.example\r\nBcc: c@d.example", "<a@b.example>", "a@[127.0.0.1]", "a b@c.example", ""],
)
async def test_a_mailbox_that_is_none_is_refused(database: Database, address: str) -> None:
    async with database.transaction() as connection:
        with pytest.raises(UnacceptableAddress):
            await set_mailbox(connection, ADMINISTRATOR, "HMRC", address)
