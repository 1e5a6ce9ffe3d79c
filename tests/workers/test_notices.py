"""Notices through the pump: they disclose nothing and keep to quotas; a failure is seen, the dispatch stays open."""

import asyncio
import re
import time
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from standardwebhooks import Webhook

from app.audit.record import Actor
from app.crypto.keys import Keys
from app.crypto.webhooks import webhook_secret
from app.db import Database
from app.parties.channels import rotate_push_secret, set_mailbox
from app.parties.hosts import UnacceptableAddress
from app.referrals import circuits, delivery, lifecycle
from app.referrals.circuits import Pause
from tests.app.test_referral_to_answer import submitted
from tests.browser import signed_in
from tests.conftest import SECRET, Cast, Workers
from tests.workers.noticing import DESK, DISPATCHES, Opened, change, make_due, pushed_to, rows, written_to
from tests.workers.outside import ADMINISTRATOR, OK, Agency, Post, answer
from workers.circuits import FAILURES
from workers.pump import Pump


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
        assert timedelta(seconds=2900) < waiting.wait <= timedelta(seconds=3600)
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
