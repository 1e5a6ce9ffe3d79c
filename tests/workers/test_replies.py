"""An agency is told of a reply, a reminder and a release, whatever it has read and whatever is under way."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import orjson
import pytest

from app.audit.record import Actor
from app.db import Connection, Database
from app.parties.quota import Quota
from app.referrals import delivery, lifecycle, notices
from app.referrals.delivery import MOST_TRIES, Postponed, Settled
from app.referrals.lifecycle import HandOver, Restart
from app.referrals.notices import NoticeFailed, Room
from tests.acts import QUESTION, inbox
from tests.app.test_referral_to_answer import submitted
from tests.conftest import HIT, Cast, Workers
from tests.workers.bodies import Body, dispatch, run
from tests.workers.noticing import DISPATCHES, Opened, change, make_due, pushed_to, rows, written_to
from tests.workers.outside import OK, Agency, Post
from workers.adapters.contract import Answered, Envelope, Result

pytestmark = pytest.mark.usefixtures("everything_holds")

COORDINATOR = Actor("TARIAN", "somebody")


async def ask(cast: Cast) -> None:
    """HMRC reads its one item and asks."""
    agency = await cast.play("HMRC")
    [item] = await inbox(agency)
    asked = await agency.post(f"/v1/inbox/{item['id']}/response", json=QUESTION)
    assert (asked.status_code, asked.json()["state"]) == (201, "query")


async def reply(force: httpx.AsyncClient, database: Database) -> None:
    [row] = await rows(database, DISPATCHES)
    message = {"dispatch_id": str(row.id), "text": "The first."}
    sent = await force.post(f"/v1/referrals/{row.referral_id}/messages", json=message)
    assert sent.status_code == 200, sent.text


async def remind(database: Database) -> None:
    [row] = await rows(database, DISPATCHES)
    async with database.transaction() as connection:
        assert await lifecycle.chase(connection, COORDINATOR, [row.id]) == {row.id}


async def hold(database: Database) -> None:
    [row] = await rows(database, DISPATCHES)
    async with database.transaction() as connection:
        assert await lifecycle.hold(connection, COORDINATOR, row.referral_id, "Wait.")


async def release(database: Database) -> None:
    [row] = await rows(database, DISPATCHES)
    restart = Restart(row.due_at, row.expires_at, row.due_at, adapter=True)
    async with database.transaction() as connection:
        assert await lifecycle.release(connection, COORDINATOR, row.referral_id, lambda _: restart)


def ids(agency: Agency) -> list[str]:
    return [call.headers["webhook-id"] for call in agency.calls]


async def test_each_reply_is_told_under_an_id_and_a_type_of_its_own(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    """Though the item was read, and though reminders were told of before and between."""
    force = await cast.play("SWP")
    async with Agency(OK).running() as agency:
        await pushed_to(database, agency.url)
        await submitted(force, addressees=["HMRC"])
        await workers.run(channels())
        await remind(database)
        await workers.run(channels())
        [item] = await rows(database, "SELECT id FROM dispatch")
        for _ in range(2):
            await ask(cast)
            await workers.run(channels())
            await reply(force, database)
            await workers.run(channels())
        await remind(database)
        await workers.run(channels())
    told = ["new", "chase", "replied", "replied.2", "chase.2"]
    assert ids(agency) == [f"{item.id}.{kind}" for kind in told]
    types = [orjson.loads(call.body)["type"] for call in agency.calls]
    assert types == [f"dispatch.{kind.partition('.')[0]}" for kind in told]
    assert not [call for call in agency.calls if b"first" in call.body], "the reply itself is read in the inbox"
    [row] = await rows(database, DISPATCHES)
    assert (row.due_delivery_at, row.failures) == (None, 0)


async def test_each_release_is_told_under_an_id_of_its_own_whatever_was_told_before(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    """Who keeps to Standard Webhooks drops what comes again under an id that it knows."""
    async with Agency(OK).running() as agency:
        await pushed_to(database, agency.url)
        await submitted(await cast.play("SWP"), addressees=["HMRC"])
        await workers.run(channels())
        [item] = await rows(database, "SELECT id FROM dispatch")
        for _ in range(2):
            await hold(database)
            await workers.run(channels())
            await release(database)
            await workers.run(channels())
            await remind(database)
            await workers.run(channels())
    told = ["new", "new.2", "chase", "new.3", "chase.2"]
    assert ids(agency) == [f"{item.id}.{kind}" for kind in told]
    types = [orjson.loads(call.body)["type"] for call in agency.calls]
    assert types == [f"dispatch.{kind.partition('.')[0]}" for kind in told]


async def test_who_was_reminded_and_reads_it_after_its_release_is_told_no_more(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    async with Agency(OK).running() as agency:
        await pushed_to(database, agency.url)
        await submitted(await cast.play("SWP"), addressees=["HMRC"])
        await workers.run()
        await remind(database)
        await hold(database)
        await release(database)
        await inbox(await cast.play("HMRC"))
        await workers.run(channels())
        [row] = await rows(database, DISPATCHES)
    assert (agency.calls, row.due_delivery_at) == ([], None)


async def test_who_has_read_it_is_not_told_of_it_unless_there_is_a_reply(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    force = await cast.play("SWP")
    async with Agency(OK).running() as agency:
        await submitted(force, addressees=["HMRC"])
        await workers.run()
        [item] = await inbox(await cast.play("HMRC"))
        await pushed_to(database, agency.url)
        await change(database, "UPDATE dispatch SET due_delivery_at = now()")
        await workers.run(channels())
        [row] = await rows(database, DISPATCHES)
        assert (agency.calls, row.due_delivery_at) == ([], None)
        await ask(cast)
        await reply(force, database)
        await workers.run(channels())
    assert ids(agency) == [f"{item['id']}.replied"]


async def test_a_message_by_mail_says_that_the_question_was_answered(
    cast: Cast, database: Database, workers: Workers, channels: Opened
) -> None:
    force = await cast.play("SWP")
    async with Post().running() as post:
        await written_to(database)
        told = channels(smtp_url=f"smtp://127.0.0.1:{post.port}")
        await submitted(force, addressees=["HMRC"], priority="urgent")  # beyond the quota of one message a minute
        await workers.run(told)
        await ask(cast)
        await reply(force, database)
        await workers.run(told)
    first, second = [message.get_payload() for message in post.messages]
    assert "your question has been answered, urgent" not in str(first)
    assert "your question has been answered, urgent" in str(second)


async def _under_way(database: Database) -> HandOver:
    """The notice that a worker has just taken and is giving."""
    await make_due(database)
    async with database.transaction() as connection:
        claimed = await notices.claim(connection, {"HMRC": Room(1, Quota(60, None))}, 1)
    [item] = claimed.items
    return item


Ending = Callable[[Connection, HandOver], Awaitable[Any]]

ENDINGS: dict[str, Ending] = {
    "told": lambda connection, item: notices.told(connection, [Settled(item.id, item.attempt)]),
    "put off": lambda connection, item: delivery.postpone(
        connection, [Postponed(item.id, item.attempt, 86_400.0, "the endpoint answered 429")]
    ),
    "given up": lambda connection, item: notices.notice_failed(
        connection, [NoticeFailed(item.id, item.attempt, item.agency, "every try failed")]
    ),
}


async def _due(database: Database) -> bool:
    [row] = await rows(database, "SELECT due_delivery_at <= now() AS due FROM dispatch")
    return bool(row.due)


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_notice_under_way_swallows_no_reminder(
    cast: Cast, database: Database, workers: Workers, channels: Opened, ending: str
) -> None:
    async with Agency(OK).running() as agency:
        await pushed_to(database, agency.url)
        await submitted(await cast.play("SWP"), addressees=["HMRC"])
        await workers.run()
        await change(database, "UPDATE dispatch SET due_delivery_at = now(), failures = :most", most=MOST_TRIES - 1)
        item = await _under_way(database)
        await remind(database)
        async with database.transaction() as connection:
            await ENDINGS[ending](connection, item)
        assert await _due(database)
        await workers.run(channels())
        assert ids(agency) == [f"{item.id}.chase"]
        [row] = await rows(database, DISPATCHES)
        assert (row.due_delivery_at, row.failures) == (None, 0)


@pytest.mark.parametrize("ends_first", [True, False])
@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_notice_under_way_swallows_no_release(
    cast: Cast, database: Database, workers: Workers, channels: Opened, ending: str, ends_first: bool
) -> None:
    """Whether it ends before the release or after; and the release has all its tries."""
    async with Agency(OK).running() as agency:
        await pushed_to(database, agency.url)
        await submitted(await cast.play("SWP"), addressees=["HMRC"])
        await workers.run()
        await change(database, "UPDATE dispatch SET due_delivery_at = now(), failures = :most", most=MOST_TRIES - 1)
        item = await _under_way(database)
        await hold(database)
        if not ends_first:
            await release(database)
        async with database.transaction() as connection:
            await ENDINGS[ending](connection, item)
        if ends_first:
            await release(database)
        assert await _due(database)
        [row] = await rows(database, DISPATCHES)
        assert row.failures == 0
        await workers.run(channels())
    assert ids(agency) == [f"{item.id}.new.2"]


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_notice_under_way_swallows_no_reply(
    cast: Cast, database: Database, workers: Workers, channels: Opened, ending: str
) -> None:
    force = await cast.play("SWP")
    async with Agency(OK).running() as agency:
        await pushed_to(database, agency.url)
        await submitted(force, addressees=["HMRC"])
        await workers.run()
        await change(database, "UPDATE dispatch SET due_delivery_at = now()")
        item = await _under_way(database)
        await ask(cast)
        await reply(force, database)
        async with database.transaction() as connection:
            await ENDINGS[ending](connection, item)
        assert await _due(database)
        await workers.run(channels())
    assert ids(agency) == [f"{item.id}.replied"]


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_notice_that_nothing_new_came_upon_ends_as_it_did(
    cast: Cast, database: Database, workers: Workers, ending: str
) -> None:
    await pushed_to(database, "http://127.0.0.1:9/")
    await submitted(await cast.play("SWP"), addressees=["HMRC"])
    await workers.run()
    await change(database, "UPDATE dispatch SET due_delivery_at = now()")
    item = await _under_way(database)
    async with database.transaction() as connection:
        await ENDINGS[ending](connection, item)
    assert not await _due(database)


async def test_a_body_that_goes_on_asking_the_same_is_replied_to_each_time_and_never_given_up(
    force: httpx.AsyncClient, database: Database
) -> None:
    """Each time it is a new question: the clock stands, and nothing counts as failed."""
    body = Body(Answered(QUESTION))
    for asked in range(1, MOST_TRIES + 3):
        await run(database, HMRC=body)
        found = await dispatch(database)
        assert (found["state"], found["due_delivery_at"], len(body.seen)) == ("query", None, asked)
        await reply(force, database)
    await run(database, HMRC=Body(Answered(HIT)))
    assert (await dispatch(database))["state"] == "answered"
    [count] = await rows(database, "SELECT count(*) AS questions FROM response WHERE outcome = 'more_information'")
    assert count.questions == MOST_TRIES + 2


async def test_a_reminder_leaves_alone_what_a_body_behind_an_adapter_is_about_to_answer(
    force: httpx.AsyncClient, database: Database
) -> None:
    class Slow(Body):
        async def deliver(self, envelope: Envelope) -> Result:
            await remind(database)
            return await super().deliver(envelope)

    await run(database, HMRC=Slow(Answered(HIT)))
    found = await dispatch(database)
    assert (found["state"], found["chases"], found["attempt"]) == ("answered", 1, 1)
